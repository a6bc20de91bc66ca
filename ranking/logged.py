"""Reads logged pages from the lake, with outcomes as recsys.rewards attributes them."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
from recsys.rewards import attribute

from ranking.labels import dense_rows
from ranking.shown import Shown, shown_of
from recsys.dataset import Dataset, trainable
from recsys.lake import Lake


def load_shown(lake: Lake, data: Dataset, since: int, until: int) -> Shown:
    """Pages shown in [since, until), judged by what had happened before `until`.

    Reads the lake version that `data` was read from; unknown listeners and tracks are left out.
    """
    first, last = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (since, until))
    events = trainable(lake.scan("events", data.versions.get("events"))).filter(
        pl.col("day").is_between(first.date(), last.date()), pl.col("ts") >= first, pl.col("ts") < last
    )
    return shown_of(dense_rows(attribute(events), data))
