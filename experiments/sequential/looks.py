"""What a stopping rule reads and what it answers: looks at one metric, and a verdict. Plain and ready for JSON.

from dataclasses import asdict
json.dumps(asdict(rule.look([Look(units=4000, effect=0.2, se=0.15)])))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite
from typing import Any, Literal

from recsys.errors import BadInput

Outcome = Literal["running", "higher", "lower", "no difference shown", "futile"]
IntervalKind = Literal["none", "fixed", "repeated", "stage-wise adjusted", "always valid"]


@dataclass(frozen=True)
class Look:
    """The state of one metric at one look: units so far in the compared arms, effect (treatment minus control), its
    standard error. All cumulated, adjusted or not. `final` says that no more data will come."""

    units: float
    effect: float
    se: float
    at: str = ""  # when, in words of the caller: a date, a snapshot's version
    final: bool = False
    time: float | None = None  # share of the planned duration that has passed; the end at 1 or later
    correlations: tuple[
        float, ...
    ] = ()  # of this estimate with each earlier look's, oldest first, where known

    @property
    def ends(self) -> bool:
        """Whether data or planned time end here."""
        return self.final or (self.time is not None and self.time >= 1)


@dataclass(frozen=True)
class Verdict:
    """What a rule says at the last look of a history.

    Everything follows from rule and history alone, so that it can be worked out again. Once a look has stopped the
    test, later looks do not change it: estimate, interval and p stay those of the stop. `estimate` is the one to
    report: median-unbiased after a group-sequential stop. `z` is turned so that a one-sided alternative points
    upwards. An infinite or missing number is None.
    """

    stop: bool
    outcome: Outcome
    reason: str
    look: int  # the look this speaks of, from 1: the one that stopped, or the last
    at: str
    fraction: float  # of the planned units, information or time by then; 0 where no end is planned
    z: float
    bound: float | None  # |z| needed at this look
    p: float | None
    interval: tuple[float | None, float | None]
    interval_kind: IntervalKind
    estimate: float
    naive_interval: tuple[float, float]  # of one fixed look; not valid for deciding
    rule: dict[str, Any] = field(default_factory=dict)


def checked(history: Sequence[Look]) -> list[Look]:
    """The looks, if they can be those of one running test.

    Raises:
        BadInput: no look, a number that is not finite, a standard error that is not positive, units or times that fall.
    """
    if not history:
        raise BadInput("a stopping rule needs at least one look")
    for number, look in enumerate(history, 1):
        if not (isfinite(look.units) and isfinite(look.effect) and isfinite(look.se)):
            raise BadInput(f"look {number}: units, effect and se must be finite numbers")
        if look.units <= 0 or look.se <= 0:
            raise BadInput(
                f"look {number}: units and se must be positive, not {look.units:g} and {look.se:g}"
            )
        if number > 1 and look.units < history[number - 2].units:
            raise BadInput(f"look {number}: units fall from {history[number - 2].units:g} to {look.units:g}")
        if look.correlations and len(look.correlations) != number - 1:
            raise BadInput(f"look {number}: correlations with all {number - 1} looks before, or none")
    _check_times([look.time for look in history if look.time is not None])
    return list(history)


def _check_times(times: Sequence[float]) -> None:
    if not all(isfinite(time) and time > 0 for time in times):
        raise BadInput("the time of a look is a share of the planned duration: a positive number")
    if any(later < earlier for earlier, later in pairwise(times)):
        raise BadInput("the times of the looks fall: give them oldest first")


def passed(look: Look) -> float:
    """The share of the planned duration at a look.

    Raises:
        BadInput: the look does not say.
    """
    if look.time is None:
        raise BadInput("a rule in calendar time needs the time of each look")
    return look.time


def finite(value: float) -> float | None:
    return float(value) if isfinite(value) else None
