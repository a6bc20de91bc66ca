"""The report of one experiment, from its config and the lake's events.

report = build(config, "ranker", lake.scan("events"), now, Store(folder))
report.verdict.sentence
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from experiments.config import Config
from experiments.experiment import Experiment
from experiments.question import AlwaysValid, Question
from experiments.report import history, record
from experiments.report.asked import asked
from experiments.report.judge import Court, court, judge, reach, wanted
from experiments.report.measure import Measured, Measurement, measure
from experiments.report.ratio import sample_ratio
from experiments.report.schedule import Schedule
from experiments.report.trail import against
from experiments.report.units import Exposed, exposed
from experiments.report.verdict import decide
from experiments.sequential.midway import conditional, predictive
from experiments.store import Store
from recsys.errors import BadInput, UnknownId


def build(
    config: Config, name: str, events: pl.LazyFrame, now: datetime, store: Store | None = None
) -> record.Report:
    """What an experiment shows, of events before `now` and before its end.

    Raises:
        UnknownId: no experiment has this name.
        BadInput: a flag, which asks nothing; or one that was never started.
    """
    experiment = config.experiment(name)
    if experiment is None:
        raise UnknownId(f"no experiment is called {name}: `recsys experiment list` names them")
    if experiment.question is None:
        raise BadInput(f"{name} is a flag: it asks nothing, and has no report")
    if not experiment.active:
        raise BadInput(f"{name} is a draft: start it with `recsys experiment start {name}`")
    schedule = Schedule.of(experiment)
    if schedule.state(now) == "scheduled":
        raise BadInput(f"{name} starts at {schedule.start:%Y-%m-%d %H:%M} UTC: nothing can be read before")
    until = schedule.until(now)
    told = _told(events, schedule, now)
    found = exposed(events, name, experiment.unit, schedule.start, until)
    found = replace(found, units=found.units.filter(pl.col("exposed_day") <= told.last))
    order = _order(experiment)
    whole = _facts(config, experiment, schedule, found, order, now, until)
    if not all((found.units["arm"] == arm).any() for arm in order):
        return _empty(whole, store)
    ratio = sample_ratio(experiment, found.all, order)
    measured = measure(events, found, experiment, asked(config, experiment), schedule, told.last)
    measured.warnings += [*told.warnings, *_short(experiment.question, schedule)]
    judges = court(experiment.question, schedule, len(order) - 1, now, told.whole, measured.metrics)
    rows = tuple(
        judge(one, arm, judges)
        for one in measured.metrics.values()
        for arm in order[1:]
        if arm in one.effects
    )
    verdict = decide(experiment.question, rows, order[1:], ratio, schedule, now)
    return _filled(whole, verdict, ratio, rows, measured, experiment, judges, now, store)


@dataclass(frozen=True)
class _Told:
    """What the log tells of a test's time: the last day that counts, and the last that is over."""

    last: date
    whole: date
    warnings: list[str]


def _told(events: pl.LazyFrame, schedule: Schedule, now: datetime) -> _Told:
    """Days after the newest event have not happened yet as far as anybody knows: they are no silence, and no look is
    taken over them. After the end only whole days count, as for its last look."""
    first, until = schedule.start.date(), schedule.until(now)
    last, whole = (until - timedelta(microseconds=1)).date(), schedule.whole(now)
    here = events.filter(pl.col("day").is_between(first, last)).select(pl.col("day").unique())
    seen = set(here.collect(engine="streaming")["day"].to_list())
    newest = max(seen, default=last)
    over = [first + timedelta(days=n) for n in range((whole - first).days + 1)]
    gaps = [day for day in over if day not in seen]
    if schedule.state(now) in ("ended", "stopped"):
        last = whole
    return _Told(
        max(first, min(last, newest)), min(whole, newest), [_gap(gaps, newest)] if gaps and seen else []
    )


def _short(question: Question, schedule: Schedule) -> list[str]:
    days = schedule.planned_days
    if days is None or days >= question.min_days:
        return []
    return [
        f"planned for {days} days, fewer than min_days ({question.min_days}): weekdays do not count alike"
    ]


def _gap(days: list[date], newest: date) -> str:
    which = f"{days[0]}" if len(days) == 1 else f"{len(days)} days, {days[0]} to {days[-1]}"
    late = (
        "no look is taken over them"
        if days[-1] > newest
        else "they count as days on which nobody did anything"
    )
    return f"the log holds no event of {which}: {late}"


def _order(experiment: Experiment) -> tuple[str, ...]:
    """The arms, the control first."""
    return (experiment.control, *(arm.name for arm in experiment.arms if arm.name != experiment.control))


