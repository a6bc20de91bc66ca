"""What the lake knows of a test's metrics before it runs: mean, sd, correlation with before, and who would come.

found = measured(config, experiment, lake.scan("events"))
plan(experiment, found.baselines, found.arrivals)

The lake's last days are read as if the test had run in them with all units in one arm: the report's own frames, and
its own estimator, so that a plan counts on the error that the report will have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from experiments.analysis.analyse import term
from experiments.analysis.design import Design
from experiments.analysis.estimate import compare
from experiments.analysis.plan import make_plan
from experiments.analysis.quantiles import quantile
from experiments.analysis.summary import summarise_table
from experiments.analysis.units import unit_table
from experiments.config import Config
from experiments.experiment import Experiment
from experiments.exposure import reaches
from experiments.parameters import Space
from experiments.planning import DURATIONS, planned_days
from experiments.question import Baseline
from experiments.report.arrivals import UNIT_COLUMNS, arrivals, visits
from experiments.report.asked import Asked, asked, design
from experiments.report.frame import answers, daily, windowed
from experiments.report.units import COHORTS
from recsys.errors import BadInput
from recsys.schemas import EventKind

DAYS = 14
"""Of a test whose length is not known."""
FEWEST = 20
"""Units; of fewer nothing is said."""
HIGHEST = 0.999
"""The greatest correlation that is told: a plan divides by what it leaves."""


@dataclass(frozen=True)
class Past:
    """What was measured.

    Attributes:
        baselines: by metric; those that could not be measured are missing, and `notes` says why.
        arrivals: expected units in the test by the end of each day; as many days as the lake tells, 56 or the planned
            length at most.
        units: that the baselines are of, before slice, coverage and holdouts, which keep a random part of them.
        first, last: the days that stand for the test.
    """

    baselines: dict[str, Baseline]
    arrivals: tuple[float, ...]
    units: int
    first: date
    last: date
    notes: tuple[str, ...]

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1


def measured(
    config: Config,
    experiment: Experiment,
    events: pl.LazyFrame,
    space: Space | None = None,
    days: int | None = None,
) -> Past:
    """Baselines of every metric that a question asks for, and arrivals.

    Args:
        space: what arms may set, for the surfaces that their parameters reach; None: all.
        days: how long the test would run; None: as it is planned, or 14.

    Raises:
        BadInput: a flag, a test of artists, a lake without plays, or too few units where the arms reach.
    """
    question = experiment.question
    if question is None:
        raise BadInput(f"{experiment.name} is a flag: it asks nothing")
    if experiment.unit not in UNIT_COLUMNS:
        raise BadInput(
            f"{experiment.name}: the units of a test of {experiment.unit}s are not met in the lake"
        )
    wanted = days or planned_days(experiment) or DAYS
    oldest, last = _days(events)
    whole = (last - oldest).days + 1
    first = last - timedelta(days=min(wanted, whole) - 1)
    notes = [f"the lake has {whole} days, the test would take {wanted}"] if whole < wanted else []
    far = last - timedelta(days=min(whole, max(wanted, *DURATIONS)) - 1)
    groups = {cohort.name: list(cohort.units) for cohort in config.cohorts}
    where = _surfaces(config, experiment, space)
    seen = visits(events, experiment, groups, where, first, last)
    earlier = seen if far == first else visits(events, experiment, groups, where, far, last)
    units = _units(seen.rows, experiment)
    if units.height < FEWEST:
        on = "" if where is None else f" on {', '.join(sorted(where))}"
        raise BadInput(
            f"{units.height} units came{on} between {first} and {last}: too few to measure; --mean, --sd"
        )
    if question.pre_days and (room := (first - oldest).days) < question.pre_days:
        notes.append(f"only {room} of the {question.pre_days} days before are there: CUPED may save more")
    found = _baselines(config, experiment, events, units, first, last, notes)
    return Past(
        baselines=found,
        arrivals=arrivals(config, experiment, earlier.rows, far, last),
        units=units.height,
        first=first,
        last=last,
        notes=(*seen.notes, *notes),
    )


def _days(events: pl.LazyFrame) -> tuple[date, date]:
    """The first day with plays, and the last whole one: the newest day may not be over."""
    plays = events.filter(pl.col("kind") == EventKind.PLAY_END.value)
    oldest, newest = plays.select(a=pl.col("day").min(), b=pl.col("day").max()).collect().row(0)
    if newest is None or newest == oldest:
        raise BadInput("the lake has no whole day of plays to measure: give --mean and --sd, or a baseline")
    return oldest, newest - timedelta(days=1)


def _surfaces(config: Config, experiment: Experiment, space: Space | None) -> frozenset[str] | None:
    """Where its arms can show, a draft's as well."""
    alone = config.model_copy(update={"experiments": (experiment.model_copy(update={"active": True}),)})
    return reaches(alone, space)[experiment.name]


