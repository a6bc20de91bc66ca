"""The newest decisions of one process, by request id: so that their records can be shown at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from recsys.types import Decision

KEPT = 2_000


class Remembered:
    """Decisions in memory, the oldest dropped first; safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._decisions: OrderedDict[str, Decision] = OrderedDict()

    def add(self, decided: Sequence[Decision]) -> None:
        with self._lock:
            self._decisions |= {decision.request_id: decision for decision in decided}
            while len(self._decisions) > KEPT:
                self._decisions.popitem(last=False)

    def get(self, request_id: str) -> Decision | None:
        with self._lock:
            return self._decisions.get(request_id)

    def forget(self, gone: Callable[[str], bool]) -> None:
        """Drops the decisions of listeners that `gone` says yes to."""
        with self._lock:
            for request_id in [r for r, d in self._decisions.items() if gone(d.user_id)]:
                del self._decisions[request_id]

    def ids(self) -> list[str]:
        """Request ids, oldest first."""
        with self._lock:
            return list(self._decisions)

    def clear(self) -> None:
        with self._lock:
            self._decisions.clear()
