"""Listeners with 0 to 5 plays: what they play next in their first session, by the number of plays so far.

A query is one of the first plays of a listener whose log begins in the window; the targets are what is left of that
session. The history is those first plays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.two_tower import TwoTower
from recsys.dataset import Dataset
from recsys.evaluation.baselines import BASELINES
from recsys.evaluation.bootstrap import Resampler
from recsys.evaluation.ragged import Ragged
from recsys.evaluation.tasks import Task
from recsys.types import QueryBatch

PLAYS = 6
K = 100


def by_plays(data: Dataset, tower: TwoTower, window: str) -> list[dict[str, Any]]:
    """Recall@100 of the two-tower model, popularity and item kNN (co-occurrence), all fitted before validation."""
    from benchmarks.cold_start import recalls

    task, count = first_plays(data, window)
    cut = data.split.valid
    rankers = {
        "two_tower": tower.score,
        "popularity": BASELINES["popularity"](data, cut).score,
        "co-occurrence": BASELINES["item_knn"](data, cut).score,
    }
    everything, rows = np.ones(len(data.items), bool), []
    for name, ranker in rankers.items():
        queries, values = recalls(ranker, task, everything, everything)
        for plays in range(PLAYS):
            mine = count[queries] == plays
            interval = Resampler.of(task.listener[queries][mine]).mean(values[mine])
            rows.append(
                {
                    "plays": plays,
                    "ranker": name,
                    "queries": int(mine.sum()),
                    "recall": interval.value,
                    "low": interval.low,
                    "high": interval.high,
                }
            )
    return rows


def first_plays(data: Dataset, window: str) -> tuple[Task, np.ndarray]:
    """The queries, and how many plays each has before it."""
    plays, split = data.plays, data.split
    start, end = (split.valid, split.test) if window == "valid" else (split.test, split.end)
    first = plays.offsets[:-1][plays.owner]
    nth = np.arange(plays.rows) - first
    begin = plays.start[np.minimum(first, plays.rows - 1)]
    rows = np.flatnonzero((nth < PLAYS) & (begin >= start) & (begin < end) & (plays.session == 0))
    last = np.searchsorted(plays.owner * 2**31 + plays.session, plays.owner[rows] * 2**31 + 1)
    rest = Ragged.slices(plays.track, rows, last)
    targets = rest.where(rest.tracks >= 0).distinct()
    batch = QueryBatch(
        plays.slices(first[rows], rows),
        plays.start[rows],
        plays.hour[rows],
        data.country[plays.owner[rows]],
        plays.device[rows],
    )
    return Task("first", batch, plays.owner[rows], targets, {}, data.items, None), nth[rows]
