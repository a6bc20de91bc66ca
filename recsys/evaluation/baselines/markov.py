"""First-order Markov chain: how often each track followed the last one in a session; popularity where it is
silent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.dataset import Dataset
from recsys.evaluation.baselines import popularity
from recsys.evaluation.baselines.sparse import Csr, csr, follows, last_plays
from recsys.evaluation.protocol import Scores
from recsys.types import QueryBatch


@dataclass(frozen=True)
class Markov:
    transitions: Csr  # (n, n) counts
    popularity: popularity.Popularity
    name: str = "markov"

    def score(self, batch: QueryBatch) -> Scores:
        owner, track, _ = last_plays(batch.histories, 1)
        last = csr(owner, track, np.ones(len(track)), (len(batch), self.transitions.shape[0]))
        scores: Scores = (last @ self.transitions).toarray()
        return scores + self.popularity.scaled(batch)


def fit(dataset: Dataset, until_ms: int) -> Markov:
    counts = follows(dataset.plays.before(until_ms), 1, len(dataset.items))
    return Markov(counts, popularity.fit(dataset, until_ms))
