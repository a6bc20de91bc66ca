"""A small simulated home with a plain retrieval over it, and synthetic examples whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from ranking.config import RankerConfig
from ranking.examples import Examples, Inputs
from recsys.dataset import Dataset, load
from recsys.features.pair import names
from recsys.features.stats import series
from recsys.home import Home
from recsys.lake import Lake
from recsys.pipeline import Candidates
from recsys.simulation import PROFILES, simulate
from recsys.types import QueryBatch

DAY = 86_400_000
SMALL = PROFILES["tiny"].model_copy(update={"listeners": 80, "tracks": 300, "artists": 40, "days": 12})


@dataclass(frozen=True)
class World:
    home: Home
    lake: Lake
    data: Dataset
    since: int  # start of the ranker's window

    def inputs(self, config: RankerConfig) -> Inputs:
        """Retrieval: every third track, and whatever the listener played; score: whether it was played."""
        cuts = range(self.since, self.data.split.end, DAY)
        stats = series(self.data.plays, self.data.country, self.data.items, cuts)
        return Inputs(self.data, stats, self.retrieve, hydrate, config)

    def retrieve(self, batch: QueryBatch) -> Candidates:
        parts = []
        for j in range(len(batch)):
            heard = batch.histories.track[batch.histories.offsets[j] : batch.histories.offsets[j + 1]]
            every_third = np.arange(0, len(self.data.items), 3)
            parts.append(np.union1d(every_third, heard[heard >= 0]).astype(np.int64))
        offsets = np.cumsum([0, *map(len, parts)]).astype(np.int64)
        return Candidates(np.concatenate(parts), offsets)


def hydrate(batch: QueryBatch, candidates: Candidates) -> dict[str, np.ndarray]:
    heard = batch.histories.owner << 32 | batch.histories.track
    here = np.isin(candidates.owner << 32 | candidates.ids, heard)
    return {"two_tower": here.astype(np.float32), "sequence": np.zeros(len(here), np.float32)}


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    home = Home.of(tmp_path_factory.mktemp("home")).make()
    simulate(SMALL, home, workers=1)
    data = load(Lake(home.lake), test_share=0.2, valid_share=0.4)
    return World(home, Lake(home.lake), data, data.split.valid)


@pytest.fixture
def synthetic() -> Callable[..., Examples]:
    return synthetic_examples


def synthetic_examples(rows: int = 4000, seed: int = 0, slots: float = 0.5) -> Examples:
    """P(finish | play) = σ(2 x0 - 1), P(skip | not finished) = .3, P(save | finished) = .1, P(play) = σ(x1)."""
    rng = np.random.default_rng(seed)
    columns = names(("two_tower", "sequence"))
    x = rng.standard_normal((rows, len(columns))).astype(np.float32)
    slot = rng.random(rows) < slots
    play = slot | (rng.random(rows) < 1 / (1 + np.exp(-x[:, 1])))
    finish = play & (rng.random(rows) < 1 / (1 + np.exp(-(2 * x[:, 0] - 1))))
    skip = play & ~finish & (rng.random(rows) < 0.3)
    flags = {"finish": finish, "skip": skip, "save": finish & (rng.random(rows) < 0.1), "play": play}
    return Examples(
        names=columns,
        features=x,
        labels={objective: flag.astype(np.int8) for objective, flag in flags.items()},
        weight=np.ones(rows, np.float32),
        query=np.arange(rows) // 20,
        now=np.arange(rows, dtype=np.int64),
        surface=np.where(slot, 0, np.where(play, 3, -1)).astype(np.int8),
        retrieved=~slot,
        slot=slot,
    )
