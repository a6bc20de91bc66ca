"""From a question to stopping rules, and from estimates by day to what a rule says: one metric and treatment each.

primary = rule_of(question, "primary", arms=1, secondary=3, scale)
points = trail(rule, days, schedule, until)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from scipy.stats import norm

from experiments.analysis.design import Margin
from experiments.analysis.estimate import Pair
from experiments.question import AlwaysValid, Fixed, GroupSequential, Question
from experiments.report.record import Point, Role
from experiments.report.schedule import Schedule
from experiments.sequential.looks import Look, Verdict
from experiments.sequential.rule import StoppingRule, parse, trail

LEAST_UNITS = 100.0
"""Before so many units nothing is tested: everything here rests on large samples."""


@dataclass(frozen=True)
class Estimate:
    """One metric and treatment as it stood at the end of a day."""

    day: date
    pair: Pair

    @property
    def units(self) -> int:
        return self.pair.n_control + self.pair.n_treatment


def against(pair: Pair, margin: Margin | None, direction: str) -> tuple[float, float]:
    """Effect and standard error that a rule tests: the difference; with a margin, how far it is above "worse by the
    margin", turned so that up is better.

    A relative margin is a share of the control's mean, which is an estimate too: the linear combination
    treatment - (1 - m) control is tested, with its own variance (as in effects.non_inferiority).
    """
    if margin is None:
        return pair.effect, pair.se
    up = 1.0 if direction == "increase" else -1.0
    share = (margin.relative or 0.0) * (1.0 if pair.control >= 0 else -1.0)
    weight = 1 - up * share
    value = up * (pair.treatment - weight * pair.control) + (margin.absolute or 0.0)
    variance = pair.variance_treatment - 2 * weight * pair.covariance + weight**2 * pair.variance_control
    return value, max(variance, 0.0) ** 0.5


def rule_of(
    question: Question, role: Role, *, margin: bool, tests: int, wanted_se: float, breach: bool = False
) -> StoppingRule:
    """The rule that a metric is judged by.

    Primary metrics and guardrails follow the config's rule; with a margin one-sided at half of alpha, so that
    passing is the two-sided interval lying above it. Secondary metrics, which a stop on another metric would bias,
    and breaches of a guardrail, which are looked for every day, are always valid unless the test is read once.

    Args:
        tests: treatments, or treatments times metrics, that share the error.
        wanted_se: the standard error at which the smallest effect worth finding has the planned power: where an
            always-valid interval is tightest.
    """
    alpha = question.alpha / tests / (2 if margin else 1)
    common = {"alpha": alpha, "alternative": "greater" if margin and not breach else "two-sided"}
    if breach:
        common["alternative"] = "less"
    rule = question.stopping
    if breach or isinstance(rule, AlwaysValid) or (role == "secondary" and isinstance(rule, GroupSequential)):
        if isinstance(rule, AlwaysValid) and rule.method == "msprt" and not breach:
            sd = wanted_se * (norm.isf(question.alpha / 2) + norm.ppf(question.power))
            return parse({"kind": "msprt", "mixing_sd": sd, "min_units": LEAST_UNITS, **common})
        tuned = {"best_se": wanted_se}
        if isinstance(rule, AlwaysValid) and rule.tuned_for is not None:
            tuned = {"best_at": float(rule.tuned_for)}
        return parse({"kind": "always_valid", "min_units": LEAST_UNITS, **tuned, **common})
    if isinstance(rule, Fixed):
        return parse({"kind": "fixed", "units": 1e15, **common})
    shape = {} if rule.rho is None else {"parameter": rule.rho}
    return parse({"kind": "group_sequential", "calendar": True, "spending": rule.spending, **shape, **common})


def points(
    rule: StoppingRule,
    estimates: Sequence[Estimate],
    schedule: Schedule,
    margin: Margin | None,
    direction: str,
    daily: bool,
) -> tuple[list[Point], Verdict | None]:
    """Every day's estimate with what the rule says there, and its newest verdict; None before its first look.

    Effects and intervals are in the metric's unit whatever the rule tests: a margin is taken off again.
    """
    due = {day: share for share, day in schedule.looks}
    history, at = [], []
    for number, one in enumerate(estimates):
        if not one.pair.se > 0 or not (daily or one.day in due):
            continue
        share = 1.0 if daily else due[one.day]
        effect, se = against(one.pair, margin, direction)
        final = not daily and share >= 1
        time = None if daily else share
        history.append(Look(one.units, effect, se, one.day.isoformat(), final, time))
        at.append(number)
    found = trail(rule, history) if history else []
    taken = next(
        (n + 1 for n, verdict in enumerate(found) if verdict.stop), len(found)
    )  # after a stop, no looks
    verdicts = dict(zip(at[:taken], found[:taken], strict=True))
    out = [_point(one, verdicts.get(i), margin, direction) for i, one in enumerate(estimates)]
    return out, found[-1] if found else None


def _point(found: Estimate, verdict: Verdict | None, margin: Margin | None, direction: str) -> Point:
    pair, reach = found.pair, float(norm.isf(0.025))
    low, high = (None, None) if verdict is None else back(verdict, pair, margin, direction)
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
    verdict: Verdict, pair: Pair, margin: Margin | None, direction: str
) -> tuple[float | None, float | None]:
    """A verdict's interval as one of the difference: the margin taken off, turned back where lower is better."""
    low, high = verdict.interval
    if margin is None:
        return low, high
    worst = margin.absolute if margin.absolute is not None else (margin.relative or 0.0) * abs(pair.control)
    ends = [None if end is None else end - worst for end in (low, high)]
    if direction == "increase":
        return ends[0], ends[1]
    return (None if ends[1] is None else -ends[1]), (None if ends[0] is None else -ends[0])
