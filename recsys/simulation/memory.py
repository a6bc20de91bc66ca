"""What each listener remembers between days: a bounded library of tracks with decaying traces, and satisfaction.

Rows are sorted by track, so that membership of (listener, track) pairs is one binary search.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.simulation.audio import F32
from recsys.simulation.behaviour import FAST_DAYS, FATIGUE_DAYS, SLOW_DAYS
from recsys.simulation.catalog import I32

EMPTY = np.int32(2**31 - 1)
"""Track number of an unused place; sorts last."""


@dataclass
class Memory:
    """n listeners x L places."""

    track: I32  # (n, L) sorted; EMPTY where unused
    slow: F32  # (n, L) decayed play counts, time constant SLOW_DAYS
    fast: F32  # FAST_DAYS
    fatigue: F32  # FATIGUE_DAYS
    satisfaction: F32  # (n,) running mean reward of a play
    gone: NDArray[np.bool_]  # (n,) churned
    lead: NDArray[np.int64]  # (n,) leading taste of the latest session; -1 before the first

    @classmethod
    def empty(cls, n: int, places: int) -> Memory:
        def zeros() -> F32:
            return np.zeros((n, places), np.float32)

        track = np.full((n, places), EMPTY, np.int32)
        calm = np.full(n, 0.4, np.float32)
        return cls(track, zeros(), zeros(), zeros(), calm, np.zeros(n, bool), np.full(n, -1))

    def find(self, rows: NDArray[np.integer], track: NDArray[np.integer]) -> NDArray[np.int64]:
        """Flat place of each (listener row, track) pair; -1 where unknown."""
        keys = self._keys()
        wanted = rows.astype(np.int64) << 32 | track
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[at] == wanted, at, -1)

    def _keys(self) -> NDArray[np.int64]:
        if self._cached is None:
            base = np.arange(len(self.track), dtype=np.int64)[:, None] << 32
            self._cached = (base | self.track).ravel()
        return self._cached

    _cached: NDArray[np.int64] | None = None

    def decay(self) -> None:
        """One night."""
        self.slow *= np.float32(np.exp(-1 / SLOW_DAYS))
        self.fast *= np.float32(np.exp(-1 / FAST_DAYS))
        self.fatigue *= np.float32(np.exp(-1 / FATIGUE_DAYS))

    def learn(self, rows: NDArray[np.int64], track: I32, gain: F32, tire: F32) -> None:
        """Adds a day's plays: `gain` to both familiarity traces (0 leaves a track unknown), `tire` to fatigue.

        A listener whose library is full forgets the tracks with the least activation.
        """
        pair, first = np.unique(rows << 32 | track, return_inverse=True)
        gains = np.bincount(first, gain, len(pair)).astype(np.float32)
        tires = np.bincount(first, tire, len(pair)).astype(np.float32)
        place = self.find(pair >> 32, pair & 0xFFFFFFFF)
        old = place >= 0
        for trace, more in ((self.slow, gains), (self.fast, gains), (self.fatigue, tires)):
            trace.ravel()[place[old]] += more[old]
        new = ~old & (gains > 0)
        if new.any():
            self._insert(pair[new] >> 32, (pair[new] & 0xFFFFFFFF).astype(np.int32), gains[new], tires[new])

    def _insert(self, rows: NDArray[np.int64], track: I32, gains: F32, tires: F32) -> None:
        """Rows come sorted by (listener, track); a listener takes at most the library's width at a time."""
        owners, start = np.unique(rows, return_index=True)
        nth = np.arange(len(rows)) - np.repeat(start, np.diff(np.append(start, len(rows))))
        width, m = self.track.shape[1], len(owners)
        keep = nth < width
        owner = np.searchsorted(owners, rows)[keep]
        columns: list[NDArray[Any]] = []
        for old, more in (
            (self.track, track), (self.slow, gains), (self.fast, gains), (self.fatigue, tires)
        ):  # fmt: skip
            fresh: NDArray[Any] = np.zeros((m, int(nth[keep].max()) + 1), old.dtype)
            if old is self.track:
                fresh += EMPTY
            fresh[owner, nth[keep]] = more[keep]
            columns.append(np.concatenate([old[owners], fresh], axis=1))
        activation = np.where(columns[0] == EMPTY, -1.0, columns[1] + 2 * columns[2])
        best = np.argsort(-activation, axis=1, kind="stable")[:, :width]
        by_track = np.argsort(np.take_along_axis(columns[0], best, axis=1), axis=1, kind="stable")
        order = np.take_along_axis(best, by_track, axis=1)
        for place, merged in zip((self.track, self.slow, self.fast, self.fatigue), columns, strict=True):
            place[owners] = np.take_along_axis(merged, order, axis=1)
        self._cached = None
