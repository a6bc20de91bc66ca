"""Following the placed rows of one shelf, one at a time, whichever they were."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from recsys.slate import Floats, Shelf, Slot

SUNK = -1e30
"""Utilities below this stand for a score that was not finite (`recsys.pipeline.sink`); they carry no scale."""


def placed(shelf: Shelf, slots: Sequence[Slot]) -> list[int]:
    """Rows of the slots of a shelf that is being filled, in order."""
    return [slot.row for slot in slots if slot.shelf == shelf.name]


def spread(utility: Floats) -> float:
    """Standard deviation of a request's utilities (n,), the unit in which effects are weighed; 0 for one candidate.

    Columns differ in scale (a reward, a log-odds, an inner product); in this unit one weight means the same for all.
    """
    real = utility[(utility > SUNK) & (utility < -SUNK)]
    return float(real.std()) if len(real) > 1 else 0.0


class Follower(ABC):
    """What depends on the rows placed on a shelf, updated row by row and begun again when the rows are others."""

    def __init__(self) -> None:
        self._rows: list[int] = []

    def follow(self, rows: list[int]) -> None:
        """Brings the state to exactly these rows; costs one `place` for each row more than before."""
        if rows[: len(self._rows)] != self._rows:
            self._rows = []
            self.reset()
        for row in rows[len(self._rows) :]:
            self.place(row)
            self._rows.append(row)

    @abstractmethod
    def reset(self) -> None:
        """Back to an empty shelf."""

    @abstractmethod
    def place(self, row: int) -> None:
        """One candidate more on the shelf."""
