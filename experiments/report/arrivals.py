"""Who would have entered a test that had run in the lake's last days, and how many would come by the end of each day.

rows = visits(events, experiment, groups, surfaces, first, last).rows       # unit, day
arrivals(config, experiment, rows, first, last)                             # expected units so far, by day
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from experiments.conditions import Groups, asks, matches
from experiments.config import Config
from experiments.experiment import Experiment
from experiments.fields import millis
from experiments.plan import NOBODY, Plan
from recsys.schemas import EventKind

UNIT_COLUMNS = {"listener": "user_id", "session": "session_id"}
CARRIED = {"country": "conn_country", "platform": "device"}
"""What events say of who was there."""
MS_PER_DAY = 86_400_000


@dataclass(frozen=True)
class Visits:
    """Days on which a unit was where the arms could have shown.

    Attributes:
        rows: unit, day; each pair once.
        notes: what of the test's conditions could not be applied, and what stands in for decisions.
    """

    rows: pl.DataFrame
    notes: tuple[str, ...]


def visits(
    events: pl.LazyFrame,
    experiment: Experiment,
    groups: Groups,
    surfaces: frozenset[str] | None,
    first: date,
    last: date,
) -> Visits:
    """Units with a decision on some surfaces (None: any); in days without any decision, units with a play.

    Units that declined analytics on any of the days, and incognito events, are left out. Of the targeting, what asks
    about id, country and platform is applied: a unit counts if some event of these days shows it with fitting ones.
    """
    unit = pl.col(UNIT_COLUMNS[experiment.unit])
    open_ = events.filter(
        pl.col("day").is_between(first, last), ~pl.col("incognito_mode").fill_null(False), unit.is_not_null()
    )
    notes: list[str] = []
    there = _decided(open_, unit, surfaces, notes)
    refused = open_.filter(~pl.col("consent_analytics").fill_null(True)).select(unit=unit).unique()
    rows = there.select("unit", "day").unique().lazy().join(refused, on="unit", how="anti").collect()
    fitting = _fitting(open_, unit, experiment.targeting, groups, notes)
    if fitting is not None:
        rows = rows.join(fitting, on="unit", how="semi")
    return Visits(rows.sort("unit", "day"), tuple(notes))


def _decided(
    rows: pl.LazyFrame, unit: pl.Expr, surfaces: frozenset[str] | None, notes: list[str]
) -> pl.DataFrame:
    decision, play = EventKind.DECISION.value, EventKind.PLAY_END.value
    seen = (
        rows.filter(pl.col("kind").is_in([decision, play]))
        .select("kind", "surface", "day", unit=unit)
        .unique()
        .collect(engine="streaming")
    )
    decisions = seen.filter(pl.col("kind") == decision)
    if decisions.is_empty():
        notes.append("these days have no decisions: whoever played counts as if the test had met them")
        return seen
    days, of = decisions["day"].n_unique(), seen["day"].n_unique()
    if days < of:
        notes.append(
            f"only {days} of the {of} days with plays have decisions: units that came then count alone"
        )
    return decisions if surfaces is None else decisions.filter(pl.col("surface").is_in(list(surfaces)))


def _fitting(
    rows: pl.LazyFrame, unit: pl.Expr, targeting: Mapping[str, Any], groups: Groups, notes: list[str]
) -> pl.DataFrame | None:
    """The units that targeting lets in, as far as events tell; None: it could not be applied, or asks nothing."""
    clauses = list(_clauses(targeting))
    if not clauses:
        return None
    said = [pl.col(column).alias(name) for name, column in CARRIED.items()]
    about = rows.select(unit.alias("unit"), *said).unique().collect(engine="streaming")
    known = {"id"} | {name for name in CARRIED if about[name].drop_nulls().len()}
    usable = [clause for clause in clauses if asks(clause) <= known]
    lacking = [", ".join(sorted(asks(clause) - known)) for clause in clauses if clause not in usable]
    notes.extend(f"targeting on {names} is not applied: events lack it" for names in lacking)
    if not usable:
        return None
    keys = ["unit", *CARRIED] if any("id" in asks(clause) for clause in usable) else list(CARRIED)
    distinct = about.select(keys).unique()
    answers = [
        all(matches(clause, {**row, "id": row.get("unit")}, groups) for clause in usable)
        for row in distinct.iter_rows(named=True)
    ]
    kept = distinct.filter(pl.Series(answers, dtype=pl.Boolean))
    return about.join(kept, on=keys, how="semi", nulls_equal=True).select("unit").unique()


def _clauses(targeting: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The conditions of which all must hold, one by one."""
    found: list[dict[str, Any]] = []
    for key, value in targeting.items():
        parts = [clause for part in value for clause in _clauses(part)] if key == "$and" else [{key: value}]
        found += parts
    return found


def arrivals(
    config: Config, experiment: Experiment, rows: pl.DataFrame, first: date, last: date
) -> tuple[float, ...]:
    """Expected units in the test by the end of each day, had its first day been `first`.

    A unit is in with the share that the test's slice, holdouts and coverage leave; as a ramp grows, units that come
    back may enter then: each visit adds what the share has grown by since the unit's last one.
    """
    days = (last - first).days + 1
    shares = _shares(config, experiment, days)
    numbers = rows.sort("unit", "day").select("unit", number=(pl.col("day") - pl.lit(first)).dt.total_days())
    share = shares[numbers["number"].to_numpy()]
    again = (numbers["unit"] == numbers["unit"].shift()).fill_null(False).to_numpy()
    entering = share - np.where(again, np.roll(share, 1), 0.0)
    by_day = np.bincount(numbers["number"].to_numpy(), weights=entering, minlength=days)
    return tuple(np.cumsum(by_day).tolist())


def _shares(config: Config, experiment: Experiment, days: int) -> NDArray[np.float64]:
    """The share of units that are in some arm on each day of the test, from the tables that assignment reads."""
    alone = config.model_copy(update={"experiments": (experiment.model_copy(update={"active": True}),)})
    plan = Plan.of(alone)
    trial = plan.trials[0]
    start = experiment.start or (experiment.ramp[0].at if experiment.ramp else None)
    fixed = 1.0
    if trial.layer is not None:
        fixed *= (trial.high - trial.low) / plan.gates[trial.layer].placer.kind.steps
    for number in trial.holdouts:
        gate = plan.gates[number]
        fixed *= 1 - gate.held / gate.placer.kind.steps
    tables = [trial.table(millis(start, 0) + day * MS_PER_DAY) for day in range(days)]
    covered = [np.mean(np.frombuffer(table, np.uint8) != NOBODY) for table in tables]
    return fixed * np.array(covered, np.float64)
