"""Similarity of items as models of the tables: a query's history is one seed, its answer what resembles the seed.

    SIMILAR["conditional probability"].fit(data, until_ms, {"damping": 0.5}).score(batch)

Markov, sequential rules, item kNN (cosine of co-occurrence) and EASE answer a seed as they are; here are the others.
The product's similar tracks are cosines of two-tower vectors (serving/parts/near.py), its similar artists those of
models/artists.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.model_fits import FITS, Entry, Settings, grid
from recsys.dataset import Dataset
from recsys.evaluation.baselines import popularity
from recsys.evaluation.baselines.sparse import Csr, baskets
from recsys.evaluation.protocol import Model, Scores
from recsys.types import QueryBatch
from recsys.vectors import normalize

BACKOFF = 1e-9


@dataclass(frozen=True)
class ArtistLevel(Dataset):
    """A log of artists, with the log of tracks that it was made from."""

    tracks: Dataset


@dataclass(frozen=True)
class ByCount:
    """Rows of a sparse similarity; popularity where a row is silent."""

    matrix: Csr  # (n, n)
    popularity: popularity.Popularity
    name: str

    def score(self, batch: QueryBatch) -> Scores:
        scores: Scores = self.matrix[batch.histories.track].toarray()
        return scores + np.float32(BACKOFF) * self.popularity.scaled(batch)


@dataclass(frozen=True)
class ByVector:
    """Cosines of item vectors."""

    unit: Scores  # (n, d)
    name: str

    def score(self, batch: QueryBatch) -> Scores:
        return np.asarray(self.unit[batch.histories.track] @ self.unit.T, np.float32)


def conditional(data: Dataset, until: int, settings: Settings) -> Model:
    """c_ij / (c_i + shrinkage) / c_j^damping over sessions: P(j | i) at damping 0, lift at 1 (Deshpande & Karypis,
    ACM TOIS 2004)."""
    held = baskets(data.plays.before(until), len(data.items), by_session=True)
    count = np.maximum(np.asarray(held.sum(0)).ravel(), 1)
    together = (held.T @ held).tocsr()
    together.setdiag(0)
    together = together.multiply(1 / (count + settings["shrinkage"])[:, None])
    together = together.multiply(1 / count[None, :] ** settings["damping"]).tocsr().astype(np.float32)
    return ByCount(together, popularity.fit(data, until), "conditional")


def als_vectors(data: Dataset, until: int, settings: Settings) -> Model:
    from recsys.evaluation.baselines.als import AlsSettings, fit

    return ByVector(normalize(fit(data, until, AlsSettings(**settings)).factors), "als_vectors")


def tower_vectors(data: Dataset, until: int, settings: Settings) -> Model:
    """Unit vectors of tracks, the product's measure; or of an artist's tracks by 1 + log(1 + plays)."""
    from models.artists import artist_vectors

    log, unit = _tracks(data), _unit_vectors(data, until, settings)
    if log is data:
        return ByVector(unit, "tower_vectors")
    plays = log.plays.before(until).track
    counts = np.bincount(plays[plays >= 0], minlength=len(log.items))
    return ByVector(artist_vectors(log.items, unit, counts), "tower_vectors")


def neighbors(data: Dataset, until: int, settings: Settings) -> Model:
    """The product's similar artists: audiences, smoothed by two-tower vectors."""
    from scipy import sparse

    from models.artists import ArtistConfig, train

    log, unit = _tracks(data), _unit_vectors(data, until, settings)
    items = log.items
    if log is data:  # a log of artists: each is the one track of its own
        items = replace(items, artist=np.arange(len(items), dtype=np.int32), artist_ids=items.track_ids)
    found = train(log.plays.before(until), items, unit, ArtistConfig())
    offsets = np.arange(len(found.ids) + 1) * found.ids.shape[1]
    matrix = sparse.csr_matrix((found.score.ravel(), found.ids.ravel(), offsets), shape=(len(found.ids),) * 2)
    return ByCount(matrix, popularity.fit(data, until), "neighbors")


def _tracks(data: Dataset) -> Dataset:
    """The log of tracks behind a log of artists, where there is one."""
    return data.tracks if isinstance(data, ArtistLevel) else data


def _unit_vectors(data: Dataset, until: int, settings: Settings) -> Scores:
    """Of tracks, by a two-tower model."""
    import torch

    from models.two_tower.config import TwoTowerConfig
    from models.two_tower.train import train

    torch.set_num_threads(1)
    return train(_tracks(data), until, TwoTowerConfig(**settings)).unit_vectors


_ALS = grid(embedding_dim=(64, 128), alpha=(4.0, 16.0), regularization=(1.0, 10.0), half_life_days=(1e9,))
_SHRINK = grid(shrinkage=(5.0, 1.0, 20.0), neighbors=(500,))
SIMILAR: dict[str, Entry] = {
    "popularity": Entry("simple", FITS["popularity"].fit, ({"half_life_days": 1e9},)),
    "co-occurrence, cosine": Entry("simple", FITS["item kNN"].fit, _SHRINK),
    "conditional probability": Entry(
        "simple", conditional, grid(damping=(0.0, 0.25, 0.5), shrinkage=(5.0, 0.0))
    ),
    "lift": Entry("simple", conditional, grid(damping=(1.0,), shrinkage=(0.0, 5.0, 20.0))),
    "EASE weights": Entry("simple", FITS["EASE"].fit, grid(l2=(100.0, 500.0), rows=("sessions",))),
    "ALS vectors": Entry("simple", als_vectors, _ALS, (0, 1, 2)),
    "two-tower vectors": Entry("ours", tower_vectors, grid(epochs=(4,)), (0, 1, 2)),
}
ARTISTS: dict[str, Entry] = {
    **SIMILAR,
    "neighbors": Entry("ours", neighbors, grid(epochs=(4,)), (0, 1, 2)),
}
