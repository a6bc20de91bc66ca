"""The newest events of one process, as objects: whoever follows the log closely need not decode them again."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Sequence

from recsys.events import Event
from recsys.ports import Record
from recsys.schemas import EventKind

KEPT = 8_192
_LARGE = 2_000  # characters of payload; of larger events only the kind is kept


class Recent:
    """A run of events without gaps that ends at the log's end; safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first = 0
        self._events: deque[Event | EventKind] = deque()

    def add(self, offset: int, events: Sequence[Event]) -> None:
        """Takes in events that became durable at `offset` and after; a gap before them drops what was kept."""
        with self._lock:
            if offset != self._first + len(self._events):
                self._events.clear()
                self._first = offset
            large = ((e.payload is not None and len(e.payload) > _LARGE) for e in events)
            self._events.extend(e.kind if big else e for e, big in zip(events, large, strict=True))
            while len(self._events) > KEPT:
                self._events.popleft()
                self._first += 1

    def clear(self) -> None:
        """Keeps nothing of what came until now (somebody was erased)."""
        with self._lock:
            self._first += len(self._events)
            self._events.clear()

    def read(self, offset: int, stop: int, skip: Collection[EventKind]) -> list[Record] | None:
        """Records offset..stop-1 without the kinds to skip; None where not all of them are kept."""
        with self._lock:
            if not self._first <= offset <= stop <= self._first + len(self._events):
                return None
            there = [self._events[i - self._first] for i in range(offset, stop)]
        records = [Record(at, e) for at, e in enumerate(there, offset) if isinstance(e, Event)]
        kinds = {e for e in there if isinstance(e, EventKind)}
        return [r for r in records if r.event.kind not in skip] if kinds <= set(skip) else None
