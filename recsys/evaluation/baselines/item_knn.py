"""Item kNN: tracks played in the same sessions as the listener's recent plays, by cosine.

Similarities are cosines of binary session columns with shrinkage, the best `neighbors` kept per track
(Sarwar et al., WWW 2001; Deshpande & Karypis, ACM TOIS 2004); a listener's score sums them over the last
plays with a decay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from recsys.dataset import Dataset
from recsys.evaluation.baselines import popularity
from recsys.evaluation.baselines.sparse import Csr, csr, last_plays
from recsys.evaluation.protocol import Scores
from recsys.plays import Plays
from recsys.types import QueryBatch

BACKOFF = 1e-6
_CHUNK = 2000  # tracks whose similarities are held at once


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
    baskets = _sessions(dataset.plays.before(until_ms), len(dataset.items))
    similarity = _cosines(baskets, settings)
    return ItemKnn(similarity, popularity.fit(dataset, until_ms), settings)


def _sessions(plays: Plays, n_items: int) -> Csr:
    """(sessions, n) which tracks each session holds, binary."""
    owner = plays.owner
    opens = np.ones(plays.rows, bool)
    opens[1:] = (owner[1:] != owner[:-1]) | (plays.session[1:] != plays.session[:-1])
    session, known = np.cumsum(opens) - 1, plays.track >= 0
    shape = (int(opens.sum()), n_items)
    baskets = csr(session[known], plays.track[known], np.ones(known.sum()), shape)
    baskets.data[:] = 1
    return baskets


def _cosines(baskets: Csr, settings: ItemKnnSettings) -> Csr:
    from scipy.sparse import vstack

    by_item = baskets.T.tocsr()
    norm = np.sqrt(np.asarray(by_item.sum(1)).ravel())
    parts = []
    for low in range(0, by_item.shape[0], _CHUNK):
        together = (by_item[low : low + _CHUNK] @ baskets).tocoo()
        row, col, count = together.row, together.col, together.data
        value = count / (norm[row + low] * norm[col] + settings.shrinkage)
        other = row + low != col
        parts.append(_best(row[other], col[other], value[other], together.shape, settings.neighbors))
    return vstack(parts).tocsr()


def _best(row: np.ndarray, col: np.ndarray, value: np.ndarray, shape: tuple[int, int], neighbors: int) -> Csr:
    """The largest `neighbors` entries of each row."""
    order = np.lexsort((col, -value, row))
    row, col, value = row[order], col[order], value[order]
    place = np.arange(len(row)) - np.searchsorted(row, row)
    keep = place < neighbors
    return csr(row[keep], col[keep], value[keep], shape)
