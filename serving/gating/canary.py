"""The canary's rules, on what each unit did day by day: sample ratio, guards, whether it may grow, the goal.

    found = judge(frame, counts, start, whole, settings)     # Judged: go on, stop, or better

`frame`: a row a unit and day: unit, arm, exposed_day, day, and the columns of METRICS; days that are over only. All
metrics are ratios of two sums with the unit as the unit of analysis (delta method, experiments.analysis). Guards are
confidence sequences, so that a look every day costs no error, and so is what lets the canary grow: great harm must have
been ruled out, for silence of the guards is no evidence while few listeners have been seen. The goal is judged by a
group-sequential rule at looks planned beforehand, with the looks' own correlations, because the same listeners bring
every look. A wrong sample ratio stops everything: effects of a broken split mean nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Literal

import polars as pl

from experiments.analysis import design as analysis
from experiments.analysis.looks import looks
from experiments.report.record import Point
from experiments.report.trail import Estimate, against, points
from experiments.sequential.rule import parse
from experiments.sequential.sample_ratio import ALPHA, concentration_for, sequential
from recsys.errors import BadInput
from serving.gating.record import Check, Outcome
from serving.gating.settings import CanarySettings, GateSettings, Guard

CHAMPION, CHALLENGER = "champion", "challenger"
"""Names of the arms."""
PRIMARY = "reward"


@dataclass(frozen=True)
class Ratio:
    """A metric: the sum of one column over that of another."""

    numerator: str
    denominator: str
    direction: Literal["increase", "decrease"]
    meaning: str


METRICS: dict[str, Ratio] = {
    "reward": Ratio("reward", "shown", "increase", "reward of a recommended track that was seen"),
    "skips": Ratio("shown_skipped", "shown_played", "decrease", "skips of recommended plays"),
    "hours": Ratio("hours", "days", "increase", "hours played, a listener and day"),
    "failures": Ratio("failed", "answers", "decrease", "answers from below the first rung"),
    "slow": Ratio("slow", "answers", "decrease", "answers slower than slow_ms"),
}


@dataclass(frozen=True)
class Judged:
    """What the rules say after the last whole day.

    Attributes:
        verdict: `stopped` at once; `better` where the goal is shown; `not_shown` at the end without it; else `running`.
        safe: whether the canary may grow.
        effects: by metric, the newest estimate: champion, challenger, difference, standard error.
        points: by metric, each day's estimate and bounds, for pictures.
    """

    verdict: Literal["running", "stopped", "better", "not_shown"]
    checks: list[Check]
    safe: bool = False
    effects: dict[str, dict[str, float]] = field(default_factory=dict)
    points: dict[str, list[Point]] = field(default_factory=dict)


def due(start: date, settings: CanarySettings) -> dict[date, float]:
    """The planned looks at the reward: the last day that each counts, and the share of the planned time."""
    span = settings.most_days - settings.days
    ends = [settings.days + round(span * (i + 1) / settings.looks) for i in range(settings.looks)]
    return {start + timedelta(days=end - 1): end / settings.most_days for end in ends}


def judge(
    frame: pl.DataFrame,
    counts: Sequence[tuple[int, int]],
    start: date,
    settings: GateSettings,
) -> Judged:
    """Applies all rules, in order: sample ratio, guards, great harm ruled out, the goal.

    Args:
        counts: cumulative units of (champion, challenger) after each day with new ones.
    """
    ratio = sample_ratio(counts)
    if ratio.outcome == "stopped":
        return Judged("stopped", [ratio])
    canary = settings.canary
    used = [PRIMARY, *(g.metric for g in canary.guards if g.metric != PRIMARY)]
    planned = due(start, canary)
    estimates = _estimates(frame, used, planned, settings)
    if not estimates.get(PRIMARY):
        return Judged("running", [ratio])
    checks, shown = [ratio], dict[str, list[Point]]()
    for guard in canary.guards:
        check, shown[guard.metric] = _guarded(guard, estimates[guard.metric], canary)
        checks.append(check)
    effects = {name: _effect(found[-1]) for name, found in estimates.items() if found}
    if any(check.outcome == "stopped" for check in checks):
        return Judged("stopped", checks, False, effects, shown)
    safe = _safe(estimates[PRIMARY], canary)
    goal, verdict = _goal(estimates[PRIMARY], planned, settings)
    return Judged(verdict, [*checks, safe, goal], safe.outcome == "passed", effects, shown)


def sample_ratio(counts: Sequence[tuple[int, int]]) -> Check:
    """Whether the arms got equal shares of the units, at all looks together."""
    if not counts or not sum(counts[-1]):
        return Check("canary.sample_ratio", "passed", "no unit yet")
    last = counts[-1]
    found = sequential(counts, [0.5, 0.5], ALPHA, concentration_for(float(sum(last)), ALPHA))
    numbers = {CHAMPION: last[0], CHALLENGER: last[1], "p": found.p, "alpha": ALPHA}
    told = f"{last[0]} and {last[1]} units of equal shares (p {found.p:.2g})"
    outcome: Outcome = "stopped" if found.mismatch else "passed"
    said = f"the arms did not get the units that they should: {told}" if found.mismatch else told
    return Check("canary.sample_ratio", outcome, said, numbers)


def _estimates(
    frame: pl.DataFrame, used: Sequence[str], planned: Mapping[date, float], settings: GateSettings
) -> dict[str, list[Estimate]]:
    """By metric, the two arms as they stood after each day; days before the least units are left out."""
    metrics = tuple(_metric(name, settings) for name in used)
    plan = analysis.Design(
        metrics=metrics,
        control=CHAMPION,
        treatments=(CHALLENGER,),
        unit="unit",
        exposure="exposed_day",
        adjustment="none",
    )
    out: dict[str, list[Estimate]] = {name: [] for name in used}
    if frame.is_empty() or frame["arm"].n_unique() < 2:
        return out
    for look in looks(frame, plan, set(planned)):
        if look.units >= settings.canary.least_units:
            out[look.metric].append(Estimate(look.day, look.pair, look.correlations))
    return out


def _metric(name: str, settings: GateSettings) -> analysis.Metric:
    own = METRICS[name]
    margin = analysis.Margin(relative=settings.margin) if name == PRIMARY and settings.margin else None
    return analysis.Metric(
        name=name,
        kind="ratio",
        numerator=own.numerator,
        denominator=own.denominator,
        direction=own.direction,
        margin=margin,
    )


def _guarded(guard: Guard, found: list[Estimate], canary: CanarySettings) -> tuple[Check, list[Point]]:
    """A breach is looked for every day, by a one-sided confidence sequence; the guards share the error."""
    rule, own = f"canary.guard.{guard.metric}", METRICS[guard.metric]
    if not found:
        return Check(rule, "passed", f"{own.meaning}: too few units yet"), []
    margin = analysis.Margin(**{guard.scale: guard.margin}) if guard.margin else None
    varied = [one for one in found if one.pair.se > 0]
    last = found[-1].pair
    numbers = {**_effect(found[-1]), "margin": guard.margin, "scale": guard.scale}
    told = (
        f"{own.meaning}: {last.treatment:.4g} against {last.control:.4g} "
        f"({_relative(last.effect, last.control)})"
    )
    if not varied:
        worse = last.effect if own.direction == "decrease" else -last.effect
        beyond = worse > (guard.margin * (abs(last.control) if guard.scale == "relative" else 1.0))
        outcome: Outcome = "stopped" if beyond else "passed"
        return Check(rule, outcome, f"{told}; all units alike", numbers), []
    law = _always_valid(guard, varied, canary)
    # Without a margin the difference is not turned round: worse is greater where lower is better.
    law["alternative"] = "greater" if margin is None and own.direction == "decrease" else "less"
    looked = dict.fromkeys((one.day for one in varied), None)
    shown, verdict = points(parse(law), varied, looked, margin, own.direction, law["alpha"])
    if verdict is None or verdict.outcome not in ("higher", "lower"):
        return Check(rule, "passed", f"{told}: not shown to be worse than its margin", numbers), shown
    numbers |= {"z": verdict.z, "bound": verdict.bound, "p": verdict.p}
    return Check(rule, "stopped", f"{told}: worse than its margin (p {verdict.p:.2g})", numbers), shown


def _always_valid(guard: Guard, found: list[Estimate], canary: CanarySettings) -> dict[str, Any]:
    """Tightest at the standard error with which the harm that it is tuned for is seen with power 80%."""
    level = next((abs(e.pair.control) for e in found if e.pair.control), 1.0)
    harm = canary.tuned_for * level if guard.scale == "relative" else max(guard.margin, 1e-6)
    alpha = canary.guard_alpha / len(canary.guards)
    return {
        "kind": "always_valid",
        "best_se": harm / 2.8,
        "min_units": float(canary.least_units),
        "alpha": alpha,
    }


def _safe(found: list[Estimate], canary: CanarySettings) -> Check:
    """Whether the reward is shown to be no worse than by `worst`: a one-sided confidence sequence, looked at daily."""
    rule, last = "canary.safe", found[-1].pair
    varied = [one for one in found if one.pair.se > 0]
    numbers = {**_effect(found[-1]), "worst": canary.worst}
    what = f"reward {_relative(last.effect, last.control)}"
    if not varied:
        return Check(rule, "running", f"{what}: too few units yet", numbers)
    margin = analysis.Margin(relative=canary.worst)
    level = next((abs(e.pair.control) for e in varied if e.pair.control), 1.0)
    law = {"kind": "always_valid", "best_se": canary.worst * level / 2.8, "alternative": "greater"}
    law |= {"min_units": float(canary.least_units), "alpha": canary.safe_alpha}
    looked = dict.fromkeys((one.day for one in varied), None)
    _, verdict = points(parse(law), varied, looked, margin, "increase", canary.safe_alpha)
    if verdict is None or verdict.outcome != "higher":
        said = f"{what}: not yet shown to be no worse than by {canary.worst:.0%}"
        return Check(rule, "running", said, numbers)
    numbers |= {"z": verdict.z, "bound": verdict.bound, "p": verdict.p}
    return Check(rule, "passed", f"{what}: shown to be no worse than by {canary.worst:.0%}", numbers)


def _goal(
    found: list[Estimate], planned: Mapping[date, float], settings: GateSettings
) -> tuple[Check, Literal["running", "better", "not_shown"]]:
    """The reward, at its planned looks: one-sided, by error spending in calendar time (Lan & DeMets 1983)."""
    margin = analysis.Margin(relative=settings.margin) if settings.margin else None
    law = {"kind": "group_sequential", "calendar": True, "alternative": "greater", "alpha": settings.alpha}
    rule = parse({**law, "min_units": float(settings.canary.least_units)})
    last = found[-1].pair
    seen = {day: share for day, share in planned.items() if day <= found[-1].day}
    name, numbers = f"canary.{settings.goal}", _effect(found[-1])
    what = f"reward {_relative(last.effect, last.control)}"
    if not seen:
        return Check(name, "running", f"{what}: no look yet", numbers), "running"
    try:
        _, verdict = points(rule, found, seen, margin, "increase", settings.alpha)
    except BadInput:  # a look without any variation
        verdict = None
    if verdict is None:
        return Check(name, "running", f"{what}: nothing to test yet", numbers), "running"
    value, se = against(last, margin, "increase")
    numbers |= {"z": verdict.z, "bound": verdict.bound, "p": verdict.p, "tested": value, "tested_se": se}
    goal = "better" if settings.goal == "improve" else f"not worse by more than {settings.margin:.1%}"
    at = (
        f"z {verdict.z:.2f}, bound {verdict.bound:.2f}, p {verdict.p:.3g}"
        if verdict.bound
        else verdict.reason
    )
    if verdict.outcome == "higher":
        return Check(name, "passed", f"{what}: shown to be {goal} ({at})", numbers), "better"
    if verdict.stop:
        return Check(name, "stopped", f"{what}: not shown to be {goal} ({at})", numbers), "not_shown"
    return Check(name, "running", f"{what}: not yet shown to be {goal} ({at})", numbers), "running"


def _effect(one: Estimate) -> dict[str, Any]:
    pair = one.pair
    units = pair.n_control + pair.n_treatment
    return {
        CHAMPION: pair.control,
        CHALLENGER: pair.treatment,
        "difference": pair.effect,
        "se": pair.se,
        "units": units,
    }


def _relative(effect: float, base: float) -> str:
    return f"{effect / abs(base):+.1%}" if base else f"{effect:+.4g}"
