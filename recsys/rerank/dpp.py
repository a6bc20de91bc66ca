"""Determinantal point process: what a track adds to the volume of the shelf (Kulesza & Taskar 2012).

The kernel of Chen, Zhang & Zhou (NeurIPS 2018): L = diag(q) S diag(q), q = exp(utility / 2w), so that
w log det L_Y = sum of utilities + w log det S_Y. Their fast greedy MAP is a running Cholesky factor; here the gain of
each next track is its utility for the slot, and the factor follows whatever was really placed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recsys.rerank.mmr import clean, likeness
from recsys.rerank.prefix import Follower, placed
from recsys.slate import Floats, Shelf, Slot

JITTER = 1e-3
"""S = (1 - JITTER) · cosines + JITTER · identity: no track adds less than log JITTER nats, a twin of one included."""


def kernel(vectors: NDArray[np.floating]) -> Floats:
    """(n, n) likeness matrix S of unit vectors (n, d): positive definite, ones on its diagonal."""
    own = clean(vectors).astype(np.float64)
    out: Floats = (1 - JITTER) * (own @ own.T)
    np.fill_diagonal(out, 1.0)
    return out


class Dpp(Follower):
    """utility_i + weight · log(det S_{Y + i} / det S_Y), Y the rows placed. O(n (d + |Y|)) a slot.

    Args:
        vectors: (n, d) of length 1, or 0 where nothing is known. weight: utility that a nat of volume is worth
            ((1 - θ) / θ in the paper's mix).
        shelves: names of the shelves concerned; each is looked at alone.
    """

    def __init__(
        self, vectors: NDArray[np.floating], weight: float, shelves: Sequence[str] = ("made_for_you",)
    ) -> None:
        super().__init__()
        self._vectors, self._weight, self._shelves = clean(vectors), weight, frozenset(shelves)
        self.reset()

    def reset(self) -> None:
        n = len(self._vectors)
        self._factor = np.empty((16, n))  # row t: the t-th placed track; column i: c_i of the paper
        self._used = 0
        self._left = np.ones(n)  # d_i², what of each track the placed ones do not span

    def place(self, row: int) -> None:
        if self._used == len(self._factor):
            self._factor = np.concatenate([self._factor, np.empty_like(self._factor)])
        before = self._factor[: self._used]
        step = np.multiply(likeness(self._vectors, row), 1 - JITTER, dtype=np.float64)
        step[row] = 1.0
        step -= np.einsum("ji,j->i", before, before[:, row])
        step /= math.sqrt(self._left[row])
        self._factor[self._used] = step
        self._used += 1
        self._left = np.maximum(self._left - step * step, JITTER)

    def utility(self, utility: Floats, shelf: Shelf, slots: Sequence[Slot]) -> Floats:
        """(n,) gains; the utility itself for a shelf's first slot."""
        rows = placed(shelf, slots) if shelf.name in self._shelves else []
        if not rows:
            return utility
        self.follow(rows)
        return utility + self._weight * np.log(self._left)

    def allowed(self, shelf: Shelf, slots: Sequence[Slot]) -> None:  # noqa: ARG002
        """No objection to any candidate."""
        return
