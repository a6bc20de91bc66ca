"""An online store as the request path needs it: it answers within its time or says at once that it cannot.

store = SteadyStore(open_store(home, patience=0.1))
store.get(user_id)        # raises StoreUnavailable where the store fails and nothing recent is remembered

What was read or written lately is remembered by this process (bounded, for a stated time) and stands in while the
store is down or slow. A breaker keeps a slow store from costing its patience at every request.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from recsys.breaker import Breaker, BreakerRule
from recsys.errors import StoreUnavailable
from recsys.state_store import StateStore

CAPACITY = 64 * 2**20
REMEMBERED_SECONDS = 300.0
TROUBLE = BreakerRule(trips=2, seconds=1.0, longest=5.0)


class SteadyStore:
    """recsys.state_store.StateStore over another one; safe for several threads.

    Args:
        store: gives up by itself within its patience and raises StoreUnavailable.
        capacity: bytes of values that are remembered, those used last.
        seconds: how old a remembered value may be that stands in.
    """

    def __init__(
        self,
        store: StateStore,
        capacity: int = CAPACITY,
        seconds: float = REMEMBERED_SECONDS,
        rule: BreakerRule = TROUBLE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._capacity, self._seconds, self._clock = store, capacity, seconds, clock
        self._reads, self._writes = Breaker(rule, clock), Breaker(rule, clock)
        self._lock = threading.Lock()
        self._remembered: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0
        self._unwritten: dict[str, bytes] = {}
        self._mine = threading.local()  # of a thread: whether its last get stood in; what it wrote inside
        self._one = threading.RLock()
        self.failures = 0

    @property
    def down(self) -> bool:
        """Whether the store is being left out of reads now."""
        return self._reads.open

    @property
    def stood_in(self) -> bool:
        """Whether this thread's last `get` was answered from memory."""
        return bool(getattr(self._mine, "stood_in", False))

    def get(self, key: str) -> bytes | None:
        """The value; one remembered where the store fails, or could not take what was written last.

        Raises:
            StoreUnavailable: the store fails, and nothing recent is remembered of the key.
        """
        self._mine.stood_in = False
        if (waiting := self._unwritten.get(key)) is not None:
            return waiting
        found: list[bytes | None] = []
        if self._attempt(self._reads, lambda: found.append(self._store.get(key))):
            if found[0] is not None:
                self._remember([(key, found[0])])
            return found[0]
        self._mine.stood_in = True
        return self._recall(key)

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Like `get`, for values that belong together: where one was found, that the others were not is remembered.

        Raises:
            StoreUnavailable: the store fails, and of one key nothing recent is remembered.
        """
        self._mine.stood_in = False
        found: list[bytes | None] = []
        if self._attempt(self._reads, lambda: found.extend(self._store.get_many(keys))):
            if any(value is not None for value in found):
                self._remember([(key, value or b"") for key, value in zip(keys, found, strict=True)])
            return [self._unwritten.get(key, value) for key, value in zip(keys, found, strict=True)]
        self._mine.stood_in = True
        return [self._recall(key) for key in keys]

    def missing(self, keys: Sequence[str]) -> set[str]:
        """See StateStore.missing."""
        return self._store.missing(keys)

    def put(self, values: Sequence[tuple[str, bytes]]) -> None:
        """Writes; where the store fails, the values wait in this process for the next write that succeeds."""
        self._remember(values)
        with self._lock:
            self._unwritten.update(values)
            waiting = list(self._unwritten.items())
        inside: list[tuple[str, bytes]] | None = getattr(self._mine, "inside", None)
        if inside is not None:  # `exclusive` says at its end whether they were written
            inside += waiting
            self._attempt(self._writes, lambda: self._store.put(waiting))
        elif self._attempt(self._writes, lambda: self._store.put(waiting)):
            self._written(waiting)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Like StateStore.exclusive; where the store fails, exclusive in this process only."""
        with self._one:
            own = ExitStack()
            entered = self._attempt(self._writes, lambda: own.enter_context(self._store.exclusive()))
            self._mine.inside = [] if entered else None
            try:
                yield
            except BaseException as error:
                own.__exit__(type(error), error, error.__traceback__)
                raise
            finally:
                inside, self._mine.inside = self._mine.inside, None
            if entered and self._attempt(self._writes, own.close):
                self._written(inside or [])

    def keys(self, limit: int) -> list[str]:
        """See StateStore.keys."""
        return self._store.keys(limit)

    def close(self) -> None:
        """Lets go of what the store holds."""
        self._store.close()

    def _attempt(self, breaker: Breaker, call: Callable[[], object]) -> bool:
        """Whether the call was made, and reached the store."""
        if not breaker.allow():
            return False
        try:
            call()
        except StoreUnavailable:
            self.failures += 1
            breaker.late(gone=False)
            return False
        breaker.ok()
        return True

    def _written(self, values: Sequence[tuple[str, bytes]]) -> None:
        with self._lock:
            for key, value in values:
                if self._unwritten.get(key) is value:
                    del self._unwritten[key]

    def forget(self, keys: Sequence[str]) -> None:
        """Nothing remembered of these keys may stand in any more (a consent was withdrawn)."""
        with self._lock:
            for key in keys:
                self._drop(key)

    def erase(self, user_id: str) -> int:
        """See StateStore.erase. Raises StoreUnavailable where the store fails: an erasure is not put off unseen."""
        self.purge_listeners(lambda known: known == user_id)
        return self._store.erase(user_id)

    def purge_listeners(self, gone: Callable[[str], bool]) -> None:
        """Like `forget`, of every key of listeners that `gone` says yes to."""
        with self._lock:
            for key in {*self._remembered, *self._unwritten}:
                if gone(key.rpartition(":")[2]):
                    self._drop(key)

    def _remember(self, values: Sequence[tuple[str, bytes]]) -> None:
        now = self._clock()
        with self._lock:
            for key, value in values:
                self._drop(key)
                self._remembered[key] = (now, value)
                self._bytes += len(value)
            while self._bytes > self._capacity:
                self._drop(next(iter(self._remembered)))

    def _drop(self, key: str) -> None:
        _, value = self._remembered.pop(key, (0.0, b""))
        self._bytes -= len(value)
        self._unwritten.pop(key, None)

    def _recall(self, key: str) -> bytes:
        with self._lock:
            at, value = self._remembered.get(key, (float("-inf"), b""))
        if self._clock() - at > self._seconds:
            raise StoreUnavailable("the listener states do not answer now; others are served meanwhile")
        return value
