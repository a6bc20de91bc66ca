"""The tables of `benchmarks.models`: which data, which queries, what is compared, and the protocol in words.

table = TABLES["thirtymusic-next"]
asked = table.ask(Path("../shared/data"), valid=False)
asked.data, asked.until_ms, asked.task, asked.units
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recsys.dataset import Dataset, load
from recsys.evaluation.ordered import PLAY_MS, lastfm, movielens
from recsys.evaluation.real import thirtymusic
from recsys.evaluation.tasks import REST, Cohort, Task, build_tasks
from recsys.home import Home
from recsys.lake import Lake
from recsys.plays import I64

CAP = 5000
"""Queries of a table at most, a seeded sample of them; validation asks at most VALID_CAP."""
VALID_CAP = 1500


@dataclass(frozen=True)
class Asked:
    """The queries of a table: train on plays before `until_ms`, answer `task`."""

    data: Dataset
    until_ms: int
    task: Task
    units: I64  # (q,) the session, sequence or user of each query: what is resampled


@dataclass(frozen=True)
class TableSpec:
    """One table."""

    name: str
    title: str
    protocol: str
    unit: str
    metric: str  # the one that is tuned and tested
    shown: tuple[str, ...]
    cohorts: tuple[str, ...]
    models: tuple[str, ...]
    ask: Callable[[Path, bool], Asked]
    grids: Mapping[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)  # instead of the usual ones


def asked(data: Dataset, start: int, end: int, name: str, cap: int, cohorts: Mapping[str, str]) -> Asked:
    """Queries over [start, end); `cohorts` renames those of the task that are kept."""
    (task,) = build_tasks(data, start, end, names=(name,), cap=cap)
    kept = {ours: task.cohorts[theirs] for ours, theirs in cohorts.items() if theirs in task.cohorts}
    newest = task.batch.histories.session[task.batch.histories.offsets[1:] - 1]
    units = np.unique(np.stack([task.listener, newest]), axis=1, return_inverse=True)[1]
    return Asked(data, start, replace(task, cohorts=kept), units.ravel().astype(np.int64))


def _thirtymusic(name: str, folder: Path, valid: bool) -> Asked:
    data = thirtymusic(folder / "thirtymusic_slices.parquet")
    split = data.split
    start, end, cap = (split.valid, split.test, VALID_CAP) if valid else (split.test, split.end, CAP)
    return asked(data, start, end, name, cap, {"all": "all", "seen": "known_tracks", "unseen": "new_tracks"})


def _lastfm(folder: Path, valid: bool) -> Asked:
    data = lastfm(folder, valid)
    cap = VALID_CAP if valid else CAP
    found = asked(data, data.split.test, data.split.end, "next_track", cap, {"all": "all"})
    return replace(
        found, task=replace(found.task, cohorts=dict(found.task.cohorts) | {"not a repeat": _firsts(found)})
    )


def _firsts(found: Asked) -> Cohort:
    """Queries whose target does not occur earlier in the whole sequence."""
    plays, task = found.data.plays, found.task
    pair = plays.owner * len(found.data.items) + plays.track
    first = np.zeros(plays.rows, bool)
    first[np.unique(pair, return_index=True)[1]] = True
    place = (task.batch.now - plays.start[plays.offsets[:-1]][task.listener]) // PLAY_MS
    rows = np.flatnonzero(first[plays.offsets[:-1][task.listener] + place])
    return Cohort(rows, task.targets.take(rows))


def _movielens(folder: Path, valid: bool) -> Asked:
    data = movielens(folder, valid)
    cap = VALID_CAP if valid else len(data.plays)
    return asked(data, data.split.test, data.split.end, "next_track_new", cap, {"all": "all"})


def _simulated(folder: Path, valid: bool) -> Asked:
    data = load(Lake(Home.of(folder).lake))
    split = data.split
    start, end, cap = (split.valid, split.test, VALID_CAP) if valid else (split.test, split.end, CAP)
    return asked(
        data, start, end, "next_track", cap, {"all": "all", "seen": "known_tracks", "unseen": "new_tracks"}
    )


_WITHOUT_ARTISTS = (
    *("popularity", "Markov", "sequential rules", "session kNN", "session kNN, weighted"),
    *("item kNN", "ALS", "EASE"),
)
_SIMPLE = ("own plays", *_WITHOUT_ARTISTS[:3], "rules + same artist", *_WITHOUT_ARTISTS[3:])
_SHOWN = ("hr@10", "ndcg@10", "mrr@10")
_MUSIC = """118,342 plays of five 5-day windows of 2014 (30Music's test slices), shifted so that all end together. The
last day of each window tests, the day before it validates; a model learns from every play before the day. Sessions
end at a pause of 30 minutes. All 57,684 tracks of the catalog are candidates, repeats included. A query is a play
within a session after its first: the model sees all that the listener did before it. At most 5,000 queries, a seeded
sample. `seen`: targets that somebody played before the day; `unseen`: the others, which only content (here: the
artist) can find."""
_MOVIES = """The SASRec repository's file: 6,040 users, 3,416 items, order kept. The last item of each user tests, the
one before it validates; models see everything before the test item. All 3,416 items are ranked, seen ones masked.
The peers and our neural models train without the validation items; the simple models, which have a closed form or
count, learn from everything before the test item. Peers read the last 51 items of a user, as both libraries do."""
_LASTFM = """2,018 sequences, 363,953 plays of 3,062 items (RMTPP's set), order alone. The last fifth of each sequence
tests, the tenth before it validates; a model learns from what comes before in all sequences, and sees the plays of
its own sequence up to the query. All items are candidates, repeats included. At most 5,000 queries, a seeded sample.
`not a repeat`: targets that did not occur earlier in their sequence."""
_SIMULATED = """The log of a home (`recsys simulate`; its folder is given with --data). The last 15% of the days test,
the days before them validate; a query is a play within a session after its first. All available tracks are
candidates. `seen`: targets that somebody played before the test days."""

TABLES: dict[str, TableSpec] = {
    "ml1m": TableSpec(
        "ml1m",
        "MovieLens-1M, last item",
        _MOVIES,
        "user",
        "ndcg@10",
        _SHOWN,
        ("all",),
        _WITHOUT_ARTISTS,
        _movielens,
        {"popularity": ({"half_life_days": 1e9},)},
    ),
    "thirtymusic-next": TableSpec(
        "thirtymusic-next",
        "30Music, next track",
        _MUSIC + " The target is the very next play.",
        "session",
        "ndcg@10",
        (*_SHOWN, "recall@20"),
        ("all", "seen", "unseen"),
        (*_SIMPLE, "two-tower", "sequence"),
        partial(_thirtymusic, "next_track"),
    ),
    "thirtymusic-rest": TableSpec(
        "thirtymusic-rest",
        "30Music, rest of the session",
        _MUSIC + " The targets are all distinct tracks from the next play to the end of the session.",
        "session",
        "ndcg@20",
        ("hr@20", "ndcg@20", "recall@20", "mrr@20"),
        ("all", "seen", "unseen"),
        (*_SIMPLE, "two-tower", "sequence"),
        partial(_thirtymusic, REST),
    ),
    "lastfm": TableSpec(
        "lastfm",
        "Last.fm sequences, next item",
        _LASTFM,
        "sequence",
        "ndcg@10",
        _SHOWN,
        ("all", "not a repeat"),
        ("own plays", *_WITHOUT_ARTISTS, "two-tower", "sequence"),
        _lastfm,
        {"popularity": ({"half_life_days": 1e9},)},
    ),
    "simulated": TableSpec(
        "simulated",
        "Simulated world, next track",
        _SIMULATED,
        "session",
        "ndcg@10",
        _SHOWN,
        ("all", "seen", "unseen"),
        (*_SIMPLE, "two-tower", "sequence"),
        _simulated,
    ),
}
