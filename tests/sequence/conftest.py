"""Small logs whose right answer is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from models.sequence.config import SequenceConfig
from recsys.dataset import Dataset, Split
from recsys.items import Items
from recsys.plays import Outcome, Plays
from recsys.schemas import TRACKS, conform
from recsys.types import QueryBatch, session_numbers

MINUTE = 60_000
START = 1_736_000_000_000


def toy_items(tracks: int, per_artist: int = 4) -> Items:
    names = [f"t{i:05d}" for i in range(tracks)]
    artists = [f"a{i // per_artist:04d}" for i in range(tracks)]
    frame = pl.DataFrame({"track_id": names, "title": names, "artist_id": artists})
    frame = frame.with_columns(genre=pl.lit("rock/") + pl.col("artist_id").str.slice(4))
    assert set(frame.columns) <= set(TRACKS)
    ids = sorted(set(artists))
    catalog = pl.DataFrame({"artist_id": ids, "name": ids})
    return Items.of(conform(frame, "tracks"), catalog, None)


def toy_plays(tracks: list[np.ndarray], outcomes: list[np.ndarray] | None = None, every: int = 4) -> Plays:
    """One history for each array, a play every `every` minutes."""
    sizes = np.array([len(t) for t in tracks])
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    n = int(offsets[-1])
    start = START + np.concatenate([np.arange(s) for s in sizes] or [np.zeros(0)]).astype(np.int64) * (
        every * MINUTE
    )
    played = np.full(n, 3 * MINUTE, np.int32)
    done = (
        np.full(n, Outcome.FINISH, np.int8) if outcomes is None else np.concatenate(outcomes).astype(np.int8)
    )
    return Plays(
        offsets=offsets,
        track=np.concatenate(tracks).astype(np.int32) if n else np.zeros(0, np.int32),
        start=start,
        outcome=done,
        ms_played=played,
        session=session_numbers(start, played, offsets),
        hour=np.full(n, 12, np.int8),
        device=np.zeros(n, np.int8),
        surface=np.full(n, 3, np.int8),
    )


def toy_dataset(plays: Plays, items: Items) -> Dataset:
    end = int(plays.start.max()) + 1
    users = [f"u{i}" for i in range(len(plays))]
    return Dataset(items, plays, users, np.zeros(len(plays), np.int16), Split(end, end, end), {})


def toy_batch(plays: Plays) -> QueryBatch:
    """Requests one play after each history."""
    b = len(plays)
    now = np.full(b, START, np.int64)
    some = np.diff(plays.offsets) > 0
    now[some] = plays.start[plays.offsets[1:][some] - 1] + 4 * MINUTE
    return QueryBatch(
        histories=plays,
        now=now,
        hour=np.full(b, 12, np.int8),
        country=np.zeros(b, np.int16),
        device=np.zeros(b, np.int8),
    )


def cycles(listeners: int, length: int, tracks: int, seed: int = 0) -> list[np.ndarray]:
    """Everybody walks i -> i + 1 (mod tracks) from a random start."""
    starts = np.random.default_rng(seed).integers(0, tracks, listeners)
    return [(s + np.arange(length)) % tracks for s in starts]


TINY = SequenceConfig(
    embedding_dim=16,
    num_layers=1,
    num_heads=2,
    max_length=8,
    dropout=0.0,
    num_negatives=32,
    batch_size=16,
    learning_rate=1e-2,
    steps=120,
    mixing_steps=10,
    mixing_batch_size=8,
    full_softmax_below=0,
    num_threads=1,
)


class Toy:
    """The helpers above as one fixture."""

    items: Callable[..., Items] = staticmethod(toy_items)
    plays: Callable[..., Plays] = staticmethod(toy_plays)
    dataset: Callable[..., Dataset] = staticmethod(toy_dataset)
    batch: Callable[..., QueryBatch] = staticmethod(toy_batch)
    cycles: Callable[..., list[np.ndarray]] = staticmethod(cycles)
    config = TINY


@pytest.fixture(scope="session")
def toy() -> type[Toy]:
    return Toy
