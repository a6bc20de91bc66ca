"""One metric and treatment: what the rule lets one believe, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from scipy.stats import norm

from experiments.analysis.result import Effect
from experiments.question import Fixed, Question
from experiments.report import record
from experiments.report.asked import Asked
from experiments.report.measure import Measured
from experiments.report.rules import rule_of
from experiments.report.schedule import Schedule
from experiments.report.trail import Due, Estimate, back, points
from experiments.report.words import change
from experiments.sequential.looks import Verdict, finite

_NO_MORE = "no difference shown"


@dataclass(frozen=True)
class Court:
    """What every metric of a test is judged by.

    Attributes:
        treatments, secondary, guardrails: how many share the error.
        ended: whether the test is over. `whole`: the last day that is over, and of which the log tells.
        mde: the smallest effect worth finding, as a share of the primary metric's level; None where that is 0.
    """

    question: Question
    schedule: Schedule
    treatments: int
    secondary: int
    guardrails: int
    ended: bool
    whole: date
    mde: float | None

    def due(self, estimates: Sequence[Estimate], daily: bool) -> Due:
        """The days that a rule looks at, of those that are over."""
        if not daily:
            return self.schedule.due(self.whole)
        return {e.day: None for e in estimates if self.schedule.first <= e.day <= self.whole}


def court(
    question: Question,
    schedule: Schedule,
    treatments: int,
    now: datetime,
    whole: date,
    metrics: Mapping[str, Measured],
) -> Court:
    over = schedule.state(now) in ("ended", "stopped")
    counts = (treatments, len(question.secondary), len(question.guardrails))
    return Court(question, schedule, *counts, over, whole, _share(question, metrics[question.primary]))


def _share(question: Question, primary: Measured) -> float | None:
    """The mde as a share of the primary metric's level."""
    if question.scale == "relative":
        return question.mde
    level = next((_level(primary, arm) for arm in primary.effects), 0.0)
    return question.mde / level if level else None


def judge(found: Measured, arm: str, court: Court) -> record.MetricRow:
    """A metric's row, for one treatment that has an effect."""
    one, effect = found.asked, found.effects[arm]
    estimates = [e for e in found.estimates.get(arm, []) if e.pair.se > 0]
    trail, verdict = _trail(found, arm, estimates, court)
    breach = _breach(found, arm, estimates, court) if one.role == "guardrail" else None
    standing = _standing(one, effect, verdict, breach, court)
    believed = _believed(one, effect, breach if standing == "breached" else verdict, estimates, court)
    if _at_once(one, court) and believed.p is not None:
        trail = [_read_once(p, standing, believed, effect) if p.planned else p for p in trail]
    return record.MetricRow(
        metric=one.metric.name,
        role=one.role,
        description=one.declared.description,
        arm=arm,
        effect=effect,
        estimate=believed.estimate,
        low=believed.low,
        high=believed.high,
        p=believed.p,
        kind=believed.kind,
        standing=standing,
        sentence=_sentence(one, effect, believed, standing, court),
        margin=_margin(one, effect),
        margin_relative=one.margin is not None and one.margin.relative is not None,
        breach_p=None if breach is None else breach.p,
        trail=tuple(trail),
    )


def _at_once(one: Asked, court: Court) -> bool:
    """Whether a metric is read once, and its p and interval corrected for the family (by Holm, or as asked)."""
    return isinstance(court.question.stopping, Fixed) and one.margin is None


def _trail(
    found: Measured, arm: str, estimates: Sequence[Estimate], court: Court
) -> tuple[list[record.Point], Verdict | None]:
    one, question = found.asked, court.question
    tests = court.treatments * (max(1, court.secondary) if one.role == "secondary" else 1)
    rule = rule_of(
        question,
        one.role,
        margin=one.margin is not None,
        tests=tests,
        wanted_se=wanted(found, arm, court) / reach(question),
    )
    due = court.due(estimates, rule.kind in ("always_valid", "msprt"))
    return points(rule, estimates, due, one.margin, one.metric.direction, question.alpha)


def _breach(found: Measured, arm: str, estimates: Sequence[Estimate], court: Court) -> Verdict | None:
    """Whether the metric is shown to be worse than its margin: looked for every day from the first on, whatever the
    rule; harm does not wait for the week to be over."""
    one, question = found.asked, court.question
    tests = court.treatments * max(1, court.guardrails)
    se = wanted(found, arm, court) / reach(question)
    rule = rule_of(question, one.role, margin=True, tests=tests, wanted_se=se, breach=True)
    due: Due = {e.day: None for e in estimates}
    return points(rule, estimates, due, one.margin, one.metric.direction, question.alpha)[1]


