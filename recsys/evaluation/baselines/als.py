"""Implicit ALS (Hu, Koren & Volinsky, ICDM 2008) by the `implicit` library, listeners folded in from their
history.

Confidence of a track is 1 + alpha * r, with r the listener's plays of it, each halved per half-life of its
age. At query time the listener's factors are solved from the history alone, so new listeners and today's
plays count.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pydantic import BaseModel, ConfigDict

from recsys.dataset import Dataset
from recsys.evaluation.baselines import popularity
from recsys.evaluation.baselines.sparse import profiles
from recsys.evaluation.protocol import Scores
from recsys.types import QueryBatch


class AlsSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    embedding_dim: int = 64
    regularization: float = 0.1
    alpha: float = 4.0
    half_life_days: float = 14.0
    epochs: int = 10
    seed: int = 0


@dataclass(frozen=True)
class Als:
    factors: Scores  # (n, d) of tracks
    popularity: popularity.Popularity
    settings: AlsSettings
    name: str = "als"

    @cached_property
    def _solved(self) -> Scores:
        """(n, d) Y (Y'Y + regularization I)^-1: what the fold-ins of all listeners share."""
        y = self.factors.astype(np.float64)
        base = y.T @ y + self.settings.regularization * np.eye(y.shape[1])
        return np.linalg.solve(base, y.T).T.astype(np.float32)

    def score(self, batch: QueryBatch) -> Scores:
        profile = profiles(batch.histories, batch.now, self.settings.half_life_days, len(self.factors))
        scores = self.popularity.score(batch)
        for j in range(len(batch)):
            row = profile[j]
            if row.nnz:
                scores[j] = self.factors @ self._listener(row.indices, row.data)
        return scores

    def _listener(self, tracks: np.ndarray, plays: np.ndarray) -> Scores:
        """(d,) Hu et al., equation 4, with the confidence 1 + alpha r of preference 1.

        By the push-through identity a system of the history's size is solved instead of one of d: with the
        history's factors P and extra confidence E = alpha r, x = B^-1 P' z where (I + E P B^-1 P') z = 1 + E.
        """
        extra = self.settings.alpha * plays.astype(np.float64)
        kernel = self._solved[tracks] @ self.factors[tracks].T
        z = np.linalg.solve(np.eye(len(tracks)) + extra[:, None] * kernel, 1 + extra)
        return np.asarray(self._solved[tracks].T @ z.astype(np.float32), np.float32)


def fit(dataset: Dataset, until_ms: int, settings: AlsSettings | None = None) -> Als:
    """With the pinned settings (recsys.evaluation.pinned) unless others are given."""
    from implicit.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from recsys.evaluation.pinned import ALS

    settings = settings or ALS
    plays = dataset.plays.before(until_ms)
    times = np.full(len(plays), until_ms, np.int64)
    confidence = profiles(plays, times, settings.half_life_days, len(dataset.items))
    confidence.data = 1 + np.float32(settings.alpha) * confidence.data
    with threadpool_limits(1, "blas"):  # the library brings threads of its own; two pools would fight
        model = AlternatingLeastSquares(
            factors=settings.embedding_dim,
            regularization=settings.regularization,
            alpha=1.0,  # already in the confidences
            iterations=settings.epochs,
            random_state=settings.seed,
        )
        model.fit(confidence, show_progress=False)
    factors = np.asarray(model.item_factors, np.float32)
    return Als(factors, popularity.fit(dataset, until_ms), settings)
