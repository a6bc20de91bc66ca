"""Ragged lists of track numbers: targets or masked tracks of q queries as offsets and values (CSR without
data)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.plays import I32, I64


@dataclass(frozen=True)
class Ragged:
    """Row j is tracks[offsets[j]:offsets[j+1]]."""

    offsets: I64  # (q+1,)
    tracks: I32  # (m,)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> I64:
        return np.diff(self.offsets)

    @property
    def owner(self) -> I64:
        """(m,) row of each value."""
        return np.repeat(np.arange(len(self)), self.counts)

    def row(self, j: int) -> I32:
        return self.tracks[self.offsets[j] : self.offsets[j + 1]]

    def take(self, rows: NDArray[np.integer]) -> Ragged:
        """The given rows, in that order."""
        counts = self.counts[rows]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        places = np.repeat(self.offsets[:-1][rows] - offsets[:-1], counts) + np.arange(offsets[-1])
        return Ragged(offsets, self.tracks[places])

    def where(self, mask: NDArray[np.bool_]) -> Ragged:
        """Only the values of `mask` (m,); every row stays, possibly empty."""
        counts = np.bincount(self.owner[mask], minlength=len(self))
        return Ragged(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), self.tracks[mask])

    def distinct(self) -> Ragged:
        """Each row's distinct values, ascending."""
        owner, tracks = self.owner, self.tracks
        order = np.lexsort((tracks, owner))
        owner, tracks = owner[order], tracks[order]
        first = np.ones(len(tracks), bool)
        first[1:] = (owner[1:] != owner[:-1]) | (tracks[1:] != tracks[:-1])
        counts = np.bincount(owner[first], minlength=len(self))
        return Ragged(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), tracks[first])

    @classmethod
    def slices(cls, values: I32, starts: I64, stops: I64) -> Ragged:
        """Row j is values[starts[j]:stops[j]]."""
        counts = np.maximum(stops - starts, 0)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        places = np.repeat(starts - offsets[:-1], counts) + np.arange(offsets[-1])
        return cls(offsets, values[places])
