"""The experiments of one service: what may stand in `experiments/*.yaml`, and reading it.

config = load("experiments")        # a folder of files, or one file
Config.model_json_schema()          # for editors
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from experiments.check import first_conflict
from experiments.experiment import CHAMPION, Arm, Experiment, Slice, Unit
from experiments.fields import Name, Salt, Strict, Time, refuse
from experiments.hashing import Hash
from experiments.plan import Plan
from experiments.question import STANDARD, Metric
from experiments.source import Loc, Problem, Refused, Sources

__all__ = ["CHAMPION", "DEFAULT", "Arm", "Config", "Experiment", "Slice", "load", "parse"]
DEFAULT = Path(__file__).parent / "default.yaml"
Units = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=256)], ...], Field(min_length=1)]


class Layer(Strict):
    """One division of all units; divisions of different layers are independent of each other."""

    name: Name
    salt: Salt | None = None  # the layer's name where it is not given
    hash: Hash = Hash.OPTIMIZELY  # MurmurHash3: a request asks every layer, and this is the cheapest
    unit: Unit = "listener"
    description: str = ""


class Holdout(Strict):
    """Units that are kept out of experiments, to measure what all of them do together.

    Attributes:
        layers: whose experiments it holds back; None: all experiments.
    """

    name: Name
    salt: Salt
    hash: Hash = Hash.OPTIMIZELY
    unit: Unit = "listener"
    share: Annotated[float, Field(gt=0, lt=1, strict=True)]
    layers: tuple[Name, ...] | None = None
    start: Time | None = None
    stop: Time | None = None


class Override(Strict):
    """One unit that a person put into an arm, to look at it; analysis leaves it out."""

    unit: Annotated[str, Field(min_length=1, max_length=256)]
    experiment: Name
    arm: Name
    until: Time | None = None
    reason: str = ""


class Cohort(Strict):
    """A named list of units, for targeting."""

    name: Name
    units: Units


class Attribute(Strict):
    """An attribute beyond the built-in ones that callers give, and its values where they are few."""

    name: Name
    values: tuple[str, ...] | None = None


class Config(Strict):
    """All experiments and flags, running or not, and what they share."""

    experiments: tuple[Experiment, ...] = ()
    metrics: tuple[Metric, ...] = ()
    layers: tuple[Layer, ...] = ()
    holdouts: tuple[Holdout, ...] = ()
    overrides: tuple[Override, ...] = ()
    cohorts: tuple[Cohort, ...] = ()
    attributes: tuple[Attribute, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        found = first_conflict(self)
        if found is not None:
            at, message = found
            raise refuse(message, *at)
        return self

    @property
    def running(self) -> list[Experiment]:
        """Experiments that are not drafts; whether one runs now, its times say."""
        return [experiment for experiment in self.experiments if experiment.active]

    @cached_property
    def version(self) -> str:
        """A digest of the whole config, for the Decision."""
        body = self.model_dump_json(exclude_defaults=True)
        return hashlib.blake2b(body.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    @cached_property
    def plan(self) -> Plan:
        """The config compiled for assignment."""
        return Plan.of(self)

    def experiment(self, name: str) -> Experiment | None:
        """An experiment by name."""
        return next((e for e in self.experiments if e.name == name), None)

    def metric(self, name: str) -> Metric | None:
        """A metric by name: the config's own, else the standard one."""
        return next((m for m in (*self.metrics, *STANDARD) if m.name == name), None)


def load(path: Path | str = DEFAULT) -> Config:
    """Reads a config: a file, or the *.yaml of a folder together; all of it or nothing.

    Raises:
        Refused: something in it is wrong; the message names the file and the line.
        BadInput: it cannot be read.
    """
    return parse(Sources.read(Path(path)))


def parse(sources: Sources) -> Config:
    """The config that stands in some sources; raises like `load`."""
    try:
        return Config.model_validate(sources.data)
    except ValidationError as error:
        errors = sorted(error.errors(), key=lambda one: one["type"] != "extra_forbidden")  # typos first
        raise Refused([_problem(sources, one) for one in errors]) from error


def _problem(sources: Sources, error: Any) -> Problem:
    loc: Loc = (*error["loc"], *error.get("ctx", {}).get("at", ()))
    path, line = sources.place(loc)
    return Problem(path, line, f"{_key(loc)}: {_message(error)}")


def _message(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "no such key"
    if error["type"] == "missing":
        return "is missing"
    return str(error["msg"])


def _key(loc: Loc) -> str:
    """A place as people write it: experiments[0].arms[1].weight."""
    return "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in loc).lstrip(".") or "the file"
