"""What can be measured of a unit: the columns that metrics name, and how each is counted from logged events.

COLUMNS["skips"].meaning          # for people
counted("skips")                  # a polars expression over rows of `events`, to be summed by unit and day
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from recsys.schemas import STREAM_MS, EventKind

Source = Literal["events", "impressions", "answers"]


@dataclass(frozen=True)
class Counted:
    """One column: what a row of its source adds to a unit's day.

    Attributes:
        source: rows of the log; impressions with what became of them (`recsys.rewards.attribute`); or the
            service's own answers (decisions), whose rows stay apart, for quantiles.
    """

    meaning: str
    value: pl.Expr
    source: Source = "events"


def _is(*kinds: EventKind) -> pl.Expr:
    return pl.col("kind").is_in([kind.value for kind in kinds])


_PLAY = _is(EventKind.PLAY_END)
_STREAM = _PLAY & (pl.col("ms_played") >= STREAM_MS)
_DONE = _PLAY & (pl.col("reason_end") == "trackdone").fill_null(False)
_SHOWN = pl.lit(1.0)

DAYS = "days"
"""Days since the unit's first exposure, silent ones too: what a mean is taken over."""
COLUMNS: dict[str, Counted] = {
    "plays": Counted("plays that ended", _PLAY),
    "streams": Counted("plays of 30 s or more", _STREAM),
    "skips": Counted("plays that the listener ended before 30 s", _PLAY & ~_STREAM & ~_DONE),
    "finishes": Counted("plays to the end of the track", _DONE),
    "hours": Counted("hours played", pl.when(_PLAY).then(pl.col("ms_played") / 3_600_000).otherwise(0.0)),
    "active": Counted("1 on a day with a play (sum: active days)", _PLAY),
    "saves": Counted("tracks saved", _is(EventKind.SAVE)),
    "adds": Counted("tracks added to a playlist", _is(EventKind.ADD_TO_PLAYLIST)),
    "follows": Counted("artists followed", _is(EventKind.FOLLOW)),
    "shares": Counted("tracks shared", _is(EventKind.SHARE)),
    "searches": Counted("searches", _is(EventKind.SEARCH)),
    "not_interested": Counted("tracks and artists dismissed", _is(EventKind.NOT_INTERESTED)),
    "complaints": Counted("complaints", _is(EventKind.COMPLAINT)),
    "ad_impressions": Counted("ads shown", _is(EventKind.AD_IMPRESSION)),
    "ad_clicks": Counted("ads clicked", _is(EventKind.AD_CLICK)),
    "shown": Counted("recommended tracks seen", _SHOWN, "impressions"),
    "shown_played": Counted("recommended tracks seen and played", pl.col("played"), "impressions"),
    "shown_finished": Counted("recommended tracks played to the end", pl.col("finished"), "impressions"),
    "shown_skipped": Counted("recommended tracks skipped before 30 s", pl.col("skipped"), "impressions"),
    "shown_saved": Counted("recommended tracks saved", pl.col("saved"), "impressions"),
    "reward": Counted("reward of recommended tracks (docs/evaluation.md)", pl.col("reward"), "impressions"),
    "latency_ms": Counted(
        "the service's time to an answer, ms; one row an answer", pl.col("took_ms"), "answers"
    ),
}
AT_MOST_ONE = frozenset({"active"})
"""Columns that are 0 or 1 a day, however many rows say so."""


def counted(column: str) -> pl.Expr:
    """What a row of the column's source adds, as a float: to be summed by unit and day (of `AT_MOST_ONE`, the
    greatest)."""
    return COLUMNS[column].value.cast(pl.Float64).fill_null(0.0)
