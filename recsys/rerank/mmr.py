"""Maximal marginal relevance: utility less likeness to the nearest track placed (Carbonell & Goldstein, SIGIR 1998)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recsys.rerank.prefix import Follower, placed
from recsys.slate import Floats, Shelf, Slot


def clean(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """Vectors (n, d) with values that are not finite set to 0."""
    return vectors if np.isfinite(vectors).all() else np.nan_to_num(vectors, nan=0.0, posinf=0.0, neginf=0.0)


def likeness(vectors: NDArray[np.floating], row: int) -> NDArray[np.floating]:
    """(n,) inner products with one of the rows; without BLAS, whose last digits depend on its threads."""
    products: NDArray[np.floating] = np.einsum("ij,j->i", vectors, vectors[row])
    return products


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
        np.maximum(self._nearest, likeness(self._vectors, row), out=self._nearest)

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
