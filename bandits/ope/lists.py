"""One list of numbers for each row, of unequal lengths: one flat array with offsets (eligible sets, distributions)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bandits.ope.terms import F64, I64


@dataclass(frozen=True)
class Lists:
    """n lists; list i is values[offsets[i]:offsets[i + 1]]."""

    values: NDArray[Any]  # (m,)
    offsets: I64  # (n+1,)

    @classmethod
    def of(cls, column: pl.Series) -> Lists:
        """From a polars column of lists (or arrays) without nulls."""
        if isinstance(column.dtype, pl.Array):
            column = column.arr.to_list()
        lengths = column.list.len().to_numpy().astype(np.int64)
        values = column.explode(empty_as_null=False).to_numpy() if len(column) else np.zeros(0)
        return cls(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    @classmethod
    def square(cls, table: NDArray[Any]) -> Lists:
        """From an (n, k) array: every list has k entries."""
        n, k = table.shape
        return cls(table.reshape(-1), np.arange(n + 1, dtype=np.int64) * k)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def owner(self) -> I64:
        """(m,) the row of each entry."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def sums(self) -> F64:
        """(n,) sum of each list."""
        return np.bincount(self.owner, self.values, minlength=len(self)).astype(np.float64)

    def times(self, other: Lists) -> Lists:
        return Lists(self.values * other.values, self.offsets)

    def take(self, rows: I64) -> Lists:
        """Some of the lists, in the given order."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        at = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - self.offsets[rows], lengths)
        return Lists(self.values[at], offsets)

    def find(self, wanted: NDArray[Any]) -> I64:
        """(n,) the flat place of `wanted[i]` in list i, the first one; -1 where it is not there."""
        hits = np.flatnonzero(self.values == np.repeat(wanted, np.diff(self.offsets)))
        out = np.full(len(self), -1, np.int64)
        rows = self.owner[hits]
        out[rows[::-1]] = hits[::-1]
        return out
