"""Small worlds whose right answer is known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from recsys.dataset import Dataset, Split
from recsys.items import Items
from recsys.plays import Plays
from recsys.schemas import AUDIO, TRACKS, conform
from recsys.types import session_numbers

DAY = 86_400_000
START = 20_000 * DAY
DAYS, TRACKS_PER_SIDE, LISTENERS, PER_SESSION = 20, 30, 120, 6


def make_items(n: int, genre: list[str], audio_mean: list[float], seed: int = 0) -> Items:
    """n tracks of n // 5 artists; each artist stays within one genre."""
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "track_id": [f"{i:022d}" for i in range(n)],
            "title": [f"t{i}" for i in range(n)],
            "artist_id": [f"a{genre[i]}{i // 10:018d}" for i in range(n)],
            "genre": [f"all/{g}" for g in genre],
            "release_date": pl.Series([19_000 + i % 7 for i in range(n)], dtype=pl.Int32).cast(pl.Date),
            **{name: rng.normal(audio_mean, 0.3) for name in AUDIO},
        }
    )
    tracks = conform(frame, "tracks").select(list(TRACKS))
    artists = pl.DataFrame({"artist_id": sorted(set(frame["artist_id"]))}).with_columns(
        name=pl.col("artist_id")
    )
    return Items.of(tracks, artists, None)


@pytest.fixture(scope="session")
def checkerboard() -> Dataset:
    """Listeners hear tracks of their own parity only; the last two tracks of each side are never played."""
    rng = np.random.default_rng(1)
    n = 2 * TRACKS_PER_SIDE
    items = make_items(
        n, ["even" if i % 2 == 0 else "odd" for i in range(n)], [(-1.0) ** i for i in range(n)]
    )
    per = DAYS * PER_SESSION
    side = np.repeat(np.arange(LISTENERS) % 2, per)
    track = side + 2 * rng.integers(0, TRACKS_PER_SIDE - 2, LISTENERS * per)
    day = np.tile(np.repeat(np.arange(DAYS), PER_SESSION), LISTENERS)
    start = START + day * DAY + np.tile(np.arange(per) % PER_SESSION, LISTENERS) * 240_000
    start = start + np.repeat(rng.integers(0, 20 * 3_600_000, LISTENERS), per)
    offsets = np.arange(LISTENERS + 1, dtype=np.int64) * per
    ms_played = np.full(len(track), 200_000, np.int32)
    plays = Plays(
        offsets=offsets,
        track=track.astype(np.int32),
        start=start,
        outcome=rng.choice(3, len(track), p=[0.2, 0.3, 0.5]).astype(np.int8),
        ms_played=ms_played,
        session=session_numbers(start, ms_played, offsets),
        hour=((start // 3_600_000) % 24).astype(np.int8),
        device=np.zeros(len(track), np.int8),
        surface=np.zeros(len(track), np.int8),
    )
    split = Split(START + 16 * DAY, START + 18 * DAY, START + 21 * DAY)
    users = [f"u{i:021d}" for i in range(LISTENERS)]
    return Dataset(items, plays, users, np.zeros(LISTENERS, np.int16), split, {})
