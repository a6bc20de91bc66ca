"""Logs that know only the order of plays, as Datasets: MovieLens-1M and the Last.fm sequences of RMTPP.

    data = movielens(folder); build_tasks(data, data.split.test, data.split.end, names=("next_track_new",))
    data = lastfm(folder, valid=True)      # the same cut one step earlier: what tuning may see

Times are made up, a play every PLAY_MS, and each sequence is shifted so that its first held-out play starts at
split.test: "plays before split.test" is then what may train, for every sequence. A sequence is one session.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from recsys.dataset import Dataset, Split
from recsys.evaluation.ragged import Ragged
from recsys.ids import public_id
from recsys.items import Items
from recsys.plays import I64, Outcome, Plays
from recsys.schemas import TRACKS, conform
from recsys.types import DEVICES, SURFACES

PLAY_MS = 240_000
TEST_MS = 1_577_836_800_000  # 2020-01-01, UTC
TEST_SHARE, VALID_SHARE = 0.2, 0.1
"""Of a Last.fm sequence: the last fifth tests, the tenth before it validates."""


def movielens(folder: Path, valid: bool = False) -> Dataset:
    """MovieLens-1M as in the SASRec repository's file: the last item of each of 6,040 users is held out.

    With `valid` the last item is dropped and the one before it is held out. Track j is item j + 1 of the file, user
    j its j-th user; the first genre of a film stands for its genre.
    """
    rows = pl.read_parquet(folder / "ml1m_sasrec.parquet").sort("user", "pos")
    films = pl.read_parquet(folder / "ml1m_items.parquet").sort("item")
    sequences = _ragged(rows["user"], rows["item"].to_numpy() - 1)
    if valid:
        sequences = Ragged.slices(sequences.tracks, sequences.offsets[:-1], sequences.offsets[1:] - 1)
    genre = films["genres"].str.split("|").list.first()
    return ordered(sequences, sequences.counts - 1, catalog(films["title"].to_list(), genre.to_list()))


def lastfm(folder: Path, valid: bool = False) -> Dataset:
    """2,018 listening sequences over 3,062 items: the last fifth of each held out; order only, its times ignored.

    With `valid` the last fifth is dropped and the tenth before it is held out.
    """
    rows = pl.read_parquet(folder / "lastfm_rmtpp.parquet").sort("seq", "pos")
    names, numbers = np.unique(rows["item"].to_numpy(), return_inverse=True)
    sequences = _ragged(rows["seq"], numbers)
    test = sequences.counts - np.floor(TEST_SHARE * sequences.counts).astype(np.int64)
    cut = test
    if valid:
        cut = test - np.ceil(VALID_SHARE * sequences.counts).astype(np.int64)
        sequences = Ragged.slices(sequences.tracks, sequences.offsets[:-1], sequences.offsets[:-1] + test)
    return ordered(sequences, cut, catalog([str(name) for name in names], [None] * len(names)))


def ordered(sequences: Ragged, cut: I64, items: Items) -> Dataset:
    """The dataset of sequences of which the first `cut` (sequences,) plays may train."""
    place = np.arange(len(sequences.tracks)) - sequences.offsets[:-1][sequences.owner]
    start = TEST_MS + (place - cut[sequences.owner]) * PLAY_MS
    rows = len(place)
    plays = Plays(
        offsets=sequences.offsets,
        track=sequences.tracks.astype(np.int32),
        start=start.astype(np.int64),
        outcome=np.full(rows, int(Outcome.PARTIAL), np.int8),
        ms_played=np.full(rows, PLAY_MS, np.int32),
        session=np.zeros(rows, np.int32),
        hour=np.zeros(rows, np.int8),
        device=np.full(rows, DEVICES.index("unknown"), np.int8),
        surface=np.full(rows, SURFACES.index("library"), np.int8),
    )
    split = Split(TEST_MS - PLAY_MS, TEST_MS, int(start.max()) + 1)
    country = np.full(len(sequences), len(items.countries), np.int16)
    return Dataset(
        items, plays, [public_id("ordered", str(i)) for i in range(len(sequences))], country, split, {}
    )


def _ragged(key: pl.Series, tracks: np.ndarray) -> Ragged:
    """Rows that are sorted by key, one row a key."""
    counts = np.unique(key.to_numpy(), return_counts=True)[1]
    return Ragged(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), tracks.astype(np.int32))


def catalog(titles: list[str], genres: list[str | None]) -> Items:
    """Items in the given order, without artists."""
    frame = pl.DataFrame(
        {
            "track_id": [str(i).zfill(22) for i in range(len(titles))],  # Items sorts by id
            "artist_id": pl.Series([""] * len(titles), dtype=pl.String),
            "title": titles,
            "genre": pl.Series(genres, dtype=pl.String),
        }
    )
    artists = pl.DataFrame({"artist_id": [""], "name": [""]})
    return Items.of(conform(frame, "tracks").select(list(TRACKS)), conform(artists, "artists"), None)
