"""How long plays lasted where a log says only when they began. Skips are never invented.

With the track's length known: it was played to the end, or until the listener's next play began. Without: until
the next play, if that began within ten minutes (finished if that leaves MIN_FINISH_MS or more), else a usual
length, finished. Every such play counts at least STREAM_MS: services record only plays of some length.
"""

from __future__ import annotations

import polars as pl

from recsys.schemas import STREAM_MS

USUAL_MS = 210_000
"""Median length of a popular song, about 3.5 minutes."""
MIN_FINISH_MS = 90_000
LONGEST_GAP_MS = 600_000
_NEARLY = 0.9


def fill_durations(plays: pl.DataFrame) -> pl.DataFrame:
    """`plays` (user, start in ms, ms_played, duration_ms, reason_end) sorted by (user, start), nothing missing.

    Rows that say how long they lasted keep it; of these, one that reached its known length is marked finished.
    """
    gap = pl.col("start").shift(-1).over("user") - pl.col("start")
    length = pl.col("duration_ms")
    known = length.is_not_null()
    contiguous = gap <= LONGEST_GAP_MS
    ms = (
        pl.when(known)
        .then(pl.min_horizontal(length, gap))  # a null gap (no next play) leaves the length
        .when(contiguous)
        .then(gap)
        .otherwise(USUAL_MS)
    )
    whole = pl.when(known).then(ms >= length * _NEARLY).otherwise(ms >= MIN_FINISH_MS)
    said = pl.col("ms_played").is_not_null()
    finished = pl.when(said).then(pl.col("ms_played") >= length * 0.98).otherwise(whole).fill_null(False)
    return plays.with_columns(
        ms_played=pl.when(said).then(pl.col("ms_played")).otherwise(ms.clip(lower_bound=STREAM_MS)),
        reason_end=pl.when(pl.col("reason_end").is_null() & finished)
        .then(pl.lit("trackdone"))
        .otherwise(pl.col("reason_end")),
    )