def _facts(
    config: Config,
    experiment: Experiment,
    schedule: Schedule,
    found: Exposed,
    order: tuple[str, ...],
    now: datetime,
    until: datetime,
) -> record.Report:
    """All that is known before anything is estimated."""
    question = experiment.question
    assert question is not None
    arms = {arm.name: arm for arm in experiment.arms}
    weights = dict(zip(arms, experiment.history()[-1][2], strict=True))
    stop = schedule.cut or schedule.end
    return record.Report(
        name=experiment.name,
        description=experiment.description,
        owner=experiment.owner,
        state=schedule.state(now),
        unit=experiment.unit,
        control=experiment.control,
        made_at=_iso(now),
        data_until=_iso(until),
        start=_iso(schedule.start),
        stop=None if stop is None else _iso(stop),
        days=schedule.days(now),
        planned_days=schedule.planned_days,
        rule=question.rule_words,
        hypothesis=hypothesis(config, experiment),
        arms=tuple(
            record.ArmFacts(
                name,
                weights[name],
                arms[name].release,
                dict(arms[name].parameters),
                int((found.units["arm"] == name).sum()),
            )
            for name in order
        ),
        verdict=record.Verdict("no_data", "No unit has met every arm yet."),
        layer=experiment.layer.name if experiment.layer else "",
        targeting=dict(experiment.targeting),
        left_out=found.left_out,
        versions=found.versions,
    )


def _empty(report: record.Report, store: Store | None) -> record.Report:
    told = history.changes(store, report.name) if store else []
    return _with(report, history=history.ordered(told))


def _filled(
    report: record.Report,
    verdict: record.Verdict,
    ratio: record.SampleRatio,
    rows: tuple[record.MetricRow, ...],
    measured: Measurement,
    experiment: Experiment,
    judges: Court,
    now: datetime,
    store: Store | None,
) -> record.Report:
    told = history.changes(store, report.name) if store else []
    primary = next(one for one in measured.metrics.values() if one.asked.role == "primary")
    said = sorted({w for row in rows for w in row.effect.warnings})
    return _with(
        report,
        verdict=verdict,
        sample_ratio=ratio,
        metrics=rows,
        cohorts=measured.cohorts,
        interactions=measured.interactions,
        curves=measured.curves,
        power=tuple((arm, power(primary, arm, judges, now)) for arm in primary.effects),
        history=history.ordered(
            told, history.schedule_of(experiment), history.decisions(rows, ratio, report.rule)
        ),
        warnings=(*measured.warnings, *said),
    )


def _with(report: record.Report, **parts: object) -> record.Report:
    return record.Report(**{**vars(report), **parts})


def power(primary: Measured, arm: str, judges: Court, now: datetime) -> record.Power:
    """How far the primary metric is from an answer: better by the smallest effect worth finding, or, with a margin, no
    worse by more than it where there is no difference."""
    question, schedule, effect = judges.question, judges.schedule, primary.effects[arm]
    aim = wanted(primary, arm, judges)
    estimates = [e.pair for e in primary.estimates.get(arm, []) if e.pair.se > 0]
    detectable = effect.se * reach(question, judges.treatments)
    if schedule.end is None or judges.ended or isinstance(question.stopping, AlwaysValid) or not estimates:
        return record.Power(aim, detectable)
    margin, direction = primary.asked.margin, primary.asked.metric.direction
    value, se = against(estimates[-1], margin, direction)
    up = -1.0 if margin is None and direction == "decrease" else 1.0
    share = min(0.999, max(0.001, (schedule.until(now) - schedule.start) / (schedule.end - schedule.start)))
    z, drift = up * value / se, aim / se / share**0.5
    alpha = question.alpha / judges.treatments / (1 if margin is None else 2)
    risk: dict[str, Any] = {"two_sided": margin is None, "alpha": alpha}
    return record.Power(aim, detectable, conditional(z, share, drift, **risk), predictive(z, share, **risk))


def hypothesis(config: Config, experiment: Experiment) -> str:
    """What is asked, as people say it."""
    question = experiment.question
    assert question is not None
    others = [arm.name for arm in experiment.arms if arm.name != experiment.control]
    whom = " or ".join(others)
    compared = f"{question.primary} against {experiment.control}"
    if question.margin is not None:
        metric = config.metric(question.primary)
        harm = "lower" if metric is None or metric.direction == "increase" else "raise"
        return f"Does {whom} {harm} {compared} by less than {_size(question.margin, question)}?"
    return f"Does {whom} change {compared} by {_size(question.mde, question)} or more?"


def _size(value: float, question: Question) -> str:
    return f"{value:.3g}" if question.scale == "absolute" else f"{value:.1%}"


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")
