"""The experiments as one YAML file: what may stand in it, and reading it.

config = load("experiments/default.yaml")
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from experiments.bucketing import bucket, bucket_ranges, choose, in_namespace
from experiments.source import line_of, read
from recsys.errors import BadInput

CHAMPION = "champion"
DEFAULT = Path(__file__).parent / "default.yaml"
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]{0,63}$")]
Share = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Arm(_Strict):
    """One treatment: the release that answers, and settings that override the defaults."""

    name: Name
    weight: Share
    release: Annotated[str, Field(min_length=1)] = CHAMPION  # alias or version
    settings: dict[str, Any] = {}


class Layer(_Strict):
    """A slice of a layer: experiments in disjoint slices of one layer never share a listener."""

    name: Name
    start: Share = 0.0
    end: Share = 1.0

    @model_validator(mode="after")
    def _forward(self) -> Layer:
        if self.end <= self.start:
            raise ValueError("end must be after start")
        return self

    def excludes(self, other: Layer) -> bool:
        return self.name == other.name and (self.end <= other.start or other.end <= self.start)


class Experiment(_Strict):
    """One experiment. The salt decides who is where: change it to shuffle listeners anew, else leave it alone."""

    name: Name
    salt: Annotated[str, Field(min_length=1)]
    unit: Literal["listener"] = "listener"
    coverage: Share = 1.0
    arms: Annotated[tuple[Arm, ...], Field(min_length=2)]
    layer: Layer | None = None
    active: bool = True

    @field_validator("arms")
    @classmethod
    def _complete(cls, arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
        if abs(sum(arm.weight for arm in arms) - 1) > 0.001:
            raise ValueError(f"weights must sum to 1, not {sum(arm.weight for arm in arms):g}")
        if len({arm.name for arm in arms}) < len(arms):
            raise ValueError("two arms have the same name")
        return arms

    @property
    def routes(self) -> bool:
        """Whether some arm is answered by a release other than the champion."""
        return any(arm.release != CHAMPION for arm in self.arms)

    def arm_of(self, user_id: str) -> Arm | None:
        """The listener's arm, by GrowthBook's v2 hash; None where the listener is not in the experiment."""
        layer = self.layer
        if layer is not None and not in_namespace(user_id, layer.name, layer.start, layer.end):
            return None
        place = bucket(self.salt, user_id)
        ranges = bucket_ranges(len(self.arms), self.coverage, [arm.weight for arm in self.arms])
        number = -1 if place is None else choose(place, ranges)
        return None if number < 0 else self.arms[number]

    def excludes(self, other: Experiment) -> bool:
        return self.layer is not None and other.layer is not None and self.layer.excludes(other.layer)


class Config(_Strict):
    """All experiments, running or not."""

    experiments: tuple[Experiment, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if len({e.name for e in self.experiments}) < len(self.experiments):
            raise ValueError("two experiments have the same name")
        for a, b in combinations(self.running, 2):
            if a.salt == b.salt and not a.excludes(b):
                raise ValueError(f"{a.name} and {b.name} have the same salt: their arms would coincide")
            if a.routes and b.routes and not a.excludes(b):
                raise ValueError(
                    f"{a.name} and {b.name} both choose releases: give them disjoint slices of one layer"
                )
        return self

    @property
    def running(self) -> list[Experiment]:
        return [experiment for experiment in self.experiments if experiment.active]

    @cached_property
    def version(self) -> str:
        """A digest of the whole config, for the Decision."""
        return hashlib.blake2b(self.model_dump_json().encode(), digest_size=8).hexdigest()


def load(path: Path | str = DEFAULT) -> Config:
    """Reads a config file.

    Raises:
        BadInput: the file is missing, is not YAML, or holds a wrong key or value; names the line.
    """
    node, data = read(Path(path))
    try:
        return Config.model_validate({} if data is None else data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "experiments"
        raise BadInput(f"{path} line {line_of(node, first['loc'])}: {key}: {first['msg']}") from error
