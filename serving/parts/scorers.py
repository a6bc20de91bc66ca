"""Scorers that read a model: one column each, never dependent on which other candidates are in the batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.sequence.model import SequenceModel
from models.two_tower.model import TwoTower
from recsys.pipeline import Candidates
from recsys.types import QueryBatch
from serving.parts.sources import station_vectors
from serving.settings import RadioSettings

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
class StationScorer:
    """Cosine between a candidate and its station's seeds."""

    model: TwoTower
    name: str = "station"

    def score(self, batch: QueryBatch, candidates: Candidates) -> Floats:
        return dots(station_vectors(self.model, batch), self.model.unit_vectors, candidates)


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


@dataclass(frozen=True)
class RadioScorer:
    """The station's declared blend of likeness to the seeds, the listener's taste, and distance from skips."""

    settings: RadioSettings
    taste: str | None  # column of the listener's taste; None below the full rung
    name: str = "radio"

    def score(self, batch: QueryBatch, candidates: Candidates) -> Floats:  # noqa: ARG002
        columns, weights = candidates.columns, self.settings
        blend = weights.seed_weight * columns["station"] - weights.skip_weight * columns["skipped"]
        if self.taste is not None:
            blend = blend + weights.taste_weight * columns[self.taste]
        return np.asarray(blend, np.float32)


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
