"""Scorers that read a model: one column each, never dependent on which other candidates are in the batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.sequence.model import SequenceModel
from models.two_tower.model import TwoTower
from recsys.pipeline import Candidates
from recsys.types import QueryBatch

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ModelScorer:
    """A model's own score of every candidate, whichever source found it; the column has the model's name."""

    model: TwoTower | SequenceModel

    @property
    def name(self) -> str:
        return self.model.name

    def score(self, batch: QueryBatch, candidates: Candidates) -> Floats:
        return self.model.score_candidates(batch, candidates.ids, candidates.offsets)


@dataclass(frozen=True)
class SkipScorer:
    """Greatest cosine between a candidate and a track that the listener skipped in this station; 0 without."""

    model: TwoTower
    name: str = "skipped"

    def score(self, batch: QueryBatch, candidates: Candidates) -> Floats:
        out = np.zeros(len(candidates), np.float32)
        unit = self.model.unit_vectors
        for j, query in enumerate(batch.queries):
            rows = slice(int(candidates.offsets[j]), int(candidates.offsets[j + 1]))
            if query.skipped:
                own = unit[candidates.ids[rows]]
                likeness = np.stack([rowwise(own, unit[track]) for track in query.skipped])
                out[rows] = np.maximum(likeness.max(axis=0), 0)
        return out


def dots(users: Floats, items: Floats, candidates: Candidates) -> Floats:
    """(m,) inner products of each candidate with its request's vector."""
    out = np.empty(len(candidates), np.float32)
    for j, vector in enumerate(users):
        rows = slice(int(candidates.offsets[j]), int(candidates.offsets[j + 1]))
        out[rows] = rowwise(items[candidates.ids[rows]], vector)
    return out


def rowwise(rows: Floats, vector: Floats) -> Floats:
    """(m,) inner products, each the same whatever other rows there are: BLAS sums in an order that depends on m,
    and a replay scores fewer rows than the request did."""
    return np.asarray((rows * vector).sum(axis=1), np.float32)
