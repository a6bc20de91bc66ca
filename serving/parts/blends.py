"""Declared blends of score columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.pipeline import Candidates
from recsys.types import QueryBatch

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Blend:
    """A weighted sum of columns; a value that is not there (a source that did not propose the track) counts 0."""

    name: str
    weights: tuple[tuple[str, float], ...]  # (column, weight)

    def score(self, batch: QueryBatch, candidates: Candidates) -> Floats:  # noqa: ARG002
        total = np.zeros(len(candidates))
        for column, weight in self.weights:
            if weight:
                total += weight * np.nan_to_num(np.asarray(candidates.columns[column], np.float64))
        return total.astype(np.float32)


@dataclass(frozen=True)
class Nearest:
    """The greatest of the columns that sources of one kind wrote; each track has one at least."""

    name: str
    columns: tuple[str, ...]

    def score(self, batch: QueryBatch, candidates: Candidates) -> Floats:  # noqa: ARG002
        found = [candidates.columns[c] for c in self.columns if c in candidates.columns]
        best = np.full(len(candidates), np.nan)
        for column in found:
            best = np.fmax(best, np.asarray(column, np.float64))
        return np.asarray(np.nan_to_num(best), np.float32)
