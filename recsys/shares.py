"""A list effect that holds groups (genres) to a share of a list: beyond it, a group's candidates come last.

Shares(group, {4: 0.35})      # group 4: 35% of the slots, spread evenly, rounded to the nearest number
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.slate import Floats, Shelf, Slot

LAST = 1e6
"""What a candidate beyond its group's share loses: it comes only where nothing else may."""


@dataclass(frozen=True)
class Shares:
    """The effect for n candidates of the given groups."""

    group: NDArray[np.integer]  # (n,)
    caps: Mapping[int, float]  # group -> greatest share of the list, 0..1

    def utility(self, utility: Floats, shelf: Shelf, slots: Sequence[Slot]) -> Floats:  # noqa: ARG002
        placed = [int(self.group[slot.row]) for slot in slots]
        over = [g for g, cap in self.caps.items() if placed.count(g) + 1 > cap * (len(slots) + 1) + 0.5]
        for group in over:
            utility = np.where(self.group == group, utility - LAST, utility)
        return utility

    def allowed(self, shelf: Shelf, slots: Sequence[Slot]) -> None:  # noqa: ARG002
        return None


def natural_shares(group: NDArray[np.integer], utility: Floats, slots: int) -> dict[int, float]:
    """Share of each group among the `slots` best candidates."""
    best = group[np.argsort(-utility, kind="stable")[:slots]]
    return {int(g): float(np.mean(best == g)) for g in np.unique(best)}
