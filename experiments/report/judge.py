"""One metric and treatment: what the rule lets one believe, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from scipy.stats import norm

from experiments.analysis.result import Effect
from experiments.question import Fixed, Question
from experiments.report import record
from experiments.report.asked import Asked
from experiments.report.measure import Measured
from experiments.report.rules import Estimate, back, points, rule_of
from experiments.report.schedule import Schedule
from experiments.report.words import change
from experiments.sequential.looks import Verdict

_NO_MORE = "no difference shown"


@dataclass(frozen=True)
class Court:
    """What every metric of a test is judged by: its question, its schedule, and how many share the error."""

    question: Question
    schedule: Schedule
    treatments: int
    secondary: int
    guardrails: int
    ended: bool


def court(question: Question, schedule: Schedule, treatments: int, now: datetime) -> Court:
    over = schedule.state(now) in ("ended", "stopped")
    return Court(question, schedule, treatments, len(question.secondary), len(question.guardrails), over)


def judge(found: Measured, arm: str, court: Court) -> record.MetricRow:
    """A metric's row, for one treatment that has an effect."""
    one, effect = found.asked, found.effects[arm]
    estimates = [e for e in found.estimates.get(arm, []) if e.pair.se > 0]
    trail, verdict, margin = _trail(found, arm, estimates, court)
    breach = _breach(found, arm, estimates, court) if one.role == "guardrail" else None
    standing = _standing(one, verdict, breach, court)
    low, high, p, kind = _believed(one, effect, verdict, estimates, court)
    estimate = effect.effect if verdict is None or one.margin is not None else verdict.estimate
    return record.MetricRow(
        metric=one.metric.name,
        role=one.role,
        description=one.declared.description,
        arm=arm,
        effect=effect,
        estimate=estimate,
        low=low,
        high=high,
        p=p,
        kind=kind,
        standing=standing,
        sentence=_sentence(one, change(effect, estimate, low, high), standing, court),
        margin=margin,
        margin_relative=one.margin is not None and one.margin.relative is not None,
        breach_p=None if breach is None else breach.p,
        trail=tuple(trail),
    )


def _trail(
    found: Measured, arm: str, estimates: Sequence[Estimate], court: Court
) -> tuple[list[record.Point], Verdict | None, float | None]:
    one, question = found.asked, court.question
    tests = court.treatments * (max(1, court.secondary) if one.role == "secondary" else 1)
    rule = rule_of(
        question,
        one.role,
        margin=one.margin is not None,
        tests=tests,
        wanted_se=wanted(found, arm, court) / _reach(question),
    )
    daily = rule.kind in ("always_valid", "msprt")
    trail, verdict = points(rule, estimates, court.schedule, one.margin, one.metric.direction, daily)
    return trail, verdict, _margin(one, found.effects[arm])


def _breach(found: Measured, arm: str, estimates: Sequence[Estimate], court: Court) -> Verdict | None:
    """Whether the metric is shown to be worse than its margin: looked for every day, whatever the rule."""
    one = found.asked
    tests = court.treatments * max(1, court.guardrails)
    se = wanted(found, arm, court) / _reach(court.question)
    rule = rule_of(court.question, one.role, margin=True, tests=tests, wanted_se=se, breach=True)
    return points(rule, estimates, court.schedule, one.margin, one.metric.direction, daily=True)[1]


def wanted(found: Measured, arm: str, court: Court) -> float:
    """The smallest effect worth finding, in the metric's unit: the margin of a metric that has one, else the mde.

    What is relative is relative to the metric's declared baseline, else to its mean before the start, else to the
    control's value. A secondary metric of an absolute mde has no scale of its own: it takes the mde's share of the
    primary's spread, which is what the interval at hand can show.
    """
    one, question = found.asked, court.question
    base = one.declared.baseline.mean if one.declared.baseline is not None else found.before
    level = abs(base if base else found.effects[arm].control_value)
    if one.margin is not None:
        return one.margin.absolute or (one.margin.relative or 0.0) * level or level or 1.0
    if question.scale == "absolute" and one.role == "primary":
        return question.mde
    if question.scale == "relative" and level:
        return question.mde * level
    return found.effects[arm].se * _reach(question) or 1.0


def _reach(question: Question) -> float:
    """Standard errors between no effect and one that is found with the planned power."""
    return float(norm.isf(question.alpha / 2) + norm.ppf(question.power))


def _margin(one: Asked, effect: Effect) -> float | None:
    if one.margin is None:
        return None
    return one.margin.absolute or (one.margin.relative or 0.0) * abs(effect.control_value)


def _standing(one: Asked, verdict: Verdict | None, breach: Verdict | None, court: Court) -> record.Standing:
    if breach is not None and breach.outcome in ("higher", "lower"):
        return "breached"
    if verdict is None or verdict.outcome == "running":
        return "no_difference" if court.ended else "open"
    if verdict.outcome in (_NO_MORE, "futile"):
        return "no_difference"
    if one.margin is not None:
        return "no_worse"
    good = "higher" if one.metric.direction == "increase" else "lower"
    return "better" if verdict.outcome == good else "worse"


def _believed(
    one: Asked, effect: Effect, verdict: Verdict | None, estimates: Sequence[Estimate], court: Court
) -> tuple[float | None, float | None, float | None, str]:
    """The interval, its p and its kind that may be read now."""
    if verdict is None or verdict.interval_kind == "none":
        if isinstance(court.question.stopping, Fixed):
            return None, None, None, "none before the planned end"
        return None, None, None, "none before the first look"
    if isinstance(court.question.stopping, Fixed) and one.margin is None:
        interval = effect.interval_adjusted
        return interval.low, interval.high, effect.p_adjusted, "fixed, adjusted for how many are tested"
    pair = next((e.pair for e in estimates if e.day.isoformat() == verdict.at), estimates[-1].pair)
    low, high = back(verdict, pair, one.margin, one.metric.direction)
    return low, high, verdict.p, verdict.interval_kind


def _sentence(
    one: Asked,
    moved: str,
    standing: record.Standing,
    court: Court,
) -> str:
    name = one.metric.name
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
    return f"{name}: {what}: {moved}."
