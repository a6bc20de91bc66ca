"""The embedded online store (SQLite) and the stream that keeps listener states in it up to date with the log.

store = LocalStore(home.state_db)
updater = StateUpdater(log, store)
updater.catch_up()                   # everything that is durable now; or updater.start() for a thread
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import orjson

from recsys.errors import StoreUnavailable
from recsys.events import Event
from recsys.features.state import backfill, merge
from recsys.lake import Lake
from recsys.ports import EventLog, OnlineStore
from recsys.schemas import OF_THE_SERVER
from recsys.sqlite import write_ahead
from recsys.state_tail import folded, read_states, whole

logger = logging.getLogger(__name__)
_BATCH = 5_000
PATIENCE = 30.0


class StateStore(OnlineStore, Protocol):
    """An online store in which one process at a time may read, change and write states."""

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of several keys as of one moment, in the order of the keys."""
        ...

    def keys(self, limit: int) -> list[str]:
        """Some listeners' keys, in order; keys of other kinds hold a colon."""
        ...

    def missing(self, keys: Sequence[str]) -> set[str]:
        """Those of the keys that have no value."""
        ...

    def erase(self, user_id: str) -> int:
        """Removes every value of a listener, and what older writes left of it; how many keys there were.

        Theirs are the key that is the id, and keys of other kinds that end with a colon and the id.
        """
        ...

    def close(self) -> None:
        """Lets go of files and connections."""
        ...

    def exclusive(self) -> AbstractContextManager[None]:
        """Everything written inside becomes visible at once, or not at all; others wait."""
        ...


class LocalStore:
    """recsys.ports.OnlineStore in one SQLite file (write-ahead log): several threads and processes may use it."""

    def __init__(self, path: Path, patience: float = PATIENCE) -> None:
        """`patience`: seconds that a call waits for another process before it raises StoreUnavailable."""
        self._path, self._patience = path, patience
        self._mine = threading.local()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB NOT NULL)"
        )

    @property
    def _connection(self) -> sqlite3.Connection:
        """This thread's own connection."""
        found: sqlite3.Connection | None = getattr(self._mine, "connection", None)
        if found is None:
            found = sqlite3.connect(self._path, isolation_level=None, timeout=self._patience)
            write_ahead(found, self._patience)
            found.execute("PRAGMA synchronous=NORMAL")  # what a power cut takes is folded from the log again
            found.execute("PRAGMA wal_autocheckpoint=4000")  # pages: tails are rewritten often
            self._mine.connection = found
        return found

    def get(self, key: str) -> bytes | None:
        with _reported():
            row = self._connection.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
        return bytes(row[0]) if row else None

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """See StateStore.get_many."""
        found = dict(self._among("key, value", keys))
        return [found.get(key) for key in keys]

    def missing(self, keys: Sequence[str]) -> set[str]:
        """See StateStore.missing."""
        return set(keys).difference(key for (key,) in self._among("key", keys))

    def _among(self, columns: str, keys: Sequence[str]) -> list[tuple[Any, ...]]:
        """The rows of these keys."""
        query = f"SELECT {columns} FROM entries WHERE key IN (SELECT value FROM json_each(?))"
        with _reported():
            return self._connection.execute(query, (orjson.dumps(keys).decode(),)).fetchall()

    def put(self, values: Sequence[tuple[str, bytes]]) -> None:
        """Writes all values in one transaction."""
        if self._connection.in_transaction:
            self._put(values)
        else:
            with self.exclusive():
                self._put(values)

    def _put(self, values: Sequence[tuple[str, bytes]]) -> None:
        with _reported():
            self._connection.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?)", values)

    def keys(self, limit: int) -> list[str]:
        """Some listeners' keys, in order; keys of other kinds hold a colon."""
        rows = self._connection.execute(
            "SELECT key FROM entries WHERE instr(key, ':') = 0 ORDER BY key LIMIT ?", (limit,)
        )
        return [key for (key,) in rows]

    def erase(self, user_id: str) -> int:
        """See StateStore.erase. The file is written anew: replaced values stay in it until then."""
        with self.exclusive(), _reported():
            gone = "DELETE FROM entries WHERE key = ? OR substr(key, -length(?) - 1) = ':' || ?"
            count = self._connection.execute(gone, (user_id, user_id, user_id)).rowcount
        with _reported():
            purge(self._connection)
        return count

    def close(self) -> None:
        """Closes this thread's connection; a later call opens it again."""
        self._connection.close()
        self._mine.connection = None

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """See StateStore.exclusive.

        Raises:
            StoreUnavailable: another process stayed inside too long, or the disk is full; nothing was written.
        """
        with _reported():
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            with _reported():
                connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # some errors have rolled back already
                connection.execute("ROLLBACK")
            raise


