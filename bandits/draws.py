"""Posterior draws as deviations from the mean, and how often each candidate is the best under them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recsys.slate import sunk

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
_CHUNK = 100_000  # values looked at together: what a cache holds
_POOL = 32  # candidates from which on leaving out the hopeless pays


class Draws:
    """Deviations (m, n, k) from the values of n decisions among k candidates."""

    def __init__(self, values: Floats) -> None:
        self.values = values

    @cached_property
    def most(self) -> Floats:
        """(n, k) highest deviation of each."""
        return np.asarray(self.values.max(0))

    @cached_property
    def least(self) -> Floats:
        """(n, k) lowest deviation of each."""
        return np.asarray(self.values.min(0))


def best(value: Floats, allowed: Bools) -> Floats:
    """(..., k) all probability on the best allowed value, shared where several are."""
    masked = np.where(allowed, value, -np.inf)
    hits = masked == masked.max(-1, keepdims=True)
    return np.asarray(hits / hits.sum(-1, keepdims=True))


def won(value: Floats, allowed: Bools, draws: Draws | None) -> Floats:
    """(n, k) the share of the draws under which each is the best; memory is bounded by rows."""
    value = sunk(value)
    if draws is None:
        return best(value, allowed)
    m, n, k = draws.values.shape
    if n == 1 and k >= _POOL:
        return _won_in_pool(value, allowed, draws)
    rows = max(_CHUNK // (m * k), 1)
    parts = [slice(i, i + rows) for i in range(0, n, rows)]
    return np.concatenate([best(value[p] + draws.values[:, p], allowed[p]).mean(0) for p in parts])


def _won_in_pool(value: Floats, allowed: Bools, draws: Draws) -> Floats:
    """One decision among many: who is below some other's lowest draw even at their highest is never the best."""
    floor = (value + draws.least)[allowed].max()
    columns = np.flatnonzero(allowed[0] & (value[0] + draws.most[0] >= floor))
    near = value[:, columns] + draws.values[:, 0, columns]
    out = np.zeros_like(value)
    out[0, columns] = best(near, np.ones(len(columns), bool)).mean(0)
    return out
