"""What each unit did: the frames that the analysis reads, from logged events.

daily(events, units, ["hours", "plays"], first, last)        # a row for every unit and day, silent days too
windowed(frame, units, Window(first=7, last=13), last)       # a row for every unit whose window is over
answers(events, units, "latency_ms")                         # a row for every answer
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from experiments.columns import AT_MOST_ONE, COLUMNS, DAYS, counted
from experiments.question import Metric, Window
from experiments.report.units import COHORTS
from recsys.rewards import attribute
from recsys.schemas import Surface

KNOWN = ("unit", "arm", "exposed_day", *COHORTS)
BEFORE = ".before"


@dataclass(frozen=True)
class Value:
    """One value column of a frame: a counted column, everywhere or on some surfaces."""

    column: str
    surfaces: tuple[Surface, ...] | None = None

    @property
    def name(self) -> str:
        return self.column if self.surfaces is None else f"{self.column}@{'+'.join(self.surfaces)}"


def values_of(metric: Metric) -> list[Value]:
    """The values that a metric needs, days aside."""
    return [Value(column, metric.surfaces) for column in metric.columns if column != DAYS]


def daily(
    events: pl.LazyFrame,
    units: pl.DataFrame,
    values: Sequence[Value],
    first: date,
    last: date,
    key: str = "user_id",
) -> pl.DataFrame:
    """Every unit on every day from `first` to `last`, before its exposure too (those rows adjust, and do not count).

    Columns: unit, arm, exposed_day, day, the cohorts, `days` (1), and each value's sum. Events without consent to
    analytics, and incognito ones, add nothing. A session that is a unit has its own days only.
    """
    usable = events.filter(
        pl.col("day").is_between(first, last),
        pl.col("consent_analytics").fill_null(True),
        ~pl.col("incognito_mode").fill_null(False),
        pl.col(key).is_in(units["unit"].implode()),
    )
    grid = _grid(units, first, last, key)
    for source in ("events", "impressions"):
        wanted = [v for v in values if COLUMNS[v.column].source == source]
        if wanted:
            rows = usable if source == "events" else attribute(usable).lazy()
            by = ["unit"] if key == "session_id" else ["unit", "day"]  # a session counts on its first day
            grid = grid.join(_sums(rows, wanted, key, by), on=by, how="left")
    return grid.with_columns(pl.col(value.name).fill_null(0.0) for value in values)


def _grid(units: pl.DataFrame, first: date, last: date, key: str) -> pl.DataFrame:
    known = units.select(KNOWN)
    if key == "session_id":
        return known.with_columns(pl.col("exposed_day").alias("day"), pl.lit(1.0).alias(DAYS))
    days = pl.select(pl.date_range(first, last, "1d").alias("day"))
    return known.join(days, how="cross").with_columns(pl.lit(1.0).alias(DAYS))


def _sums(rows: pl.LazyFrame, values: Sequence[Value], key: str, by: Sequence[str]) -> pl.DataFrame:
    """Each value's sum by unit, or by unit and day."""
    made = []
    for value in values:
        found = counted(value.column)
        if value.surfaces is not None:
            found = pl.when(_on(value.surfaces)).then(found).otherwise(0.0)
        made.append(found.alias(value.name))
    totals = [pl.col(v.name).max() if v.column in AT_MOST_ONE else pl.col(v.name).sum() for v in values]
    named = rows.select(pl.col(key).alias("unit"), pl.col("ts").dt.date().alias("day"), *made)
    return named.group_by(by).agg(totals).collect(engine="streaming")


def _on(surfaces: Sequence[Surface]) -> pl.Expr:
    return pl.col("surface").is_in([surface.value for surface in surfaces]).fill_null(False)


def windowed(frame: pl.DataFrame, values: Sequence[Value], window: Window, last: date) -> pl.DataFrame:
    """One row for every unit whose window was over by `last`, on the window's last day, with sums over it.

    For each value there is also NAME.before: its sum over the days before the first exposure that the frame holds,
    which is fixed before treatment and adjusts.
    """
    age = (pl.col("day") - pl.col("exposed_day")).dt.total_days()
    inside, names = age.is_between(window.first, window.last), [v.name for v in values]
    return (
        frame.filter(pl.col("exposed_day").dt.offset_by(f"{window.last}d") <= last)
        .group_by(KNOWN)
        .agg(
            *(pl.col(name).filter(inside).sum().alias(name) for name in names),
            *(pl.col(name).filter(age < 0).sum().alias(name + BEFORE) for name in names),
        )
        .with_columns(
            pl.col("exposed_day").dt.offset_by(f"{window.last}d").alias("day"), pl.lit(1.0).alias(DAYS)
        )
    )


def answers(
    events: pl.LazyFrame, units: pl.DataFrame, value: Value, first: date, last: date, key: str = "user_id"
) -> pl.DataFrame:
    """One row for every answer that a unit got from its exposure on: unit, arm, exposed_day, day, the value."""
    rows = events.filter(
        pl.col("day").is_between(first, last),
        pl.col("kind") == "decision",
        COLUMNS[value.column].value.is_not_null(),
    )
    if value.surfaces is not None:
        rows = rows.filter(_on(value.surfaces))
    found = rows.select(
        pl.col(key).alias("unit"),
        pl.col("ts").dt.date().alias("day"),
        counted(value.column).alias(value.name),
    )
    return found.join(units.lazy().select(KNOWN), on="unit").collect(engine="streaming")
