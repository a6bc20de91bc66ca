"""Popularity: plays decayed with age, by country, smoothed towards the whole world's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from recsys.dataset import Dataset
from recsys.evaluation.protocol import Scores
from recsys.items import MS_PER_DAY
from recsys.types import QueryBatch


class PopularitySettings(BaseModel):
    """`prior`: plays of the world's distribution added to each country's (Dirichlet smoothing)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    half_life_days: float = 14.0
    prior: float = 1000.0


DEFAULT = PopularitySettings()


@dataclass(frozen=True)
class Popularity:
    """Expected share of plays of each track, by country."""

    share: Scores  # (countries + 1, n_items); the last row is for an unknown country
    name: str = "popularity"

    def score(self, batch: QueryBatch) -> Scores:
        return self.share[batch.country]

    def scaled(self, batch: QueryBatch) -> Scores:
        """Scores in [0, 1), to order tracks on which another model is silent."""
        return np.asarray(self.score(batch) / (1.001 * self.share.max() + 1e-30), np.float32)


def fit(dataset: Dataset, until_ms: int, settings: PopularitySettings = DEFAULT) -> Popularity:
    plays = dataset.plays.before(until_ms)
    n, countries = len(dataset.items), len(dataset.items.countries)
    known = plays.track >= 0
    weight = np.exp2(-(until_ms - plays.start[known]) / (MS_PER_DAY * settings.half_life_days))
    cell = dataset.country[plays.owner[known]].astype(np.int64) * n + plays.track[known]
    counts = np.bincount(cell, weights=weight, minlength=(countries + 1) * n).reshape(countries + 1, n)
    world = counts.sum(0)
    counts[-1] = world  # an unknown country is the world
    world = world / max(world.sum(), 1e-9)
    share = (counts + settings.prior * world) / (counts.sum(1, keepdims=True) + settings.prior)
    return Popularity(share.astype(np.float32))
