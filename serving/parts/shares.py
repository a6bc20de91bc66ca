"""A list effect that holds floors: at least a share of a shelf's slots for a kind of track, as long as there are any.

Built for one problem; see recsys.slate.ListEffect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.slate import Shelf, Slot

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
BEHIND = 1e3
"""Utilities that a track of the wrong kind loses where a floor is due: more than any score differs."""


@dataclass(frozen=True)
class Floors:
    """Before each draw: a kind that has fewer of the shelf's slots than its share comes first.

    It moves utilities and masks nothing, so a kind that has run out (or is held back by other rules) leaves its slots
    to the others, and exploration reaches every allowed track.
    """

    kinds: tuple[tuple[Bools, float], ...]  # (n,) which candidates are of it; its share

    def utility(self, utility: Floats, shelf: Shelf, slots: Sequence[Slot]) -> Floats:
        """(n,) utilities with the wrong kinds far behind where a floor is due."""
        placed = list[int]()
        for slot in reversed(slots):  # shelves are filled one after the other
            if slot.shelf != shelf.name:
                break
            placed.append(slot.row)
        for kind, share in self.kinds:
            if kind[placed].sum() < np.floor(share * (len(placed) + 1)):
                return np.where(kind, utility, utility - BEHIND)
        return utility

    def allowed(self, shelf: Shelf, slots: Sequence[Slot]) -> Bools | None:  # noqa: ARG002
        """No objection."""
        return None