def purge(connection: sqlite3.Connection, seconds: float = PATIENCE) -> None:
    """Writes a SQLite file anew, so that nothing of deleted or replaced rows is left in it or in its log.

    Raises:
        sqlite3.OperationalError: others used the file all the time.
    """
    connection.execute("VACUUM")
    deadline = time.monotonic() + seconds
    while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:  # 1: somebody reads
        if time.monotonic() > deadline:
            raise sqlite3.OperationalError("the file is being read all the time: try again")
        time.sleep(0.05)


@contextmanager
def _reported() -> Iterator[None]:
    """Errors of SQLite as the error of every store."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreUnavailable(
            f"the listener states cannot be used ({error}): see the home's disk"
        ) from error


class StateUpdater:
    """Folds new log records into the stored states.

    How far it has come is stored with the states, in the same transaction, so a restart, a kill or a second
    process at the same work applies each record once (and applying one twice would change nothing). Threads that
    want to catch up at the same time share one pass, as appends to the log share one fsync.

    New events go into a listener's tail, a small state of its own beside the large one: an event then costs the
    tail to read and write, not 512 plays (recsys.state_tail).
    """

    def __init__(
        self,
        log: EventLog,
        store: StateStore,
        interval: float = 0.1,
        batch: int = _BATCH,
        told: Callable[[Sequence[datetime]], None] | None = None,
    ) -> None:
        """Args:
        interval: seconds between two passes of `start()`.
        batch: records in one transaction at most.
        told: called with when each event was received that is in the stored states from now on.
        """
        self._log, self._store, self._interval, self._batch = log, store, interval, batch
        self._told = told
        self._key = f"offset:{log.identity}"
        self._turn = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="state-updater", daemon=True)

    @property
    def offset(self) -> int:
        """Every record before this offset is in the stored states."""
        return int(self._store.get(self._key) or 0)

    def catch_up(self) -> int:
        """Applies all records that are durable now; returns how many it applied itself."""
        total, end = 0, self._log.end
        while self.offset < end:
            with self._turn:
                if self.offset < end:  # else another thread did it while this one waited
                    with self._store.exclusive():
                        count, received = self._step(end)
                    total += count
                    if self._told is not None and received:
                        self._told(received)
        return total

    def _step(self, end: int) -> tuple[int, list[datetime]]:
        offset = self.offset
        stop = max(offset, min(offset + self._batch, end))
        events: dict[str, list[Event]] = defaultdict(list)
        last: dict[str, int] = {}
        received: list[datetime] = []
        for record in self._log.read(offset, stop - offset, skip=OF_THE_SERVER):
            events[record.event.user_id].append(record.event)
            last[record.event.user_id] = record.offset
            if record.event.received_at is not None:
                received.append(record.event.received_at)
        values = folded(self._store, events, last)
        self._store.put([*values, (self._key, str(stop).encode())])
        return stop - offset, received

    def start(self) -> StateUpdater:
        """Catches up every `interval` seconds in a thread of its own."""
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                self.catch_up()
            except Exception:  # disk or log trouble: the records stay in the log, the next pass tries again
                logger.exception("updating listener states failed; the next pass tries again")


def refresh_states(lake: Lake, store: StateStore, users: Sequence[str] | None = None) -> int:
    """Joins what the lake knows of the listeners (all, or some) into the stored states; returns how many.

    States that live events have built meanwhile are kept: the two are merged.
    """
    total = 0
    states = backfill(lake, users)
    while part := list(islice(states, 500)):
        with store.exclusive():
            known = read_states(store, [s.user_id for s in part])
            store.put([v for old, s in zip(known, part, strict=True) for v in whole(merge(old, s))])
        total += len(part)
    return total
