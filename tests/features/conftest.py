"""A small random world: tracks by artists in genres, listeners with windows, and a batch of requests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from recsys.items import Items
from recsys.plays import Plays
from recsys.schemas import AUDIO
from recsys.types import QueryBatch, session_numbers

DAY = 86_400_000
NOW = 20_000 * DAY + 15 * 3_600_000


def items_of(n: int, seed: int = 0) -> Items:
    rng = np.random.default_rng(seed)
    artist = rng.integers(0, max(n // 8, 1), n)
    tracks = pl.DataFrame(
        {
            "track_id": [f"track{i:05d}" for i in range(n)],
            "title": [f"title {i}" for i in range(n)],
            "artist_id": [f"artist{a}" for a in artist],
            "album_id": [f"album{a}.{i % 2}" for i, a in enumerate(artist)],
            "genre": [f"parent{a % 2}/leaf{a % 5}" if a else None for a in artist],
            "release_date": [date(2024, 1, 1) + timedelta(days=int(d)) for d in rng.integers(0, 200, n)],
            "duration_ms": rng.integers(60_000, 300_000, n).astype(np.int32),
            "explicit": rng.random(n) < 0.2,
            **{name: rng.random(n).astype(np.float32) for name in AUDIO},
        }
    )
    names = tracks["artist_id"].unique()
    return Items.of(tracks, pl.DataFrame({"artist_id": names, "name": names}), None)


def plays_of(listeners: int, length: int, tracks: int, seed: int = 0, until: int = NOW) -> Plays:
    """Random windows of at most `length` plays, all started before `until`; some tracks unknown."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, length + 1, listeners)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    n = int(offsets[-1])
    start = np.concatenate([np.sort(rng.integers(until - 40 * DAY, until, c)) for c in counts]).astype(
        np.int64
    )
    ms_played = rng.integers(1_000, 240_000, n).astype(np.int32)
    return Plays(
        offsets=offsets,
        track=rng.integers(-1, tracks, n).astype(np.int32),
        start=start,
        outcome=rng.integers(0, 3, n).astype(np.int8),
        ms_played=ms_played,
        session=session_numbers(start, ms_played, offsets),
        hour=rng.integers(0, 24, n).astype(np.int8),
        device=rng.integers(0, 4, n).astype(np.int8),
        surface=np.zeros(n, np.int8),
    )


@pytest.fixture
def items() -> Items:
    return items_of(60)


@pytest.fixture
def make_items() -> Callable[..., Items]:
    return items_of


@pytest.fixture
def make_plays() -> Callable[..., Plays]:
    return plays_of


@pytest.fixture
def batch() -> QueryBatch:
    return batch_of(plays_of(12, 40, 60))


@pytest.fixture
def make_batch() -> Callable[[Plays], QueryBatch]:
    return batch_of


def batch_of(plays: Plays) -> QueryBatch:
    b = len(plays)
    rng = np.random.default_rng(1)
    return QueryBatch(
        histories=plays,
        now=np.full(b, NOW, np.int64),
        hour=rng.integers(0, 24, b).astype(np.int8),
        country=np.zeros(b, np.int16),
        device=rng.integers(-1, 4, b).astype(np.int8),
    )
