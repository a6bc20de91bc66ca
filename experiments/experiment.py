"""One experiment as it is written down: arms, who may be in it, when, and what it asks.

A flag is an experiment without a question: its arms set values, and nobody draws conclusions.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator

from experiments.fields import Name, Salt, Share, Strict, Text, Time, refuse
from experiments.hashing import Hash
from experiments.question import Question

CHAMPION = "champion"
Unit = Literal["listener", "session", "artist"]
FOREVER = 2**62
"""UTC ms after every time."""


class Arm(Strict):
    """One treatment: the release that answers, and settings that override the defaults.

    Attributes:
        parameters: settings by dotted path, like `home.epsilon`; of any component that the caller knows.
        value: of a flag, as OpenFeature returns it.
    """

    name: Name
    weight: Share
    release: Annotated[str, Field(min_length=1, max_length=64)] = CHAMPION  # alias or version
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    value: JsonValue = None


class Slice(Strict):
    """A slice of a layer: experiments in disjoint slices of one layer never share a unit."""

    name: Name
    start: Share = 0.0
    end: Share = 1.0

    @model_validator(mode="after")
    def _forward(self) -> Slice:
        if self.end <= self.start:
            raise refuse("end must be after start", "end")
        return self

    def excludes(self, other: Slice) -> bool:
        """Whether no unit can be in both."""
        return self.name == other.name and (self.end <= other.start or other.end <= self.start)


class Step(Strict):
    """From a time on, the share of units that take part."""

    at: Time
    share: Share


class WeightChange(Strict):
    """From a time on, other weights; the fewest possible units change arms."""

    at: Time
    weights: dict[Name, Share]


class Experiment(Strict):
    """One experiment. The salt decides who is where: change it to shuffle units anew, else leave it alone.

    Attributes:
        coverage: the share of units that take part, where it stays as it is; else `ramp`, whose shares only grow.
        targeting: a condition on attributes of the request, in GrowthBook's language; {} is everybody.
        stop, stopped: the planned end, and an earlier one that `recsys experiment stop` writes down.
        surfaces: where a request can show an effect; where it is not given, what the arms set says it.
        holdouts: whether units that a holdout holds back stay out; false for switches that must reach all.
        active: false is a draft, which nothing but an override enters.
    """

    name: Name
    description: str = ""
    owner: str = ""
    salt: Salt
    hash: Hash = Hash.GROWTHBOOK_2
    unit: Unit = "listener"
    arms: Annotated[tuple[Arm, ...], Field(min_length=1, max_length=100)]
    layer: Slice | None = None
    targeting: dict[str, JsonValue] = Field(default_factory=dict)
    coverage: Share | None = None
    ramp: tuple[Step, ...] = ()
    weight_changes: tuple[WeightChange, ...] = ()
    start: Time | None = None
    stop: Time | None = None
    stopped: Time | None = None
    surfaces: tuple[Text, ...] | None = None
    holdouts: bool = True
    active: bool = True
    question: Question | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Experiment:
        names = [arm.name for arm in self.arms]
        twice = next((i for i, name in enumerate(names) if name in names[:i]), None)
        if twice is not None:
            raise refuse("two arms have the same name", "arms", twice, "name")
        _sum_to_one([arm.weight for arm in self.arms], "arms")
        if self.start and self.stop and self.stop <= self.start:
            raise refuse("stop must be after start", "stop")
        if self.start and self.stopped and self.stopped <= self.start:
            raise refuse("stopped must be after start", "stopped")
        self._check_schedule(names)
        self._check_question(names)
        return self

    def _check_schedule(self, names: Sequence[str]) -> None:
        if self.ramp and self.coverage is not None:
            raise refuse("either coverage or ramp", "coverage")
        _ascending([step.at for step in self.ramp], "ramp", self.start, self.stop)
        for i, (a, b) in enumerate(zip(self.ramp, self.ramp[1:], strict=False)):
            if b.share < a.share:
                raise refuse("a ramp only adds units: shares must not fall", "ramp", i + 1, "share")
        _ascending([change.at for change in self.weight_changes], "weight_changes", self.start, self.stop)
        for i, change in enumerate(self.weight_changes):
            if set(change.weights) != set(names):
                raise refuse(
                    f"weights of all arms are wanted: {', '.join(names)}", "weight_changes", i, "weights"
                )
            _sum_to_one(list(change.weights.values()), "weight_changes", i, "weights")

    def _check_question(self, names: Sequence[str]) -> None:
        if self.question is None:
            return
        if len(self.arms) < 2:
            raise refuse("a question needs two arms; a flag has none", "arms")
        if self.question.control is not None and self.question.control not in names:
            raise refuse(f"no arm is called {self.question.control}", "question", "control")
        rule = self.question.stopping
        if rule.rule != "always_valid" and self.stop is None and rule.days is None:
            raise refuse("looks are planned up to an end: give stop, or days here", "question", "stopping")
        days = self.planned_days
        if (
            days is not None
            and "min_days" in self.question.model_fields_set
            and self.question.min_days > days
        ):
            raise refuse(
                f"the test is over after {days:g} days: no look would be left but its end",
                "question",
                "min_days",
            )

    @property
    def planned_days(self) -> float | None:
        """From start to planned end, or what its stopping rule says where that is less; None where nothing says so."""
        rule_days = None if self.question is None else getattr(self.question.stopping, "days", None)
        length = (self.stop - self.start) / timedelta(days=1) if self.start and self.stop else None
        return min((float(d) for d in (rule_days, length) if d is not None), default=None)

    @property
    def end(self) -> datetime | None:
        """When it ends, or ended."""
        return min(filter(None, (self.stop, self.stopped)), default=None)

    @property
    def is_flag(self) -> bool:
        return self.question is None

    @property
    def control(self) -> str:
        """The arm that the others are compared with."""
        return (self.question and self.question.control) or self.arms[0].name

    def sets(self) -> set[str]:
        """What the arms set: parameter paths, and "release" where some arm is answered by another than the champion."""
        paths = {path for arm in self.arms for path in arm.parameters}
        return paths | ({"release"} if any(arm.release != CHAMPION for arm in self.arms) else set())

    def excludes(self, other: Experiment) -> bool:
        """Whether no request can be in both: disjoint slices of a layer, or another time."""
        apart = self.layer is not None and other.layer is not None and self.layer.excludes(other.layer)
        return apart or not self.overlaps(other)

    def overlaps(self, other: Experiment) -> bool:
        """Whether both run at some moment."""
        ends_first = self.end is not None and other.start is not None and self.end <= other.start
        starts_last = other.end is not None and self.start is not None and other.end <= self.start
        return self.active and other.active and not ends_first and not starts_last

    def history(self) -> list[tuple[datetime | None, float, list[float]]]:
        """What holds from when on: (time, coverage, weights by arm), oldest first; None is the beginning of time.

        Before its first step a ramp covers nobody.
        """
        weights = [arm.weight for arm in self.arms]
        covered = 0.0 if self.ramp else 1.0 if self.coverage is None else self.coverage
        states: list[tuple[datetime | None, float, list[float]]] = [(None, covered, weights)]
        changes: list[tuple[datetime, Any]] = [(s.at, s) for s in self.ramp]
        changes += [(c.at, c) for c in self.weight_changes]
        for at, change in sorted(changes, key=lambda c: c[0]):
            if isinstance(change, Step):
                covered = change.share
            else:
                weights = [change.weights[arm.name] for arm in self.arms]
            states.append((at, covered, weights))
        return states


def _sum_to_one(weights: Sequence[float], *at: str | int) -> None:
    if abs(sum(weights) - 1) > 0.001 + 1e-9:
        raise refuse(f"weights must sum to 1, not {sum(weights):g}", *at)


def _ascending(times: Sequence[datetime], part: str, start: datetime | None, stop: datetime | None) -> None:
    for i, at in enumerate(times):
        if i and at <= times[i - 1]:
            raise refuse("times must grow from step to step", part, i, "at")
        if (start and at < start) or (stop and at >= stop):
            raise refuse("a step lies between start and stop", part, i, "at")
