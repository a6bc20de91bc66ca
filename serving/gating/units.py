"""What the units of a canary did, from the lake: the frame that serving/gating/canary.py judges.

frame, counts = units_of(events, plan, now, settings)
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl

from experiments.report.frame import Value, daily
from experiments.report.units import exposed
from recsys.schemas import EventKind
from serving.gating.canary import CHALLENGER, CHAMPION
from serving.gating.settings import CanarySettings
from serving.gating.trial import Plan

_VALUES = ("reward", "shown", "shown_skipped", "shown_played", "hours")
_RUNG = r'"rung":"([^"]*)"'


def units_of(
    events: pl.LazyFrame, plan: Plan, now: int, settings: CanarySettings
) -> tuple[pl.DataFrame, list[tuple[int, int]]]:
    """Rows by unit and day over the days (UTC) that are over, and cumulative units of (champion, challenger) by day.

    Listeners without consent to analytics, and those whom a person put into an arm, are no units (experiments.report);
    the sample ratio counts the former.
    """
    start, last = plan.day.date(), whole(now)
    until = datetime.combine(last + timedelta(days=1), datetime.min.time(), UTC)
    found = exposed(events, plan.experiment, "listener", plan.day, until)
    counts = _counts(found.all)
    if last < start or found.units.is_empty():
        return pl.DataFrame(), counts
    grid = daily(events, found.units, [Value(name) for name in _VALUES], start, last)
    answers = _answers(events, found.units, start, last, settings)
    grid = grid.join(answers, on=["unit", "day"], how="left")
    return grid.with_columns(pl.col("answers", "failed", "slow").fill_null(0.0)).sort("unit", "day"), counts


def whole(now: int) -> date:
    """The last UTC day that is over."""
    return datetime.fromtimestamp(now / 1000, UTC).date() - timedelta(days=1)


def _counts(everybody: pl.DataFrame) -> list[tuple[int, int]]:
    by_day = (
        everybody.group_by("exposed_day")
        .agg((pl.col("arm") == arm).sum().alias(arm) for arm in (CHAMPION, CHALLENGER))
        .sort("exposed_day")
    )
    rows = by_day.select(pl.col(CHAMPION).cum_sum(), pl.col(CHALLENGER).cum_sum()).rows()
    return [(int(a), int(b)) for a, b in rows]


def _answers(
    events: pl.LazyFrame, units: pl.DataFrame, first: date, last: date, settings: CanarySettings
) -> pl.DataFrame:
    """Answers of each unit and day: how many, from below the first rung, slow. The rung is read from the record."""
    return (
        events.filter(
            pl.col("kind") == EventKind.DECISION.value,
            pl.col("day").is_between(first, last),
            pl.col("user_id").is_in(units["unit"].implode()),
        )
        .select(
            "day",
            unit="user_id",
            failed=(pl.col("payload").str.extract(_RUNG) != "full").fill_null(True),
            slow=(pl.col("took_ms") > settings.slow_ms).fill_null(False),
        )
        .group_by("unit", "day")
        .agg(
            pl.len().cast(pl.Float64).alias("answers"),
            pl.col("failed").sum().cast(pl.Float64),
            pl.col("slow").sum().cast(pl.Float64),
        )
        .collect(engine="streaming")
    )