def wanted(found: Measured, arm: str, court: Court) -> float:
    """The smallest effect worth finding, in the metric's unit: the margin of a metric that has one, else the mde.

    What is relative is relative to the metric's declared baseline, else to its mean before the start, else to the
    control's value. A secondary metric takes the mde as a share of its own level; where that cannot be told, what its
    error of now can show.
    """
    one, question = found.asked, court.question
    level = _level(found, arm)
    if one.margin is not None:
        return one.margin.absolute or (one.margin.relative or 0.0) * level or level or 1.0
    if question.scale == "absolute" and one.role == "primary":
        return question.mde
    if court.mde is not None and level:
        return court.mde * level
    return found.effects[arm].se * reach(question) or 1.0


def _level(found: Measured, arm: str) -> float:
    declared = found.asked.declared.baseline
    base = declared.mean if declared is not None else found.before
    return abs(base if base else found.effects[arm].control_value)


def reach(question: Question, treatments: int = 1) -> float:
    """Standard errors between no effect and one that is found with the planned power (or between a margin and none,
    tested one-sided at half of alpha)."""
    return float(norm.isf(question.alpha / treatments / 2) + norm.ppf(question.power))


def _margin(one: Asked, effect: Effect) -> float | None:
    if one.margin is None:
        return None
    return one.margin.absolute or (one.margin.relative or 0.0) * abs(effect.control_value)


def _standing(
    one: Asked, effect: Effect, verdict: Verdict | None, breach: Verdict | None, court: Court
) -> record.Standing:
    if breach is not None and breach.outcome in ("higher", "lower"):
        return "breached"
    if verdict is None or verdict.outcome == "running":
        return "no_difference" if court.ended else "open"
    if _at_once(one, court):
        if not effect.p_adjusted <= court.question.alpha:  # a NaN shows nothing
            return "no_difference"
        return "better" if (effect.effect > 0) == (one.metric.direction == "increase") else "worse"
    if verdict.outcome in (_NO_MORE, "futile"):
        return "no_difference"
    if one.margin is not None:
        return "no_worse"
    good = "higher" if one.metric.direction == "increase" else "lower"
    return "better" if verdict.outcome == good else "worse"


@dataclass(frozen=True)
class _Believed:
    """Estimate, interval and p that may be read now, and of what kind they are."""

    estimate: float
    low: float | None
    high: float | None
    p: float | None
    kind: str


def _believed(
    one: Asked, effect: Effect, verdict: Verdict | None, estimates: Sequence[Estimate], court: Court
) -> _Believed:
    if verdict is None or verdict.interval_kind == "none":
        return _Believed(effect.effect, None, None, None, _why_none(verdict, court))
    if _at_once(one, court):
        ends = effect.interval_adjusted
        told = "fixed, adjusted for how many are tested"
        return _Believed(effect.effect, finite(ends.low), finite(ends.high), finite(effect.p_adjusted), told)
    by_day = [e.pair for e in estimates if e.day.isoformat() <= verdict.at]
    pair, direction = by_day[-1], one.metric.direction
    low, high = back(verdict.interval, pair, one.margin, direction)
    middle = back((verdict.estimate, verdict.estimate), pair, one.margin, direction)[0]
    assert middle is not None
    return _Believed(middle, low, high, verdict.p, verdict.interval_kind)


def _why_none(verdict: Verdict | None, court: Court) -> str:
    if verdict is not None and verdict.bound is not None:
        return "none: the looks contradict each other, the effect changes over time"
    at = "the planned end" if isinstance(court.question.stopping, Fixed) else "the first look"
    return f"none: it ended before {at}" if court.ended else f"none before {at}"


def _read_once(
    point: record.Point, standing: record.Standing, believed: _Believed, effect: Effect
) -> record.Point:
    """The one look as it is read: with the family's interval, and an outcome that agrees with it."""
    up = "higher" if effect.effect > 0 else "lower"
    outcome = up if standing in ("better", "worse") else _NO_MORE
    return replace(point, low=believed.low, high=believed.high, outcome=outcome, bound=None)


def _sentence(
    one: Asked, effect: Effect, believed: _Believed, standing: record.Standing, court: Court
) -> str:
    name, moved = one.metric.name, change(effect, believed.estimate, believed.low, believed.high)
    if standing == "breached":
        return f"{name} is worse than its margin: {moved}."
    if standing == "no_worse":
        return f"{name} is not worse by more than its margin: {moved}."
    if standing in ("better", "worse"):
        return f"{name} is {standing}: {moved}."
    if standing == "open":
        early = (
            "nothing is read before the planned end" if isinstance(court.question.stopping, Fixed) else "open"
        )
        return f"{name}: {early}; so far {moved}."
    what = "not shown to stay within its margin" if one.margin is not None else "no difference is shown"
    what = "it ended before anything could be read" if believed.p is None else what
    return f"{name}: {what}: {moved}."
