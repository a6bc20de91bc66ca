"""Calibration: a shelf in the proportions of what its listener plays (Steck, RecSys 2018).

Steck's cost is KL(p || q̃), p the listener's mix of genres, q the shelf's, q̃ = (1 - α) q + α p. With q counted over
the shelf's full size from the first slot on, the cost is a sum of one convex function of each genre's count, so
taking the greatest gain slot by slot ends at the least cost that any shelf reaches (Fox, Operations Research 1966).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recsys.plays import Outcome
from recsys.rerank.prefix import Follower, placed
from recsys.slate import Floats, Shelf, Slot

WORTH = np.zeros(len(Outcome))
WORTH[Outcome.FINISH], WORTH[Outcome.PARTIAL] = 1.0, 0.5
"""What a play says of a taste for its genre; a skip says nothing."""


def genre_mix(
    genre: NDArray[np.integer],
    outcome: NDArray[np.integer],
    offered: NDArray[np.integer],
    genres: int,
    half_life: float = 50.0,
    prior_plays: float = 5.0,
) -> Floats | None:
    """The listener's mix p over genres, drawn towards what is on offer as far as plays are few.

    Args:
        genre: (m,) genre of each play, oldest first; -1 unknown. outcome: (m,) recsys.plays.Outcome.
        offered: (n,) genre of each candidate; -1 unknown. half_life: in plays.
        prior_plays: how many plays the mix on offer counts for.

    Returns:
        (genres,) probabilities that sum to 1, or None where no play tells anything: then there is nothing to match.
    """
    known = genre >= 0
    age = np.arange(len(genre) - 1, -1, -1)
    weight = (0.5 ** (age / half_life) * WORTH[outcome])[known]
    if not weight.sum() > 0:
        return None
    mix = np.bincount(genre[known], weight, minlength=genres)
    rest = np.bincount(offered[offered >= 0], minlength=genres).astype(np.float64)
    if rest.sum() > 0:
        mix = mix + prior_plays * rest / rest.sum()
    return np.asarray(mix / mix.sum(), np.float64)


def divergence(mix: Floats, counts: NDArray[np.integer], size: int, smoothing: float = 0.01) -> float:
    """KL(p || q̃) in nats of a shelf with `counts` (G,) tracks of each genre in `size` slots; 0: a perfect match."""
    blended = (1 - smoothing) * np.asarray(counts, np.float64) / size + smoothing * mix
    p = mix > 0
    return float(mix[p] @ np.log(mix[p] / blended[p]))


class Calibration(Follower):
    """utility_i + weight · the nats by which track i brings KL(p || q̃) down. O(n + genres) a slot.

    A track of unknown genre is taken at the mean of that gain under the listener's mix, and moves no count.

    Args:
        genre: (n,) genre of each candidate; -1 unknown. mix: (G,) of the listener; None: nothing known, no effect.
        weight: utility that a nat is worth. smoothing: α. shelves: names of the shelves concerned.
    """

    def __init__(
        self,
        genre: NDArray[np.integer],
        mix: Floats | None,
        weight: float,
        smoothing: float = 0.01,
        shelves: Sequence[str] = ("made_for_you",),
    ) -> None:
        super().__init__()
        self._genre, self._mix, self._weight, self._smoothing = genre, mix, weight, smoothing
        self._shelves, self._size = frozenset(shelves), 1
        self.reset()

    def reset(self) -> None:
        mix = np.zeros(0) if self._mix is None else self._mix
        self._counts = [0] * len(mix)
        self._gain = np.zeros(
            len(mix) + 1
        )  # of one track more of each genre; the last one: of an unknown genre
        for genre in np.flatnonzero(mix).tolist():
            self._gain[genre] = self._next_gain(mix, genre)
        self._gain[-1] = mix @ self._gain[:-1]

    def place(self, row: int) -> None:
        genre = int(self._genre[row])
        if genre >= 0 and self._mix is not None and self._mix[genre] > 0:
            self._counts[genre] += 1
            self._gain[genre] = self._next_gain(self._mix, genre)
            self._gain[-1] = self._mix @ self._gain[:-1]

    def _next_gain(self, mix: Floats, genre: int) -> float:
        """Fall of the divergence by one track more of a genre of the mix."""
        step = (1 - self._smoothing) / self._size
        share = float(mix[genre])
        return share * math.log1p(step / (step * self._counts[genre] + self._smoothing * share))

    def utility(self, utility: Floats, shelf: Shelf, slots: Sequence[Slot]) -> Floats:
        """(n,) utilities with each candidate's gain."""
        if self._mix is None or shelf.name not in self._shelves:
            return utility
        if shelf.size != self._size:
            self._size, self._rows = shelf.size, []
            self.reset()
        self.follow(placed(shelf, slots))
        gain: Floats = self._gain[self._genre]
        return utility + self._weight * gain

    def allowed(self, shelf: Shelf, slots: Sequence[Slot]) -> None:  # noqa: ARG002
        """No objection to any candidate."""
        return
