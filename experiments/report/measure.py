"""From logged events to estimates: every metric that is asked for, now and as it stood after each day.

found = measure(events, exposed, experiment, asked, schedule, last)
found.metrics["hours"].effects["treatment"]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import polars as pl

from experiments.analysis.analyse import analyse, corrected
from experiments.analysis.curve import Curve, effect_curve
from experiments.analysis.design import Design
from experiments.analysis.looks import looks
from experiments.analysis.quantile_frame import quantile_pairs
from experiments.analysis.result import CohortEffect, Effect, Interaction
from experiments.experiment import Experiment
from experiments.question import Window
from experiments.report.asked import Asked, design
from experiments.report.frame import answers, daily, values_of, windowed
from experiments.report.schedule import Schedule
from experiments.report.trail import Estimate
from experiments.report.units import Exposed
from recsys.errors import BadInput

CURVE_DAYS = 14
MOST_LINKED = 14
"""Planned looks whose correlations are worked out; benchmarks/growing_windows.py measures as many."""
KEYS = {"listener": "user_id", "session": "session_id"}


@dataclass
class Measured:
    """One metric: effects by treatment, and estimates by treatment and day; none where no unit counts yet."""

    asked: Asked
    effects: dict[str, Effect] = field(default_factory=dict)
    estimates: dict[str, list[Estimate]] = field(default_factory=dict)
    before: float | None = None  # of all units, in the days before the start


@dataclass
class Measurement:
    """All metrics, in the order asked for, and what is looked at besides."""

    metrics: dict[str, Measured]
    cohorts: tuple[CohortEffect, ...] = ()
    interactions: tuple[Interaction, ...] = ()
    curves: tuple[Curve, ...] = ()
    warnings: list[str] = field(default_factory=list)


def measure(
    events: pl.LazyFrame,
    exposed: Exposed,
    experiment: Experiment,
    wanted: Sequence[Asked],
    schedule: Schedule,
    last: date,
) -> Measurement:
    """Reads what the units did up to a day, and estimates.

    Raises:
        BadInput: units that no frame can be made of (artists).
    """
    if experiment.unit not in KEYS:
        raise BadInput(
            f"{experiment.name}: tests of {experiment.unit}s are read by experiments.analysis.two_sided"
        )
    out = Measurement({one.metric.name: Measured(one) for one in wanted})
    groups: dict[str, list[Asked]] = {}
    for one in wanted:
        groups.setdefault(one.source, []).append(one)
    grid = _grid(events, exposed, experiment, groups, schedule, last)
    for source, group in groups.items():
        if source == "answers":
            _answers(out, events, exposed, experiment, group, schedule, last)
        elif source == "days":
            _days(out, grid, experiment, group, schedule, last)
        else:
            _windows(out, grid, experiment, group, schedule, last)
    _correct(out, experiment, last)
    return out


def _grid(
    events: pl.LazyFrame,
    exposed: Exposed,
    experiment: Experiment,
    groups: dict[str, list[Asked]],
    schedule: Schedule,
    last: date,
) -> pl.DataFrame:
    """Every unit and day, with all that the metrics need of events; empty where they need nothing."""
    assert experiment.question is not None
    asked = [one for source, group in groups.items() if source != "answers" for one in group]
    values = list(dict.fromkeys(value for one in asked for value in values_of(one.declared)))
    if not asked:
        return pl.DataFrame()
    first = schedule.start.date() - timedelta(days=experiment.question.pre_days)
    return daily(events, exposed.units, values, first, last, KEYS[experiment.unit])


def _days(
    out: Measurement,
    grid: pl.DataFrame,
    experiment: Experiment,
    group: list[Asked],
    schedule: Schedule,
    last: date,
) -> None:
    start = schedule.start.date()
    plan = design(experiment, [one.metric for one in group], start, last)
    if not _estimated(out, grid, plan, schedule):
        return
    before = grid.filter(pl.col("day") < start)
    for one in group:
        out.metrics[one.metric.name].before = _mean(before, one)
    if group[0].role == "primary":
        out.curves = _curves(grid, plan, (last - start).days + 1)


def _windows(
    out: Measurement,
    grid: pl.DataFrame,
    experiment: Experiment,
    group: list[Asked],
    schedule: Schedule,
    last: date,
) -> None:
    window = group[0].declared.window
    assert window is not None
    values = list(dict.fromkeys(value for one in group for value in values_of(one.declared)))
    frame = windowed(grid, values, window, last)
    plan = design(experiment, [one.metric for one in group], None, last)
    if not _estimated(out, frame, plan, schedule):
        names = ", ".join(one.metric.name for one in group)
        out.warnings.append(f"{names}: {_from(grid, window)}")


def _from(grid: pl.DataFrame, window: Window) -> str:
    first = grid["exposed_day"].min()
    assert isinstance(first, date)
    return f"no unit's days {window.first} to {window.last} are over before {first + timedelta(days=window.last + 1)}"


def _estimated(out: Measurement, frame: pl.DataFrame, plan: Design, schedule: Schedule) -> bool:
    """Effects, cohorts and estimates by day of a frame of units; False where an arm has no units yet."""
    arms = frame.group_by("arm").agg(pl.col("unit").n_unique())
    present = dict(arms.iter_rows())
    if min(present.get(arm, 0) for arm in plan.arms) < 2:
        return False
    found = analyse(frame, plan)
    for effect in found.effects:
        out.metrics[effect.metric].effects[effect.arm] = effect
    primary = [m.name for m in plan.metrics if m.role == "primary"]
    out.cohorts += tuple(c for c in found.cohorts if c.metric in primary)
    out.interactions += tuple(i for i in found.interactions if i.metric in primary)
    out.warnings += [w for w in found.warnings if w not in out.warnings]
    for look in looks(frame, plan, _looked_at(frame, schedule)):
        by_arm = out.metrics[look.metric].estimates
        by_arm.setdefault(look.arm, []).append(Estimate(look.day, look.pair, look.correlations))
    return True


def _looked_at(frame: pl.DataFrame, schedule: Schedule) -> set[date]:
    """The days of a frame that planned looks see: their own, or the newest before where that one brings nothing. Of
    more than `MOST_LINKED` looks none: the law of that many takes minutes."""
    if len(schedule.looks) > MOST_LINKED:
        return set()
    days = frame["day"].unique().to_list()
    before = [[day for day in days if day <= look] for _, look in schedule.looks]
    return {max(some) for some in before if some}


def _answers(
    out: Measurement,
    events: pl.LazyFrame,
    exposed: Exposed,
    experiment: Experiment,
    group: list[Asked],
    schedule: Schedule,
    last: date,
) -> None:
    """Quantiles of the service's answers: each day read anew, for they are no sums."""
    start = schedule.start.date()
    for one in group:
        plan = design(experiment, [one.metric], None, last, exposure=True)
        frame = answers(events, exposed.units, one.values[0], start, last, KEYS[experiment.unit])
        frame = frame.rename({one.values[0].name: one.metric.source})
        if frame.group_by("arm").agg(pl.col("unit").n_unique()).height < len(plan.arms):
            out.warnings.append(f"{one.metric.name}: no answers in some arm")
            continue
        here = out.metrics[one.metric.name]
        here.effects = {effect.arm: effect for effect in analyse(frame, plan).effects}
        days = sorted(day for day in frame["day"].unique().to_list() if day >= start)
        for day in days:
            part = frame.filter(pl.col("day") <= day)
            if part["arm"].n_unique() < len(plan.arms):
                continue
            for arm, pair in zip(plan.treatments, quantile_pairs(part, plan, one.metric), strict=True):
                here.estimates.setdefault(arm, []).append(Estimate(day, pair))


def _correct(out: Measurement, experiment: Experiment, last: date) -> None:
    """Adjusted p-values and intervals: treatments among primaries, treatments and metrics among secondary ones."""
    for role in ("primary", "secondary"):
        chosen = [m for m in out.metrics.values() if m.asked.role == role and m.effects]
        if not chosen:
            continue
        plan = design(experiment, [m.asked.metric for m in chosen], None, last)
        for effect in corrected([e for m in chosen for e in m.effects.values()], plan):
            out.metrics[effect.metric].effects[effect.arm] = effect


def _curves(grid: pl.DataFrame, plan: Design, days: int) -> tuple[Curve, ...]:
    """The primary metric by days since exposure, over a time for which half of the units or more were followed."""
    horizon = min(CURVE_DAYS, days // 2 + 1)
    try:
        return effect_curve(grid, plan, plan.metrics[0], horizon)
    except BadInput:
        return ()


def _mean(rows: pl.DataFrame, one: Asked) -> float | None:
    metric = one.metric
    if not rows.height or metric.kind == "quantile":
        return None
    above = float(rows[metric.source].sum())
    below = float(rows[metric.denominator].sum()) if metric.denominator else float(rows.height)
    return above / below if below else None
