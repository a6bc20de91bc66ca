"""Sufficient statistics of one arm: count, means, products of deviations, third powers; merged over chunks exactly.

Moments.of(("minutes", "minutes.pre"), values).merge(other)     # values: (units, columns)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
ROUNDING = 8 * float(np.finfo(np.float64).eps)
"""Standard deviations below this share of the mean are rounding."""
BLOCK = 32_768  # rows of one step: its copy stays in the processor's cache


@dataclass(frozen=True)
class Moments:
    """Of k columns over n units. Deviations, not raw sums of squares: those cancel where means are far from 0."""

    names: tuple[str, ...]
    n: int
    mean: F64  # (k,)
    cross: F64  # (k, k) sums of products of deviations from the means
    third: F64  # (k,) sums of third powers of deviations

    @classmethod
    def empty(cls, names: Sequence[str]) -> Moments:
        k = len(names)
        return cls(tuple(names), 0, np.zeros(k), np.zeros((k, k)), np.zeros(k))

    @classmethod
    def of(cls, names: Sequence[str], values: F64, block: int = BLOCK) -> Moments:
        """Moments of (n, k) values, in blocks of rows."""
        parts = [_of_block(tuple(names), values[i : i + block]) for i in range(0, len(values), block)]
        return reduce(Moments.merge, parts, cls.empty(names))

    def merge(self, other: Moments) -> Moments:
        """Moments of both sets of units together (Chan, Golub & LeVeque 1983; third powers: Pébay 2008).

        Raises:
            ValueError: the columns differ.
        """
        if self.names != other.names:
            raise ValueError("only moments of the same columns can be merged")
        if not self.n or not other.n:
            return self if self.n else other
        n, gap = self.n + other.n, other.mean - self.mean
        share = self.n * other.n / n
        third = self.third + other.third + gap**3 * share * (self.n - other.n) / n
        third = third + 3 * gap * (self.n * np.diag(other.cross) - other.n * np.diag(self.cross)) / n
        cross = self.cross + other.cross + share * np.outer(gap, gap)
        return Moments(self.names, n, self.mean + gap * (other.n / n), cross, third)

    def index(self, names: Sequence[str]) -> list[int]:
        return [self.names.index(name) for name in names]

    def take(self, names: Sequence[str]) -> Moments:
        """The moments of some of the columns."""
        at = self.index(names)
        return Moments(tuple(names), self.n, self.mean[at], self.cross[np.ix_(at, at)], self.third[at])

    @property
    def covariance(self) -> F64:
        """(k, k), unbiased; NaN with fewer than two units. Spread that is only the rounding of a constant is 0."""
        if self.n < 2:
            return np.full_like(self.cross, np.nan)
        varies = np.diag(self.cross) > self.n * (ROUNDING * self.mean) ** 2
        return np.where(np.outer(varies, varies), self.cross / (self.n - 1), 0.0)

    def skewness(self, name: str) -> float:
        """The sample skewness of a column; 0 for a constant."""
        i = self.names.index(name)
        square = self.cross[i, i]
        if self.n < 2 or square <= self.n * (ROUNDING * self.mean[i]) ** 2:
            return 0.0
        return float(self.third[i] / self.n / (square / self.n) ** 1.5)


def _of_block(names: tuple[str, ...], values: F64) -> Moments:
    mean = values.mean(0)
    off = values - mean
    drift = off.mean(0)  # the rounding of the mean: a plain sum down a long column loses digits
    mean += drift
    off -= drift
    return Moments(names, len(values), mean, off.T @ off, np.einsum("nk,nk,nk->k", off, off, off))
