"""A checkerboard world whose right answers are known: even listeners play even tracks, odd ones odd, in
cycles."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from recsys.dataset import Dataset, Split
from recsys.ids import public_id
from recsys.items import MS_PER_DAY, Items
from recsys.plays import Plays
from recsys.schemas import ARTISTS, AVAILABILITY, TRACKS, conform
from recsys.types import QueryBatch, session_numbers

TRACKS_N, LISTENERS, DAYS, PER_SESSION = 24, 40, 10, 6
MINUTE = 60_000


def toy_items(n: int = TRACKS_N, late: int | None = None, closed: int | None = None) -> Items:
    """Two artists a parity; track `late` is released on day 9, track `closed` is never available in BR."""
    ids = sorted(public_id("toy", f"track:{i}") for i in range(n))
    tracks = pl.DataFrame(
        {
            "track_id": ids,
            "title": [f"T{i}" for i in range(n)],
            "artist_id": [public_id("toy", f"artist:{i % 4}") for i in range(n)],
            "genre": [("rock/indie", "jazz/bop")[i % 2] for i in range(n)],
            "release_date": pl.Series([9 if i == late else 0 for i in range(n)], dtype=pl.Int32).cast(
                pl.Date
            ),
        }
    )
    artists = pl.DataFrame({"artist_id": [public_id("toy", f"artist:{a}") for a in range(4)]})
    artists = artists.with_columns(name=pl.col("artist_id"))
    rights = [
        {"track_id": t, "country": c}
        for i, t in enumerate(ids)
        for c in ("AR", "BR")
        if (i, c) != (closed, "BR")
    ]
    return Items.of(
        conform(tracks.cast({"title": pl.String}), "tracks").select(list(TRACKS)),
        conform(artists, "artists").select(list(ARTISTS)),
        conform(pl.DataFrame(rights), "availability").select(list(AVAILABILITY)),
    )


def toy_plays(rng: np.random.Generator, listeners: int = LISTENERS, days: int = DAYS) -> Plays:
    """Each day one session of PER_SESSION plays; track i is followed by i + 2 (mod n)."""
    starts, tracks, counts = [], [], []
    for listener in range(listeners):
        for day in range(days):
            first = 2 * rng.integers(0, TRACKS_N // 2) + listener % 2
            begin = day * MS_PER_DAY + int(rng.integers(8, 20)) * 60 * MINUTE
            tracks += [(first + 2 * step) % TRACKS_N for step in range(PER_SESSION)]
            starts += [begin + step * 4 * MINUTE for step in range(PER_SESSION)]
        counts.append(days * PER_SESSION)
    return plays_of(np.array(counts), np.array(tracks), np.array(starts))


def plays_of(counts: np.ndarray, tracks: np.ndarray, starts: np.ndarray) -> Plays:
    n = len(tracks)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    ms = np.full(n, 200_000, np.int32)
    start = starts.astype(np.int64)
    return Plays(
        offsets=offsets,
        track=tracks.astype(np.int32),
        start=start,
        outcome=np.full(n, 2, np.int8),
        ms_played=ms,
        session=session_numbers(start, ms, offsets),
        hour=(start // 3_600_000 % 24).astype(np.int8),
        device=np.zeros(n, np.int8),
        surface=np.full(n, 3, np.int8),
    )


def toy_dataset(plays: Plays, items: Items) -> Dataset:
    split = Split(7 * MS_PER_DAY, 8 * MS_PER_DAY, 10 * MS_PER_DAY)
    country = (np.arange(len(plays)) % 2).astype(np.int16)
    return Dataset(items, plays, [f"u{i}" for i in range(len(plays))], country, split, {})


def batch_of(histories: Plays, now: int, country: int = 0) -> QueryBatch:
    b = len(histories)
    return QueryBatch(
        histories=histories,
        now=np.full(b, now, np.int64),
        hour=np.zeros(b, np.int8),
        country=np.full(b, country, np.int16),
        device=np.zeros(b, np.int8),
    )


@pytest.fixture(scope="session")
def checkerboard() -> Dataset:
    return toy_dataset(toy_plays(np.random.default_rng(0)), toy_items())


@pytest.fixture(scope="session")
def toy():  # type: ignore[no-untyped-def]
    """The builders above, for tests that need a world of their own."""
    from types import SimpleNamespace

    return SimpleNamespace(
        items=toy_items, plays=toy_plays, plays_of=plays_of, dataset=toy_dataset, batch=batch_of
    )
