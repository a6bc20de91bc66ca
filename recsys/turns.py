"""Time limits on a ladder at the price of one thread hand-over a request.

A turn is the whole way down the ladder, run by a thread of the crew; the thread of the request only waits for it.
The turn says which part it enters; where a part overruns its time, the waiting thread abandons the turn and begins
another one below that part, with what had been found by then. An abandoned turn ends at its next part.

Turns of one process run one at a time: they compute under one interpreter lock, and side by side each costs over
half as much again (measured: docs/figures.md). A turn that is abandoned gives its place to the next at once.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from recsys.breaker import Breaker, BreakerRule
from recsys.errors import RecsysError

T = TypeVar("T")


@dataclass(frozen=True)
class Budgets:
    """Milliseconds that one request may spend. The parts of a rung (sources, stages) have one of their own each."""

    rung: float = 400.0  # any rung but the last
    ladder: float = 800.0  # all rungs but the last together
    last: float = 2_000.0  # the last rung: below it there is no answer


class LeftOut(RecsysError):
    """A part that is left out for now because it kept overrunning its time."""


class Abandoned(BaseException):
    """Ends an abandoned turn; not an Exception, so that no failure rule takes it for one."""


@dataclass(frozen=True)
class Late:
    """Where a turn was abandoned."""

    part: str  # empty: between parts, or not begun
    ms: float  # how long that part had run
    rung: int  # the rung that it was at
    end: float  # when that rung has to be over, monotonic seconds


class Watch(Protocol):
    """What a ladder tells while it runs."""

    def limit(self, rung: int, end: float, part_ms: float | None) -> None:
        """A rung begins: it must be over at `end` (monotonic seconds), each of its parts within `part_ms`."""
        ...

    def enter(self, part: str) -> None:
        """A part begins, and the one before is over. Raises LeftOut where its breaker is open."""
        ...


class Unwatched:
    """Without limits: offline, replay, tests."""

    def limit(self, rung: int, end: float, part_ms: float | None) -> None:
        """Nothing is limited."""

    def enter(self, part: str) -> None:
        """Nothing is watched."""


class Guard:
    """Budgets, breakers and the crew of one loaded release: what makes a ladder keep its time."""

    def __init__(
        self, budgets: Budgets | None = None, rule: BreakerRule | None = None, crew: Crew | None = None
    ) -> None:
        self.budgets, self._rule = budgets or Budgets(), rule or BreakerRule()
        self._crew = crew or CREW
        self.breakers: dict[str, Breaker] = {}

    def breaker(self, part: str) -> Breaker:
        """The breaker of a part; it is made at the part's first overrun."""
        return self.breakers.setdefault(part, Breaker(self._rule))

    def begin(
        self, rung: int, part_ms: float | None, work: Callable[[Watch], T], last: bool = False
    ) -> Turn[T] | None:
        """Starts a turn at a rung, the `last` or another; None where no thread is free for it."""
        budget = self.budgets.last if last else self.budgets.rung
        turn = Turn(self, rung, budget, part_ms, work, None if last else self._crew.places)
        return turn if self._crew.submit(turn.run) else None

    def describe(self) -> dict[str, dict[str, int]]:
        """For status: each part that ever overran: whether it is left out now, how often it was, calls still hung."""
        return {
            part: {"open": int(b.open), "opened": b.opened, "hung": b.hung}
            for part, b in sorted(self.breakers.copy().items())
        }


