"""Floors: at least a share of a shelf's slots for some kinds of track (new, rare), under a bound on what that costs.

A slot left alone is worth its lift: the best allowed utility above the mean of what is allowed, that is, above a track
drawn at random. A slot given to a floor loses the best allowed utility minus that of the track drawn. The sum of losses
stays at or below `bound` times the sum of the lifts of the slots left alone before, whatever is drawn. With artist caps
alone (a matroid) that sum bounds what the whole shelf loses against the one without floors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from recsys.rerank.prefix import SUNK, placed
from recsys.slate import Bools, Floats, Shelf, Slot


@dataclass(frozen=True)
class Floor:
    """At least `share` of a shelf's slots for the candidates of `member`."""

    name: str
    member: Bools  # (n,)
    share: float  # 0..1

    def needed(self, size: int) -> int:
        """Slots of a shelf of `size` that are this floor's."""
        return math.ceil(self.share * size - 1e-9)


class _Turn(NamedTuple):
    """One slot as it was before its draw."""

    utility: Floats
    best: float
    lift: float  # 0 for a slot given to a floor
    forced: bool


class Floors:
    """A quota for recsys.slate: gives slots to floors as late as possible, where the best candidates are used up.

    A slot is given when no more slots are left than floors miss; then only missing kinds within the slot's part of
    what may be lost are allowed. Where there are none the slot stays free and the floor may end short.

    Args:
        floors: in any order; a track may count for several.
        bound: part of the free slots' lift that may be lost.
        shelves: names of the shelves concerned; each has floors and a bound of its own.
    """

    def __init__(
        self, floors: Sequence[Floor], bound: float, shelves: Sequence[str] = ("made_for_you",)
    ) -> None:
        self._floors, self._bound, self._shelves = tuple(floors), bound, frozenset(shelves)
        self._turns: list[_Turn] = []

    def narrow(self, utility: Floats, allowed: Bools, shelf: Shelf, slots: Sequence[Slot]) -> Bools:
        """(n,) `allowed`, or those of it that a floor needs now."""
        if shelf.name not in self._shelves:
            return allowed
        rows = placed(shelf, slots)
        del self._turns[len(rows) :]
        open_ = utility[allowed]
        best = float(open_.max())
        mask = self._forced(utility, allowed, shelf, rows, best)
        self._turns.append(
            _Turn(utility, best, 0.0 if mask is not None else _lift(open_, best), mask is not None)
        )
        return allowed if mask is None else mask

    def _forced(
        self, utility: Floats, allowed: Bools, shelf: Shelf, rows: list[int], best: float
    ) -> Bools | None:
        """The candidates that a floor needs now and the bound admits; None for a free slot."""
        missing = [(f, short) for f in self._floors if (short := _short(f, shelf.size, rows)) > 0]
        left = shelf.size - len(rows)
        if left > sum(short for _, short in missing):
            return None
        open_ = [(allowed & floor.member, short) for floor, short in missing]
        demand = sum(min(short, int(np.count_nonzero(mask))) for mask, short in open_)
        if not demand or left > demand:
            return None
        mask = np.logical_or.reduce([mask for mask, _ in open_])
        mask &= utility >= best - max(self._to_lose(rows), 0.0) / demand
        return mask if mask.any() else None

    def _to_lose(self, rows: list[int]) -> float:
        """What may be lost from here on, along the rows placed."""
        return self.allowance(rows) - self.loss(rows)

    def allowance(self, rows: Sequence[int]) -> float:
        """The bound along the rows placed so far, in units of utility."""
        return self._bound * sum(turn.lift for turn in self._turns[: len(rows)])

    def loss(self, rows: Sequence[int]) -> float:
        """What the slots given to floors have lost so far, in units of utility."""
        turns = zip(self._turns, rows, strict=False)
        return sum(t.best - float(t.utility[row]) for t, row in turns if t.forced)

    def short(self, shelf: Shelf, slots: Sequence[Slot]) -> dict[str, int]:
        """Slots by which each floor of a filled shelf fell short; empty where all were met."""
        if shelf.name not in self._shelves:
            return {}
        rows = placed(shelf, slots)
        counts = {floor.name: _short(floor, len(rows), rows) for floor in self._floors}
        return {name: count for name, count in counts.items() if count}


def _lift(open_: Floats, best: float) -> float:
    """The best of the allowed utilities above their mean, those of no score left out."""
    mean = float(open_.sum()) / len(open_)
    if mean > SUNK:
        return best - mean
    real = open_[open_ > SUNK]
    return best - float(real.mean()) if len(real) else 0.0


def _short(floor: Floor, size: int, rows: list[int]) -> int:
    return max(0, floor.needed(size) - sum(map(bool, map(floor.member.item, rows))))
