"""Maximal marginal relevance: utility less likeness to the nearest track placed (Carbonell & Goldstein, SIGIR 1998)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recsys.rerank.prefix import Follower, placed
from recsys.slate import Floats, Shelf, Slot


def clean(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Vectors (n, d) with values that are not finite set to 0: like no other track."""
    return np.nan_to_num(np.asarray(vectors, np.float64), nan=0.0, posinf=0.0, neginf=0.0)


class Mmr(Follower):
    """utility_i - weight · max over placed j of cos(i, j).

    The paper's λ · relevance - (1 - λ) · likeness, divided by λ: weight = (1 - λ) / λ. O(n d) a slot.

    Args:
        vectors: (n, d) of length 1, or 0 where nothing is known. weight: utility that a cosine of 1 costs.
        shelves: names of the shelves concerned; each is looked at alone.
    """

    def __init__(
        self, vectors: NDArray[np.floating], weight: float, shelves: Sequence[str] = ("made_for_you",)
    ) -> None:
        super().__init__()
        self._vectors, self._weight, self._shelves = clean(vectors), weight, frozenset(shelves)
        self.reset()

    def reset(self) -> None:
        self._nearest = np.full(len(self._vectors), -1.0)

    def place(self, row: int) -> None:
        likeness = np.einsum("ij,j->i", self._vectors, self._vectors[row])
        np.maximum(self._nearest, likeness, out=self._nearest)

    def utility(self, utility: Floats, shelf: Shelf, slots: Sequence[Slot]) -> Floats:
        """(n,) marginal relevance; the utility itself for a shelf's first slot."""
        rows = placed(shelf, slots) if shelf.name in self._shelves else []
        if not rows:
            return utility
        self.follow(rows)
        return utility - self._weight * self._nearest

    def allowed(self, shelf: Shelf, slots: Sequence[Slot]) -> None:  # noqa: ARG002
        """No objection to any candidate."""
        return