def _units(rows: pl.DataFrame, experiment: Experiment) -> pl.DataFrame:
    """Every unit with its first day, all in the control; no cohorts, for no effect is looked into."""
    first = rows.group_by("unit").agg(pl.col("day").min().alias("exposed_day")).sort("unit")
    nothing = [pl.lit(None, pl.String).alias(name) for name in COHORTS]
    return first.with_columns(pl.lit(experiment.control).alias("arm"), *nothing)


def _baselines(
    config: Config,
    experiment: Experiment,
    events: pl.LazyFrame,
    units: pl.DataFrame,
    first: date,
    last: date,
    notes: list[str],
) -> dict[str, Baseline]:
    assert experiment.question is not None
    groups: dict[str, list[Asked]] = {}
    for one in asked(config, experiment):
        groups.setdefault(one.source, []).append(one)
    counted = [one for source, group in groups.items() if source != "answers" for one in group]
    values = list(dict.fromkeys(value for one in counted for value in one.values))
    key = UNIT_COLUMNS[experiment.unit]
    grid = daily(events, units, values, first - timedelta(days=experiment.question.pre_days), last, key)
    found: dict[str, Baseline | None] = {}
    for source, group in groups.items():
        if source == "answers":
            found |= {one.metric.name: _answered(one, events, units, first, last, key) for one in group}
            continue
        window = group[0].declared.window
        frame = grid if window is None else windowed(grid, values, window, last)
        plan = design(experiment, [one.metric for one in group], first if window is None else None, last)
        found |= _estimated(frame, plan, group)
    notes += [f"{name}: nothing to measure in these days" for name, base in found.items() if base is None]
    return {one.metric.name: base for one in asked(config, experiment) if (base := found[one.metric.name])}


def _estimated(frame: pl.DataFrame, plan: Design, group: Sequence[Asked]) -> dict[str, Baseline | None]:
    """Each metric's mean, sd of a unit's value (delta method), and the correlation that covariates amount to.

    The comparison of the units with themselves has the variance of two such arms, with and without covariates; the
    share that these take off is rho^2, of several covariates the multiple correlation's square.
    """
    plan = plan.model_copy(update={"cohorts": ()})
    table = unit_table(frame, plan)
    if table.height < FEWEST:
        return {one.metric.name: None for one in group}
    caps = make_plan(table, plan)
    units = summarise_table(table, plan, caps).arms[0]
    found: dict[str, Baseline | None] = {}
    for one in group:
        pair = compare(units, units, term(plan, one.metric, caps), plan.adjustment)
        sd = (pair.plain_variance * units.n / 2) ** 0.5
        rho = min(max(pair.variance_reduction, 0.0) ** 0.5, HIGHEST)
        adjusted = plan.start is not None or one.metric.covariates
        found[one.metric.name] = (
            Baseline(mean=pair.control, sd=sd, rho=rho if adjusted else None) if sd > 0 else None
        )
    return found


def _answered(
    one: Asked, events: pl.LazyFrame, units: pl.DataFrame, first: date, last: date, key: str
) -> Baseline | None:
    """A quantile of the service's answers: the error of its estimate, times the root of the units."""
    assert one.metric.quantile is not None
    rows = answers(events, units, one.values[0], first, last, key)
    if rows["unit"].n_unique() < FEWEST:
        return None
    codes = rows["unit"].rank("dense").to_numpy()
    found = quantile(rows[one.values[0].name].to_numpy(), one.metric.quantile, codes)
    return Baseline(mean=found.value, sd=found.se * found.units**0.5) if found.se > 0 else None
