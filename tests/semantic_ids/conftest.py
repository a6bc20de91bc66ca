"""A small world whose right answer is known: six genres, and listeners who stay within one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from models.semantic_ids import SemanticConfig, SemanticIds
from models.semantic_ids.train import train
from recsys.dataset import Dataset, Split
from recsys.items import Items
from recsys.plays import Plays
from recsys.schemas import AUDIO, TRACKS, conform
from recsys.types import QueryBatch, session_numbers

DAY, START = 86_400_000, 20_000 * 86_400_000
GENRES, PER_GENRE, LISTENERS, PER_LISTENER = 6, 20, 90, 40
UNPLAYED = 2
"""Tracks of each genre that nobody has played."""

CONFIG = SemanticConfig(
    levels=(6, 8),
    siblings=6,
    factors=8,
    plays_prior=5.0,
    embedding_dim=16,
    num_layers=1,
    max_length=16,
    hidden_dim=16,
    beam=16,
    epochs=10,
    batch_size=32,
    predictions=8,
    horizon=10,
    learning_rate=1e-2,
    checkpoint_steps=10,
)


def make_items(n: int, extra: int = 0) -> Items:
    """n tracks, track i of genre i % GENRES, two artists a genre; `extra` more of the same kinds, sorted behind."""
    rng = np.random.default_rng(7)
    numbers = np.arange(n + extra)
    sound = rng.normal(0, 1, (GENRES, len(AUDIO)))[numbers % GENRES] + rng.normal(
        0, 0.3, (n + extra, len(AUDIO))
    )
    frame = pl.DataFrame(
        {
            "track_id": [f"{i:022d}" for i in numbers],
            "title": [f"t{i}" for i in numbers],
            "artist_id": [f"a{i % (2 * GENRES):021d}" for i in numbers],
            "album_id": [f"b{i % (4 * GENRES):021d}" for i in numbers],
            "genre": [f"p{i % GENRES % 2}/g{i % GENRES}" for i in numbers],
            "release_date": pl.Series([19_000] * len(numbers), dtype=pl.Int32).cast(pl.Date),
            **{name: sound[:, j] for j, name in enumerate(AUDIO)},
        }
    )
    artists = frame.select("artist_id", name="artist_id").unique().sort("artist_id")
    return Items.of(conform(frame, "tracks").select(list(TRACKS)), artists, None)


def make_plays(seed: int = 3) -> Plays:
    """Listener j plays tracks of genre j % GENRES in sessions of five."""
    rng = np.random.default_rng(seed)
    genre = np.repeat(np.arange(LISTENERS) % GENRES, PER_LISTENER)
    track = genre + GENRES * rng.integers(0, PER_GENRE - UNPLAYED, len(genre))
    turn = np.tile(np.arange(PER_LISTENER), LISTENERS)
    start = START + turn // 5 * DAY + turn % 5 * 240_000
    offsets = np.arange(LISTENERS + 1, dtype=np.int64) * PER_LISTENER
    played = np.full(len(track), 200_000, np.int32)
    return Plays(
        offsets=offsets,
        track=track.astype(np.int32),
        start=start,
        outcome=rng.choice(3, len(track), p=[0.2, 0.3, 0.5]).astype(np.int8),
        ms_played=played,
        session=session_numbers(start, played, offsets),
        hour=((start // 3_600_000) % 24).astype(np.int8),
        device=np.zeros(len(track), np.int8),
        surface=np.zeros(len(track), np.int8),
    )


def asking(histories: Plays, now: int) -> QueryBatch:
    """One request of each listener."""
    b = len(histories)
    zero = np.zeros(b, np.int8)
    return QueryBatch(histories, np.full(b, now), zero, np.zeros(b, np.int16), zero)


@dataclass(frozen=True)
class World:
    data: Dataset
    model: SemanticIds
    batch: QueryBatch
    unplayed: np.ndarray

    @property
    def genre(self) -> np.ndarray:
        return np.arange(len(self.data.items)) % GENRES

    @staticmethod
    def grown(extra: int) -> Items:
        return make_items(GENRES * PER_GENRE, extra)


@pytest.fixture(scope="session")
def world() -> World:
    plays, items = make_plays(), make_items(GENRES * PER_GENRE)
    end = int(plays.start.max()) + 1
    users = [f"u{i:021d}" for i in range(LISTENERS)]
    data = Dataset(items, plays, users, np.zeros(LISTENERS, np.int16), Split(end, end, end), {})
    unplayed = np.flatnonzero(np.arange(len(items)) >= GENRES * (PER_GENRE - UNPLAYED))
    return World(data, train(data, end, CONFIG), asking(plays, end + DAY), unplayed)
