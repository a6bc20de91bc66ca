"""Queries of similarity: a seed that somebody chose, and what else the same listener or session held.

    SIMILARITY["hetrec-artists"].ask(Path("../shared/data"), valid=False)

Co-listening is the measure, so a method that only repeats co-occurrence has an advantage on what was played often;
`unseen` targets, which no count can find, stand apart.
"""

from __future__ import annotations

from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.model_tables import Asked, TableSpec
from benchmarks.similar_items import ARTISTS, SIMILAR, ArtistLevel
from recsys.dataset import Dataset
from recsys.evaluation.ordered import TEST_MS, catalog, ordered
from recsys.evaluation.ragged import Ragged
from recsys.evaluation.real import thirtymusic
from recsys.evaluation.tasks import Cohort, Task
from recsys.plays import I64, Plays
from recsys.types import QueryBatch

SEEDS_EACH = 3
"""Seeds drawn from each held-out listener or session."""
HELD_OUT = 0.2


def ask(data: Dataset, until: int, lists: Ragged, seed: int) -> Asked:
    """Queries from the distinct items of held-out lists: SEEDS_EACH seeds each, all others of the list are targets.

    A seed has to be known: somebody played it before `until`. Lists without such a seed or without another item ask
    nothing.
    """
    rng = np.random.default_rng(seed)
    heard = np.zeros(len(data.items), bool)
    before = data.plays.before(until).track
    heard[before[before >= 0]] = True
    owner, seeds, targets = [], [], []
    for j in range(len(lists)):
        items = lists.row(j)
        known = items[heard[items]]
        if len(items) < 2 or not len(known):
            continue
        for chosen in rng.choice(known, min(SEEDS_EACH, len(known)), replace=False):
            owner.append(j)
            seeds.append(int(chosen))
            targets.append(items[items != chosen])
    counts = np.array([len(part) for part in targets])
    wanted = Ragged(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), np.concatenate(targets))
    return Asked(data, until, _task(data, until, np.array(seeds), wanted, heard), np.array(owner))


def _task(data: Dataset, until: int, seeds: I64, wanted: Ragged, heard: np.ndarray) -> Task:
    q = len(seeds)
    one = Ragged(np.arange(q + 1, dtype=np.int64), seeds.astype(np.int32))
    batch = QueryBatch(
        histories=_single(data.plays, one, until - 1),
        now=np.full(q, until, np.int64),
        hour=np.zeros(q, np.int8),
        country=np.full(q, len(data.items.countries), np.int16),
        device=np.full(q, -1, np.int8),
    )
    seen = heard[wanted.tracks]
    cohorts = {"all": Cohort(np.arange(q), wanted)}
    for name, mask in (("seen", seen), ("unseen", ~seen)):
        kept = wanted.where(mask)
        rows = np.flatnonzero(kept.counts > 0)
        cohorts[name] = Cohort(rows, kept.take(rows))
    return Task("similar", batch, np.arange(q), wanted, cohorts, data.items, one)


def _single(like: Plays, one: Ragged, start: int) -> Plays:
    """A play of each item at one time."""
    empty = Plays.empty(len(one))
    columns = {f.name: np.zeros(len(one), getattr(empty, f.name).dtype) for f in fields(like)}
    return Plays(**columns | {"offsets": one.offsets, "track": one.tracks, "start": np.full(len(one), start)})


def _hetrec(folder: Path, valid: bool) -> Asked:
    """Users are parted, not time: a fifth is held out, and of the others a fifth for validation."""
    rows = pl.read_parquet(folder / "hetrec_lastfm_plays.parquet").sort(
        "user", "plays", descending=[False, True]
    )
    names, artists = np.unique(rows["artist"].to_numpy(), return_inverse=True)
    counts = np.unique(rows["user"].to_numpy(), return_counts=True)[1]
    lists = Ragged(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), artists.astype(np.int32))
    order = np.random.default_rng(0).permutation(len(lists))
    test = round(HELD_OUT * len(lists))
    held, train = order[:test], order[test:]
    if valid:
        held, train = train[: round(HELD_OUT * len(train))], train[round(HELD_OUT * len(train)) :]
    known = lists.take(train)
    data = ordered(known, known.counts, catalog([str(name) for name in names], [None] * len(names)))
    return ask(data, TEST_MS, lists.take(held), seed=1 + valid)


def _sessions(folder: Path, valid: bool, artists: bool) -> Asked:
    """Sessions that begin on the last day (or the day before): their distinct tracks or artists."""
    tracks = thirtymusic(folder / "thirtymusic_slices.parquet")
    data = _artist_level(tracks) if artists else tracks
    split = data.split
    start, end = (split.valid, split.test) if valid else (split.test, split.end)
    plays = data.plays
    opens = np.ones(plays.rows, bool)
    opens[1:] = (plays.owner[1:] != plays.owner[:-1]) | (plays.session[1:] != plays.session[:-1])
    first = np.flatnonzero(opens)
    last = np.append(first[1:], plays.rows)
    inside = (plays.start[first] >= start) & (plays.start[first] < end)
    lists = Ragged.slices(plays.track, first[inside], last[inside]).distinct()
    return ask(data, start, lists, seed=1 + valid)


def _artist_level(tracks: Dataset) -> ArtistLevel:
    """The same plays with the artist in the track's place."""
    items = tracks.items
    names = catalog(items.artist_ids, [None] * len(items.artist_ids))
    plays = replace(tracks.plays, track=items.artist[tracks.plays.track].astype(np.int32))
    columns = {f.name: getattr(tracks, f.name) for f in fields(Dataset)}
    return ArtistLevel(**columns | {"items": names, "plays": plays}, tracks=tracks)


_SHOWN = ("recall@20", "ndcg@20", "hr@10")
SIMILARITY: dict[str, TableSpec] = {
    "hetrec-artists": TableSpec(
        "hetrec-artists",
        "HetRec Last.fm, similar artists",
        """92,834 user-artist pairs of 1,892 users and 17,632 artists (HetRec 2011), play counts left aside. A fifth of
the users is held out, a fifth of the rest validates; similarity is learned from the others alone. A query is one of
three artists drawn from a held-out user's list (known from training); the targets are the user's other artists, all
artists are candidates. `unseen`: targets that no training user played.""",
        "user",
        "recall@20",
        _SHOWN,
        ("all",),
        tuple(ARTISTS),
        _hetrec,
    ),
    "thirtymusic-tracks": TableSpec(
        "thirtymusic-tracks",
        "30Music, similar tracks",
        """30Music's test slices as in the tables of the next track; similarity is learned from plays before the last
day. A query is one of three tracks drawn from a session of that day (played by somebody before); the targets are the
session's other tracks, all 57,684 tracks are candidates. `seen`, `unseen`: targets played before the day, or not.""",
        "session",
        "recall@20",
        _SHOWN,
        ("all", "seen", "unseen"),
        tuple(SIMILAR),
        partial(_sessions, artists=False),
    ),
    "thirtymusic-artists": TableSpec(
        "thirtymusic-artists",
        "30Music, similar artists",
        """As 30Music's similar tracks, with artists in the place of tracks: three artists of a session of the last day,
the session's other artists as targets, all 10,355 artists as candidates. The two-tower model is that of tracks; an
artist's vector is the mean of its tracks', by 1 + log(1 + plays).""",
        "session",
        "recall@20",
        _SHOWN,
        ("all", "seen", "unseen"),
        tuple(ARTISTS),
        partial(_sessions, artists=True),
    ),
}
