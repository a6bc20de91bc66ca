"""What a stopping rule says of one metric and treatment, day by day.

found, verdict = points(rule, estimates, due, margin, direction, alpha)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from scipy.stats import norm

from experiments.analysis.design import Margin
from experiments.analysis.effects import Direction, control_weight
from experiments.analysis.estimate import Pair
from experiments.report.record import Point
from experiments.sequential.looks import Look, Verdict
from experiments.sequential.rule import StoppingRule, trail

Due = Mapping[date, float | None]
"""The days that a rule looks at: the share of the planned time, None for a rule that looks every day."""


@dataclass(frozen=True)
class Estimate:
    """One metric and treatment as it stood at the end of a day.

    Attributes:
        correlations: of what is tested with that of each earlier planned look, oldest first, where known.
    """

    day: date
    pair: Pair
    correlations: tuple[float, ...] = ()

    @property
    def units(self) -> int:
        return self.pair.n_control + self.pair.n_treatment


def against(pair: Pair, margin: Margin | None, direction: Direction) -> tuple[float, float]:
    """Effect and standard error that a rule tests: the difference; with a margin, how far it is above "worse by the
    margin", turned so that up is better.

    A relative margin is a share of the control's mean, which is an estimate too: the linear combination
    treatment - (1 - m) control is tested, with its own variance (as in effects.non_inferiority).
    """
    if margin is None:
        return pair.effect, pair.se
    up = 1.0 if direction == "increase" else -1.0
    weight = control_weight(margin.relative, direction, pair.control)
    value = up * (pair.treatment - weight * pair.control) + (margin.absolute or 0.0)
    variance = pair.variance_treatment - 2 * weight * pair.covariance + weight**2 * pair.variance_control
    return value, max(variance, 0.0) ** 0.5


def points(
    rule: StoppingRule,
    estimates: Sequence[Estimate],
    due: Due,
    margin: Margin | None,
    direction: Direction,
    alpha: float,
) -> tuple[list[Point], Verdict | None]:
    """Every day's estimate with what the rule says there, and its newest verdict; None before its first look.

    Effects and intervals are in the metric's unit whatever the rule tests: a margin is taken off again. `alpha` is
    that of the interval of one look.
    """
    whole = _carried(estimates, due)
    taken = [i for i, one in enumerate(whole) if one.day in due]
    found = trail(rule, _history([whole[i] for i in taken], due, margin, direction)) if taken else []
    stop = next((n + 1 for n, verdict in enumerate(found) if verdict.stop), len(found))
    verdicts = dict(zip(taken[:stop], found[:stop], strict=True))  # after a stop, no looks
    out = [_point(one, verdicts.get(i), margin, direction, alpha) for i, one in enumerate(whole)]
    return out, found[-1] if found else None


def _carried(estimates: Sequence[Estimate], due: Due) -> list[Estimate]:
    """With planned looks on days that brought no new unit: they see what the last day before them left."""
    out = list(estimates)
    known = {one.day for one in estimates}
    for day, share in due.items():
        before = [one for one in estimates if one.day < day]
        if share is not None and day not in known and before:
            out.append(replace(before[-1], day=day))
    return sorted(out, key=lambda one: one.day)


def _history(seen: Sequence[Estimate], due: Due, margin: Margin | None, direction: Direction) -> list[Look]:
    looks = []
    for number, one in enumerate(seen):
        effect, se = against(one.pair, margin, direction)
        time = due[one.day]
        final = time is not None and time >= 1
        law = _correlations(seen[: number + 1])
        looks.append(Look(one.units, effect, se, one.day.isoformat(), final, time, law))
    return looks


def _correlations(seen: Sequence[Estimate]) -> tuple[float, ...]:
    """Of the last look with each before it; none where they are not all known. A look that was carried on is the one
    before it again."""
    one, place = seen[-1], []
    distinct: list[Estimate] = []
    for earlier in seen[:-1]:
        if not distinct or earlier.pair is not distinct[-1].pair:
            distinct.append(earlier)
        place.append(len(distinct) - 1)
    again = bool(distinct) and one.pair is distinct[-1].pair
    law = (*one.correlations, 1.0) if again else one.correlations
    return tuple(law[i] for i in place) if len(law) == len(distinct) else ()


def _point(
    found: Estimate, verdict: Verdict | None, margin: Margin | None, direction: Direction, alpha: float
) -> Point:
    pair, reach = found.pair, float(norm.isf(alpha / 2))
    low, high = (None, None) if verdict is None else back(verdict.interval, pair, margin, direction)
    return Point(
        found.day.isoformat(),
        found.units,
        pair.effect,
        pair.se,
        low,
        high,
        pair.effect - reach * pair.se,
        pair.effect + reach * pair.se,
        verdict is not None,
        "running" if verdict is None else verdict.outcome,
        None if verdict is None else verdict.bound,
        None if verdict is None else verdict.z,
    )


def back(
    ends: tuple[float | None, float | None], pair: Pair, margin: Margin | None, direction: Direction
) -> tuple[float | None, float | None]:
    """An interval of what is tested as one of the difference: the margin taken off, turned back where lower is
    better."""
    if margin is None:
        return ends
    worst = margin.absolute if margin.absolute is not None else (margin.relative or 0.0) * abs(pair.control)
    low, high = (None if end is None else end - worst for end in ends)
    if direction == "increase":
        return low, high
    return (None if high is None else -high), (None if low is None else -low)
