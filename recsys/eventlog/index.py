"""Which event ids a log already holds, over a horizon: 16 bytes an event in sorted runs, one per segment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.eventlog.frame import U64


@dataclass(frozen=True)
class _Run:
    keys: U64  # sorted
    bodies: U64
    newest_ms: int


class IdIndex:
    """64-bit digests of event ids -> 64-bit digests of bodies; old segments are forgotten as a whole."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}
        self._open_newest = 0
        self._runs: list[_Run] = []

    def __len__(self) -> int:
        return len(self._open) + sum(len(run.keys) for run in self._runs)

    def add(self, keys: U64, bodies: U64, newest_ms: int) -> None:
        self._open.update(zip(keys.tolist(), bodies.tolist(), strict=True))
        self._open_newest = max(self._open_newest, newest_ms)

    def find(self, keys: U64) -> tuple[U64, NDArray[np.bool_]]:
        """Body digests (0 where unknown) and the mask of known ids, both of the shape of `keys`."""
        bodies = np.zeros(len(keys), np.uint64)
        known = np.zeros(len(keys), bool)
        for run in self._runs:
            at = np.minimum(np.searchsorted(run.keys, keys), len(run.keys) - 1)
            hit = run.keys[at] == keys
            bodies[hit], known[hit] = run.bodies[at[hit]], True
        for i, key in enumerate(keys.tolist()):
            if key in self._open:
                bodies[i], known[i] = self._open[key], True
        return bodies, known

    def seal(self, horizon_ms: int, horizon_events: int) -> None:
        """Closes the current run, and forgets runs that lie wholly beyond the horizon."""
        if self._open:
            keys = np.fromiter(self._open.keys(), np.uint64, len(self._open))
            bodies = np.fromiter(self._open.values(), np.uint64, len(self._open))
            order = np.argsort(keys)
            self._runs.append(_Run(keys[order], bodies[order], self._open_newest))
            self._open = {}
        oldest = self._open_newest - horizon_ms
        self._runs = [run for run in self._runs if run.newest_ms >= oldest]
        while len(self._runs) > 1 and len(self) - len(self._runs[0].keys) >= horizon_events:
            self._runs.pop(0)
