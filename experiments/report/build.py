"""The report of one experiment, from its config and the lake's events.

report = build(config, "ranker", lake.scan("events"), now, Store(folder))
report.verdict.sentence
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from scipy.stats import norm

from experiments.config import Config
from experiments.experiment import Experiment
from experiments.question import AlwaysValid, Fixed, Question
from experiments.report import history, record
from experiments.report.asked import asked
from experiments.report.judge import Court, court, judge, wanted
from experiments.report.measure import Measured, Measurement, measure
from experiments.report.ratio import sample_ratio
from experiments.report.schedule import Schedule
from experiments.report.units import Exposed, exposed
from experiments.report.verdict import decide
from experiments.sequential.midway import conditional, predictive
from experiments.store import Store
from recsys.errors import BadInput, UnknownId

_SPENDING = {"obrien_fleming": "O'Brien-Fleming", "pocock": "Pocock", "power": "power family"}


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
    found = exposed(events, name, experiment.unit, schedule.start, until)
    order = _order(experiment)
    whole = _facts(experiment, schedule, found, order, now, until)
    if not all((found.units["arm"] == arm).any() for arm in order):
        return _empty(whole, store)
    ratio = sample_ratio(experiment, found.all, order)
    last = (until - timedelta(microseconds=1)).date()
    measured = measure(events, found, experiment, asked(config, experiment), schedule, last)
    judges = court(experiment.question, schedule, len(order) - 1, now)
    rows = tuple(
        judge(one, arm, judges)
        for one in measured.metrics.values()
        for arm in order[1:]
        if arm in one.effects
    )
    verdict = decide(experiment.question, rows, order[1:], ratio, schedule, now)
    return _filled(whole, verdict, ratio, rows, measured, experiment, judges, now, store)


def _order(experiment: Experiment) -> tuple[str, ...]:
    """The arms, the control first."""
    return (experiment.control, *(arm.name for arm in experiment.arms if arm.name != experiment.control))


def _facts(
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
        days=max(0, (until.date() - schedule.start.date()).days + (until.time() > datetime.min.time())),
        planned_days=schedule.planned_days,
        rule=rule_in_words(question),
        hypothesis=hypothesis(experiment),
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
    """How far the primary metric is from an answer."""
    question, schedule, effect = judges.question, judges.schedule, primary.effects[arm]
    aim = wanted(primary, arm, judges)
    reach = aim / max(effect.se, 1e-300)
    detectable = effect.se * _reach(question)
    if (
        schedule.end is None
        or judges.ended
        or isinstance(question.stopping, AlwaysValid)
        or not effect.se > 0
    ):
        return record.Power(aim, detectable)
    share = min(0.999, max(0.001, (schedule.until(now) - schedule.start) / (schedule.end - schedule.start)))
    z, drift = effect.effect / effect.se, reach / share**0.5
    return record.Power(
        aim,
        detectable,
        conditional(z, share, drift, alpha=question.alpha),
        predictive(z, share, alpha=question.alpha),
    )


def _reach(question: Question) -> float:
    return float(norm.isf(question.alpha / 2) + norm.ppf(question.power))


def rule_in_words(question: Question) -> str:
    """The stopping rule, as people say it."""
    rule, alpha = question.stopping, f"alpha {question.alpha:g}"
    if isinstance(rule, Fixed):
        return f"read once, at the planned end ({alpha})"
    if isinstance(rule, AlwaysValid):
        name = "mixture SPRT" if rule.method == "msprt" else "confidence sequence"
        return f"always valid: may be read on any day ({name}, {alpha})"
    looks = len(rule.fractions)
    return f"{looks} planned looks, {_SPENDING[rule.spending]} spending by calendar time ({alpha})"


def hypothesis(experiment: Experiment) -> str:
    """What is asked, as people say it."""
    question = experiment.question
    assert question is not None
    others = [arm.name for arm in experiment.arms if arm.name != experiment.control]
    whom = " or ".join(others)
    against = f"{question.primary} against {experiment.control}"
    if question.margin is not None:
        return f"Does {whom} lower {against} by less than {_size(question.margin, question)}?"
    return f"Does {whom} change {against} by {_size(question.mde, question)} or more?"


def _size(value: float, question: Question) -> str:
    return f"{value:.3g}" if question.scale == "absolute" else f"{value:.1%}"


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")
