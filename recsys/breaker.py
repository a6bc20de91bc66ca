"""A circuit breaker: a component that keeps overrunning its time is left out for a while, then tried again.

if breaker.allow():
    ...                      # then breaker.ok(), or breaker.late() where it did not come back in time

It counts overruns only. What fails at once costs nothing to try, and a request that makes a stage raise must not
take the stage away from everybody else. Source: Nygard, Release It!, 2007.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class BreakerRule:
    """When a breaker opens, and how long it stays open."""

    window: int = 10  # outcomes that are looked at; those before the first overrun are not kept
    trips: int = 3  # opens at so many overruns in the window, if they are at least half of it
    seconds: float = 5.0  # until the first probe; doubled after each probe that overruns
    longest: float = 60.0
    hung: int = 8  # no probe while so many earlier calls have still not come back


class Breaker:
    """Guards one component; safe for several threads. The clock is monotonic seconds."""

    def __init__(self, rule: BreakerRule, clock: Callable[[], float] = time.monotonic) -> None:
        self._rule, self._clock = rule, clock
        self._lock = threading.Lock()
        self._recent: deque[bool] = deque(maxlen=rule.window)  # True: late
        self._wait = rule.seconds
        self._retry_at: float | None = None  # None: closed
        self._probing = False
        self.opened = 0  # times
        self.hung = 0  # calls that were given up and have not come back

    @property
    def open(self) -> bool:
        return self._retry_at is not None

    def allow(self) -> bool:
        """Whether the component may be called now; True while open only for one probe at a time."""
        if self._retry_at is None:
            return True
        with self._lock:
            now = self._clock()
            if self._retry_at is None or now < self._retry_at or self.hung >= self._rule.hung:
                return self._retry_at is None
            self._retry_at, self._probing = now + self._wait, True
            return True

    def ok(self) -> None:
        """The component came back in time; a probe that does closes the breaker."""
        if not self._recent and self._retry_at is None:
            return  # the usual case costs nothing
        with self._lock:
            self._recent.append(False)
            if self._retry_at is not None:
                self._retry_at, self._wait, self._probing = None, self._rule.seconds, False
                self._recent.clear()
            elif not any(self._recent):
                self._recent.clear()

    def late(self, gone: bool = True) -> None:
        """The component overran its time; `gone`: its call has been given up and is still running."""
        with self._lock:
            self._recent.append(True)
            self.hung += gone
            late = sum(self._recent)
            if self._probing:  # calls that were under way when it opened say nothing new
                self._wait, self._probing = min(2 * self._wait, self._rule.longest), False
                self._retry_at = self._clock() + self._wait
            elif self._retry_at is None and late >= self._rule.trips and 2 * late >= len(self._recent):
                self._retry_at = self._clock() + self._wait
                self.opened += 1

    def returned(self) -> None:
        """A call that had been given up has come back after all."""
        with self._lock:
            self.hung -= 1

    def describe(self) -> str:
        """In words, for a Decision: why the component was left out."""
        left = max((self._retry_at or 0.0) - self._clock(), 0.0)
        return f"left out after overrunning its time; tried again in {left:.0f} s"
