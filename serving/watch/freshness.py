"""How long events take from their receipt to the listener states: a histogram of seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np

BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Freshness:
    """Counts of event -> state times; safe for several threads."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._counts = np.zeros(len(BOUNDS) + 1, np.int64)
        self._sum, self._newest = 0.0, 0.0

    def folded(self, received: Sequence[datetime]) -> None:
        """Notes that events received at these times are in the states now."""
        took = self._clock() - np.array([r.timestamp() for r in received])
        took = np.maximum(took, 0.0)  # the clocks of two machines differ
        counts = np.bincount(np.searchsorted(BOUNDS, took, side="left"), minlength=len(BOUNDS) + 1)
        with self._lock:
            self._counts += counts
            self._sum += float(took.sum())
            self._newest = float(took.min())

    def report(self) -> dict[str, Any]:
        """`{"seconds": of the newest event folded last, "sum", "count", "buckets": [[bound, cumulative], ...]}`."""
        with self._lock:
            cumulative = np.cumsum(self._counts).tolist()
            told = {"seconds": self._newest, "sum": self._sum, "count": cumulative[-1]}
        return told | {"buckets": [[b, c] for b, c in zip(BOUNDS, cumulative, strict=False)]}