class Turn(Generic[T]):
    """One run of `work` in a thread of the crew, and the waiting for it."""

    def __init__(
        self,
        guard: Guard,
        rung: int,
        rung_ms: float,
        part_ms: float | None,
        work: Callable[[Watch], T],
        places: threading.Semaphore | None,
    ) -> None:
        self._guard, self._work = guard, work
        self._places, self._placed = places, False
        self._lock, self._done = threading.Lock(), threading.Event()
        now = time.monotonic()
        self._rung, self._end = rung, now + rung_ms / 1000
        self._shortest = self._part_s = _seconds(part_ms)
        # Part, since, until, rung, its end: one assignment, so that the waiting thread reads it as a whole.
        self._at = ("", now, self._end, rung, self._end)
        self._abandoned = False
        self._blamed: Breaker | None = None  # of the part that this turn was abandoned in
        self._answer: T | None = None
        self._error: BaseException | None = None

    def limit(self, rung: int, end: float, part_ms: float | None) -> None:
        """See Watch.limit."""
        self._rung, self._end = rung, end
        self._part_s = _seconds(part_ms)
        self._leave()
        self._at = ("", time.monotonic(), end, rung, end)

    def enter(self, part: str) -> None:
        """See Watch.enter."""
        self._leave()
        if self._abandoned:
            raise Abandoned
        breaker = self._guard.breakers.get(part)
        if breaker is not None and not breaker.allow():
            self._at = ("", time.monotonic(), self._end, self._rung, self._end)
            raise LeftOut(f"{part}: {breaker.describe()}")
        now = time.monotonic()
        self._at = (part, now, min(now + self._part_s, self._end), self._rung, self._end)

    def run(self) -> None:
        """Does the work, once it has a place; called by a thread of the crew."""
        if self._places is not None:
            self._places.acquire()
        with self._lock:
            self._placed = True
        try:
            if self._abandoned:  # while it waited
                raise Abandoned
            self._answer = self._work(self)
            self._leave()
        except BaseException as error:  # handed to the waiting thread, or nobody waits any more
            self._error = error
        with self._lock:
            self._give_place()
            self._done.set()
            blamed = self._blamed
        if blamed is not None:
            blamed.returned()

    def wait(self) -> Late | None:
        """Waits until the work is done (None), or a part has overrun its time and the turn is abandoned."""
        while not self._done.wait(min(max(self._at[2] - time.monotonic(), 0.0), self._shortest)):
            with self._lock:
                part, since, until, rung, end = self._at
                now = time.monotonic()
                if self._done.is_set() or now < until:
                    continue
                self._abandoned = True
                self._give_place()
                if now - since >= self._part_s:  # not for the rung's end: then the part may be without blame
                    self._blamed = self._guard.breaker(part)
                    self._blamed.late()
                return Late(part, (now - since) * 1000, rung, end)
        return None

    def result(self) -> T:
        """What the work returned; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._answer  # type: ignore[return-value]  # set, as there was no error

    def _give_place(self) -> None:
        """Lets the next turn begin; the caller holds the lock."""
        if self._placed and self._places is not None:
            self._places.release()
        self._placed = False

    def _leave(self) -> None:
        """The part before came back in time."""
        if not self._abandoned and (breaker := self._guard.breakers.get(self._at[0])) is not None:
            breaker.ok()


def _seconds(ms: float | None) -> float:
    return threading.TIMEOUT_MAX if ms is None else ms / 1000


class Crew:
    """Daemon threads that take turns: started when needed, kept, never more than `most`.

    A ThreadPoolExecutor would wait for a hung thread when the process ends.

    Attributes:
        places: held by turns while they run (the last rung's hold none); `at_once` of them.
    """

    def __init__(self, most: int, at_once: int = 1) -> None:
        self._most, self._threads = most, 0
        self.places = threading.Semaphore(at_once)
        self._lock = threading.Lock()
        self._idle = threading.Semaphore(0)
        self._queue: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    @property
    def exhausted(self) -> bool:
        """Whether every thread is taken and no more may be started."""
        if self._threads < self._most or not self._idle.acquire(blocking=False):
            return self._threads >= self._most
        self._idle.release()
        return False

    def submit(self, work: Callable[[], None]) -> bool:
        """Hands work to an idle thread or a new one; False where all are taken."""
        if not self._idle.acquire(blocking=False):
            with self._lock:
                if self._threads >= self._most:
                    return False
                self._threads += 1
            threading.Thread(target=self._serve, name="turn", daemon=True).start()
        self._queue.put(work)
        return True

    def _serve(self) -> None:
        while True:
            self._queue.get()()
            self._idle.release()


CREW = Crew(64)
"""The threads of this process; those that hang stay out of it until they come back."""
