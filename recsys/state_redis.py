"""The online store on one Redis primary: recsys.state_store.StateStore for several machines.

store = RedisStore("redis://127.0.0.1:6379/0")      # `pip install "recsys[engines]"`
StateUpdater(log, store).catch_up()                 # as over the embedded store
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from recsys.errors import BadInput, StoreUnavailable

_T = TypeVar("_T")
_LONGEST_PAUSE = 0.02  # seconds; how long a waiting process sleeps at most between two tries

# KEYS: lock, last commit, listeners' index. ARGV: token, prefix of values, then key and value in turn.
_APPLY = """
for i = 3, #ARGV, 2 do
  redis.call('SET', ARGV[2] .. ARGV[i], ARGV[i + 1])
  if not string.find(ARGV[i], ':', 1, true) then redis.call('ZADD', KEYS[3], 0, ARGV[i]) end
end
"""
# A free store takes the values at once; one that somebody holds refuses them, and the caller waits.
_PUT = f"if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end {_APPLY} return 1"
# Only the holder may commit. A commit whose answer was lost and that is sent again is not refused.
_COMMIT = f"""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.call('GET', KEYS[2]) == ARGV[1] and 1 or 0
end
{_APPLY}
redis.call('SET', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[1])
return 1
"""
_TAKE = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0
"""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class RedisStore:
    """recsys.state_store.StateStore in Redis; several threads, processes and machines may use it.

    `exclusive()` is a lock that expires, with its token as the fence: what is written inside is kept in memory and
    sent as one script, which Redis runs as a whole and only if the token still holds the lock. So a holder that
    dies holds the others up for `hold_seconds` at most, and one that wakes up later than that is refused instead
    of overwriting what others wrote meanwhile. (WATCH/MULTI would need the body of the `with` run again.)

    What a crash of Redis or a failover takes is folded from the log again: how far the log was read is written
    by the same script as the states. Run Redis without eviction (`maxmemory-policy noeviction`), as one primary
    (a Redis Cluster would spread the keys of one script over several nodes).
    """

    def __init__(
        self,
        url: str,
        prefix: str = "recsys",
        hold_seconds: float = 10.0,
        wait_seconds: float = 30.0,
        patience: float | None = None,
    ) -> None:
        """Connects.

        Args:
            prefix: keys begin with it, so that several stores fit into one Redis.
            hold_seconds: longest time between entering and leaving `exclusive()`.
            wait_seconds: how long others wait before they give up.
            patience: seconds that any call takes at most, and no look at start whether Redis answers; for
                those who can do without the store for a while.

        Raises:
            BadInput: the URL is wrong, or the redis package is not installed.
            StoreUnavailable: no Redis answers there.
        """
        self._redis, self._problem = _connect(url, patience)
        self._names = [f"{prefix}:lock", f"{prefix}:commit", f"{prefix}:listeners"]
        self._values = f"{prefix}:value:"
        self._hold_ms, self._wait = int(hold_seconds * 1000), min(wait_seconds, patience or wait_seconds)
        self._mine = threading.local()
        self._scripts = {text: self._redis.register_script(text) for text in (_PUT, _COMMIT, _TAKE, _RELEASE)}
        if patience is None:
            self._try(self._redis.ping)

    def get(self, key: str) -> bytes | None:
        written: bytes | None = (self._written() or {}).get(key)
        if written is not None:
            return written
        found: bytes | None = self._try(lambda: self._redis.get(self._values + key))
        return found

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """See recsys.state_store.StateStore.get_many."""
        if not keys:
            return []
        names = [self._values + key for key in keys]
        found: list[bytes | None] = self._try(lambda: self._redis.mget(names))
        written = self._written() or {}
        return [written.get(key, value) for key, value in zip(keys, found, strict=True)]

    def missing(self, keys: Sequence[str]) -> set[str]:
        """See recsys.state_store.StateStore.missing."""
        if not keys:
            return set()
        with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.exists(self._values + key)
            there = self._try(pipe.execute)
        written = self._written() or {}
        return {key for key, n in zip(keys, there, strict=True) if not n and key not in written}

    def put(self, values: Sequence[tuple[str, bytes]]) -> None:
        """Writes all values at once; outside `exclusive()` it waits until nobody is inside.

        Raises:
            StoreUnavailable: Redis does not answer, or somebody stayed inside too long.
        """
        written = self._written()
        if written is not None:
            written.update(values)
        else:
            self._until(lambda: self._run(_PUT, "", self._values, *_flat(values)))

    def keys(self, limit: int) -> list[str]:
        """Some listeners' keys, in order; keys of other kinds hold a colon."""
        found = {key.decode() for key in self._try(lambda: self._redis.zrange(self._names[2], 0, limit - 1))}
        return sorted(found | {key for key in self._written() or {} if ":" not in key})[:limit]

    def erase(self, user_id: str) -> int:
        """See recsys.state_store.StateStore.erase; Redis' own files lose it when they are next rewritten.

        Walks over all keys, a thousand at a time.
        """
        found = [
            *self._try(lambda: list(self._redis.scan_iter(f"{_plain(self._values)}{user_id}", 1000))),
            *self._try(lambda: list(self._redis.scan_iter(f"{_plain(self._values)}*:{user_id}", 1000))),
        ]
        with self.exclusive(), self._redis.pipeline(transaction=True) as pipe:
            for key in found:
                pipe.delete(key)
            pipe.zrem(self._names[2], user_id)
            self._try(pipe.execute)
        return len(found)

    def close(self) -> None:
        """Closes the connections; a later call opens them again."""
        self._redis.close()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """See recsys.state_store.StateStore.exclusive.

        Raises:
            StoreUnavailable: the lock did not come free, or was lost before the end; nothing was written.
        """
        token = uuid.uuid4().hex
        self._until(lambda: self._run(_TAKE, token, self._hold_ms))
        self._mine.written = {}
        try:
            yield
            if not self._run(_COMMIT, token, self._values, *_flat([*self._mine.written.items()])):
                raise StoreUnavailable(
                    f"writing states took longer than {self._hold_ms / 1000:g} s and was given up: "
                    "try again, or raise hold_seconds"
                )
        except BaseException:
            with suppress(StoreUnavailable):  # then the lock expires by itself
                self._run(_RELEASE, token)
            raise
        finally:
            self._mine.written = None

    def _written(self) -> dict[str, bytes] | None:
        """What this thread wrote inside `exclusive()`; None outside."""
        found: dict[str, bytes] | None = getattr(self._mine, "written", None)
        return found

    def _run(self, script: str, *arguments: object) -> int:
        return int(self._try(lambda: self._scripts[script](keys=self._names, args=arguments)))

    def _try(self, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except self._problem as error:
            raise StoreUnavailable(f"Redis does not answer ({error}): start it, or check its URL") from error

    def _until(self, step: Callable[[], int]) -> None:
        """Repeats a step until it says 1."""
        deadline, pause = time.monotonic() + self._wait, 0.001
        while not step():
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"the states were locked for {self._wait:g} s: see who writes them")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _connect(url: str, patience: float | None) -> tuple[Any, type[Exception]]:
    """A client, and the base class of its errors."""
    limits: dict[str, Any] = {"socket_timeout": 5.0, "socket_connect_timeout": 2.0}
    try:
        import redis
        import redis.backoff
        import redis.retry
    except ImportError:
        raise BadInput('Redis needs one more package: pip install "recsys[engines]"') from None
    try:
        if patience is not None:  # a dropped connection is tried once more, one that does not answer is not
            again = redis.retry.Retry(redis.backoff.NoBackoff(), 1, (redis.ConnectionError,))
            limits = {"socket_timeout": patience, "socket_connect_timeout": patience, "retry": again}
        client = redis.Redis.from_url(url, **limits)
    except ValueError as error:
        raise BadInput(f"RECSYS_STATE is not a Redis URL: {error}") from None
    return client, redis.RedisError


def _plain(text: str) -> str:
    """A text as a pattern that matches it alone."""
    return "".join(f"[{c}]" if c in "*?[\\" else c for c in text)


def _flat(values: Sequence[tuple[str, bytes]]) -> list[str | bytes]:
    return [part for pair in values for part in pair]
