"""Item kNN: tracks played in the same sessions as the listener's recent plays, by cosine.

Similarities are cosines of binary session columns, damped for rare tracks, the best `neighbors` kept per
track (Sarwar et al., WWW 2001; Deshpande & Karypis, ACM TOIS 2004); a listener's score sums them over the
last plays with a decay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from recsys.dataset import Dataset
from recsys.evaluation.baselines import popularity
from recsys.evaluation.baselines.sparse import Csr, baskets, csr, last_plays
from recsys.evaluation.protocol import Scores
from recsys.types import QueryBatch

BACKOFF = 1e-6


class ItemKnnSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    neighbors: int = 200
    shrinkage: float = 5.0
    window: int = 50  # last plays that count
    decay: float = 0.95


DEFAULT = ItemKnnSettings()


@dataclass(frozen=True)
class ItemKnn:
    similarity: Csr  # (n, n)
    popularity: popularity.Popularity
    settings: ItemKnnSettings
    name: str = "item_knn"

    def score(self, batch: QueryBatch) -> Scores:
        owner, track, back = last_plays(batch.histories, self.settings.window)
        shape = (len(batch), self.similarity.shape[0])
        recent = csr(owner, track, self.settings.decay ** (back - 1), shape)
        scores: Scores = (recent @ self.similarity).toarray()
        return scores + np.float32(BACKOFF) * self.popularity.scaled(batch)


def fit(dataset: Dataset, until_ms: int, settings: ItemKnnSettings = DEFAULT) -> ItemKnn:
    sessions = baskets(dataset.plays.before(until_ms), len(dataset.items), by_session=True)
    similarity = _cosines(sessions, settings)
    return ItemKnn(similarity, popularity.fit(dataset, until_ms), settings)


def _cosines(sessions: Csr, settings: ItemKnnSettings) -> Csr:
    """(n, n) count(i, j) / sqrt((count(i) + s) (count(j) + s)), the best neighbors of each track, itself
    left out."""
    from implicit.nearest_neighbours import all_pairs_knn

    count = np.asarray(sessions.sum(0)).ravel()
    damped = sessions.multiply(1 / np.sqrt(count + settings.shrinkage)[None, :]).tocsr().astype(np.float64)
    similarity = all_pairs_knn(damped, settings.neighbors + 1, num_threads=0, show_progress=False).tocoo()
    other = similarity.row != similarity.col
    row, col, value = similarity.row[other], similarity.col[other], similarity.data[other]
    return csr(row, col, value, (len(count), len(count)))
