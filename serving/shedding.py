"""Load shedding before collapse: few recommendations run at once, the others wait in a bounded queue.

How long requests wait there says how much of the ladder the next one may use: after CoDel (Nichols and Jacobson,
Controlling Queue Delay, 2012), a queue that stands for a whole interval means overload, one that drains is a burst.
Only where the queue is full is a request refused. The ASGI layer over it is serving/api/shed.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from recsys.pipeline import Effort
from serving.settings import SheddingSettings


@dataclass(frozen=True)
class Admitted:
    """What the request that is being answered may use, and why not more."""

    effort: Effort = Effort.FULL
    why: str = ""


ADMITTED: ContextVar[Admitted | None] = ContextVar("admitted", default=None)
"""Of the running request; the server's thread pool hands it on to the handler's thread. None: it came another way."""


class Admission:
    """Who runs, who waits, and how much each may use. Lives on the event loop."""

    def __init__(self, settings: SheddingSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings, self._clock = settings, clock
        # A server has one loop; tests call an app from several, and a semaphore belongs to one.
        self._slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
        self._least, self._standing, self._since = float("inf"), 0.0, clock()
        self.waiting = 0

    async def enter(self) -> tuple[Admitted, float] | None:
        """Waits for a slot: what the request may use, and the seconds waited; None where the queue is full."""
        if self.waiting >= self.settings.queue:
            return None
        begin = self._clock()
        self.waiting += 1
        try:
            await self._own().acquire()
        finally:
            self.waiting -= 1
        delay = self._clock() - begin
        return self.admit(delay), delay

    def leave(self) -> None:
        """The request is answered."""
        self._own().release()

    def _own(self) -> asyncio.Semaphore:
        """The slots of the running loop."""
        loop = asyncio.get_running_loop()
        return self._slots.setdefault(loop, asyncio.Semaphore(self.settings.concurrency))

    def admit(self, delay: float) -> Admitted:
        """What a request may use that waited `delay` seconds, given how long those before it waited."""
        self._note(delay)
        ms, standing = delay * 1000, self._standing * 1000
        if ms > self.settings.least_ms:
            return Admitted(Effort.LEAST, f"shed: waited {ms:.0f} ms")
        if ms > self.settings.light_ms and standing > self.settings.light_ms:
            return Admitted(Effort.LIGHT, f"shed: waited {ms:.0f} ms in a standing queue")
        return Admitted()

    def _note(self, delay: float) -> None:
        """Keeps the shortest wait of the last whole interval: the part of the queue that never drains."""
        now, interval = self._clock(), self.settings.interval_ms / 1000
        if now - self._since > interval:
            self._standing = self._least if now - self._since < 2 * interval else 0.0
            self._least, self._since = float("inf"), now
        self._least = min(self._least, delay)
