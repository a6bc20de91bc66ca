"""BPR matrix factorisation (Rendle et al., UAI 2009) by the `implicit` library, listeners folded in from
history.

Track factors come from training (one thread: more give other results in every run). A query's listener
factors maximise the same pairwise objective with the tracks fixed: a small convex logistic regression on
differences of track factors, solved by Newton steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from recsys.dataset import Dataset
from recsys.evaluation.baselines import popularity
from recsys.evaluation.baselines.sparse import profiles
from recsys.evaluation.protocol import Scores
from recsys.plays import I64
from recsys.types import QueryBatch

_NEWTON_STEPS = 6


class BprSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    embedding_dim: int = 32
    learning_rate: float = 0.05
    regularization: float = 0.01
    epochs: int = 25
    half_life_days: float = 14.0  # of the plays that the fold-in weighs
    negatives: int = 8  # per history track in the fold-in
    ridge: float = 1.0  # of the fold-in
    seed: int = 0


@dataclass(frozen=True)
class Bpr:
    factors: Scores  # (n, d + 1) of tracks, the last column their bias
    negatives: I64  # (m,) seeded tracks that the fold-in prefers the history to
    popularity: popularity.Popularity
    settings: BprSettings
    name: str = "bpr"

    def score(self, batch: QueryBatch) -> Scores:
        profile = profiles(batch.histories, batch.now, self.settings.half_life_days, len(self.factors))
        scores = self.popularity.score(batch)
        for j in range(len(batch)):
            row = profile[j]
            if row.nnz:
                listener = self._listener(row.indices, row.data)
                scores[j] = self.factors[:, :-1] @ listener + self.factors[:, -1]
        return scores

    def _listener(self, tracks: np.ndarray, plays: np.ndarray) -> Scores:
        """(d,) argmax of the weighted pairwise log-likelihood minus a ridge."""
        pairs = np.repeat(np.arange(len(tracks)), self.settings.negatives)
        other = self.negatives[np.arange(len(pairs)) % len(self.negatives)]
        difference = self.factors[tracks[pairs]] - self.factors[other]
        x, offset, weight = difference[:, :-1], difference[:, -1], plays[pairs] / self.settings.negatives
        listener = np.zeros(x.shape[1])
        ridge = self.settings.ridge * np.eye(x.shape[1])
        for _ in range(_NEWTON_STEPS):
            miss = 1 / (1 + np.exp(np.clip(x @ listener + offset, -30, 30)))
            gradient = x.T @ (weight * miss) - self.settings.ridge * listener
            curvature = (x * (weight * miss * (1 - miss))[:, None]).T @ x + ridge
            listener = listener + np.linalg.solve(curvature, gradient)
        return listener.astype(np.float32)


def fit(dataset: Dataset, until_ms: int, settings: BprSettings | None = None) -> Bpr:
    """With the pinned settings (recsys.evaluation.pinned) unless others are given."""
    from implicit.bpr import BayesianPersonalizedRanking

    from recsys.evaluation.pinned import BPR

    settings = settings or BPR
    plays, n = dataset.plays.before(until_ms), len(dataset.items)
    times = np.full(len(plays), until_ms, np.int64)
    model = BayesianPersonalizedRanking(
        factors=settings.embedding_dim,
        learning_rate=settings.learning_rate,
        regularization=settings.regularization,
        iterations=settings.epochs,
        num_threads=1,
        random_state=settings.seed,
    )
    heard = profiles(plays, times, settings.half_life_days, n)
    heard.data[:] = 1
    model.fit(heard, show_progress=False)
    trained = np.flatnonzero(np.asarray(heard.getnnz(axis=0)) > 0)
    negatives = np.random.default_rng(settings.seed).choice(trained if len(trained) else n, 4096)
    factors = np.array(model.item_factors, np.float32)
    factors[np.asarray(heard.getnnz(axis=0)) == 0, -1] = factors[:, -1].min() - 1  # never heard: last
    return Bpr(factors, negatives, popularity.fit(dataset, until_ms), settings)
