"""Settings that arms override, by dotted path, checked against the real settings of whoever applies them.

space = Space(ServiceSettings(), {"home": frozenset({"home"})})      # given by serving, which owns the settings
list(mistakes(config, space)), overlay(settings, {"home.epsilon": 0.1})
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from experiments.check import Conflict
from experiments.config import Config
from recsys.errors import BadInput

Settings = TypeVar("Settings", bound=BaseModel)


@dataclass(frozen=True)
class Space:
    """What arms may set.

    Attributes:
        base: the settings as they are without any experiment; they know names, types and bounds.
        surfaces: by path of a part that can be set, the surfaces that it changes; the longest path that fits counts.
    """

    base: BaseModel
    surfaces: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def reach(self, path: str) -> frozenset[str] | None:
        """The surfaces that a parameter changes; None where it is none that can be set."""
        steps = path.split(".")
        for n in range(len(steps), 0, -1):
            if (found := self.surfaces.get(".".join(steps[:n]))) is not None:
                return found
        return None


def mistakes(config: Config, space: Space) -> Iterator[Conflict]:
    """Every parameter that nobody knows, or with a value that the settings refuse; place and message."""
    for i, experiment in enumerate(config.experiments):
        for j, arm in enumerate(experiment.arms):
            at: tuple[str | int, ...] = ("experiments", i, "arms", j, "parameters")
            for path in arm.parameters:
                if space.reach(path) is None:
                    yield (*at, path), f"no arm can set {path}; what can be set: {', '.join(space.surfaces)}"
                    return
            try:
                overlay(space.base, arm.parameters)
            except BadInput as error:
                path = next((p for p in arm.parameters if str(error).startswith(p)), "")
                yield (*at, path), str(error)


def overlay(base: Settings, parameters: Mapping[str, Any]) -> Settings:
    """The settings with some of them replaced, validated as a whole.

    Raises:
        BadInput: a path that does not exist, or a value that is refused; the message begins with the path.
    """
    if not parameters:
        return base
    body = base.model_dump()
    for path, value in parameters.items():
        _set(base, body, path, value)
    try:
        return type(base).model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        path = next((p for p in parameters if place == p or place.startswith(f"{p}.")), place)
        raise BadInput(f"{path}: {first['msg']}") from error


def _set(base: BaseModel, body: dict[str, Any], path: str, value: Any) -> None:
    model: Any = base
    *outer, last = path.split(".")
    for step in outer:
        model = getattr(model, step, None) if _knows(model, step) else None
        if not isinstance(model, BaseModel):
            raise BadInput(f"{path}: no such setting")
        body = body[step]
    if not _knows(model, last):
        raise BadInput(f"{path}: no such setting; there are {', '.join(type(model).model_fields)}")
    body[last] = copy.deepcopy(value)


def _knows(model: Any, name: str) -> bool:
    return isinstance(model, BaseModel) and name in type(model).model_fields
