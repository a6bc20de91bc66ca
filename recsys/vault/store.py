"""Where the wrapped keys lie: one SQLite file (0600), deleted from so that the bytes are gone from it.

A row of `keys` is (tag of the listener, id of the key, wrapped key); a row of `erased` is the tag alone. Who copies
the file without the master key learns how many listeners there are.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from recsys.errors import LogUnavailable

Row = tuple[bytes, bytes, bytes]
"""Tag, id, wrapped key."""
_PATIENCE = 30.0
_AT_ONCE = 500
_MASTER, _IDENTITY = 1, 2
_TABLES = (
    "CREATE TABLE IF NOT EXISTS keys (tag BLOB PRIMARY KEY, id BLOB NOT NULL UNIQUE, wrapped BLOB NOT NULL)"
    " WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS master (one INTEGER PRIMARY KEY, value BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS erased (tag BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID",
)


class KeyRows:
    """The file of one home; several threads and processes may use it."""

    def __init__(self, path: Path) -> None:
        self._path, self._mine = path, threading.local()
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with _reported(path):
            for table in _TABLES:
                self._connection.execute(table)

    @property
    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._mine, "connection", None)
        if found is None:
            found = sqlite3.connect(self._path, isolation_level=None, timeout=_PATIENCE)
            # A rollback journal: no file beside the keys that an unlucky close could unlink under a running server.
            found.execute("PRAGMA journal_mode=DELETE")
            found.execute("PRAGMA synchronous=FULL")  # a key is durable before the first record that it seals
            found.execute("PRAGMA secure_delete=ON")
            self._mine.connection = found
        return found

    def of_tags(self, tags: Sequence[bytes]) -> tuple[dict[bytes, Row], set[bytes]]:
        """Rows by tag, and those of the tags that were erased; as of one moment."""
        with _reported(self._path), self._transaction("DEFERRED") as connection:
            return _rows(connection, tags), _erased(connection, tags)

    def add(self, rows: Sequence[Row]) -> tuple[dict[bytes, Row], set[bytes]]:
        """Adds rows where a tag has none and was not erased; what then counts for each tag."""
        tags = [row[0] for row in rows]
        with _reported(self._path), self._transaction("IMMEDIATE") as connection:
            gone = _erased(connection, tags)
            fresh = [row for row in rows if row[0] not in gone]
            connection.executemany("INSERT OR IGNORE INTO keys VALUES (?, ?, ?)", fresh)
            return _rows(connection, tags), gone

    def of_id(self, key_id: bytes) -> Row | None:
        """The row of a key; None once it was destroyed."""
        with _reported(self._path):
            query = "SELECT tag, id, wrapped FROM keys WHERE id = ?"
            row = self._connection.execute(query, (key_id,)).fetchone()
        return None if row is None else (bytes(row[0]), bytes(row[1]), bytes(row[2]))

    def destroy(self, tag: bytes, at: int) -> bool:
        """Removes a key for good and notes the erasure; whether there was one. Its bytes are overwritten."""
        with _reported(self._path), self._transaction("IMMEDIATE") as connection:
            found = connection.execute("DELETE FROM keys WHERE tag = ?", (tag,)).rowcount > 0
            connection.execute("INSERT OR IGNORE INTO erased VALUES (?, ?)", (tag, at))
        return found

    def erased_tags(self) -> frozenset[bytes]:
        """The tags of everybody who was erased."""
        with _reported(self._path):
            return frozenset(bytes(tag) for (tag,) in self._connection.execute("SELECT tag FROM erased"))

    def check(self, value: bytes) -> bool:
        """Whether `value` is what the first process to ask gave: the same master key gives the same."""
        if self._at(_MASTER) is None and not self._used():
            self.identity()  # first: a file with the one and not the other is from before there were identities
        return self._first(_MASTER, value) == value

    def identity(self, offered: bytes = b"") -> bytes:
        """(16 bytes) tells this key store from any other. One without gets what is offered, else a random one."""
        return self._first(_IDENTITY, offered or os.urandom(16))

    def known_identity(self) -> bytes:
        """`identity`; empty where the file has none."""
        return self._at(_IDENTITY) or b""

    def _used(self) -> bool:
        query = "SELECT EXISTS (SELECT 1 FROM keys) OR EXISTS (SELECT 1 FROM erased)"
        with _reported(self._path):
            return bool(self._connection.execute(query).fetchone()[0])

    def _at(self, place: int) -> bytes | None:
        with _reported(self._path):
            kept = self._connection.execute("SELECT value FROM master WHERE one = ?", (place,)).fetchone()
        return None if kept is None else bytes(kept[0])

    def _first(self, place: int, value: bytes) -> bytes:
        """What stands at a place of the table `master`: the value of whoever was first to offer one."""
        kept = self._at(place)
        if kept is None:
            with _reported(self._path):
                self._connection.execute("INSERT OR IGNORE INTO master VALUES (?, ?)", (place, value))
            kept = self._at(place)
        assert kept is not None
        return kept

    def close(self) -> None:
        """Closes this thread's connection, where it has one."""
        found: sqlite3.Connection | None = getattr(self._mine, "connection", None)
        self._mine.connection = None
        if found is not None:
            with _reported(self._path):
                found.close()

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        connection.execute(f"BEGIN {kind}")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise


def _rows(connection: sqlite3.Connection, tags: Sequence[bytes]) -> dict[bytes, Row]:
    found = _among(connection, "SELECT tag, id, wrapped FROM keys WHERE tag IN", tags)
    return {bytes(tag): (bytes(tag), bytes(key_id), bytes(wrapped)) for tag, key_id, wrapped in found}


def _erased(connection: sqlite3.Connection, tags: Sequence[bytes]) -> set[bytes]:
    return {bytes(tag) for (tag,) in _among(connection, "SELECT tag FROM erased WHERE tag IN", tags)}


def _among(connection: sqlite3.Connection, query: str, tags: Sequence[bytes]) -> Iterator[tuple[bytes, ...]]:
    for first in range(0, len(tags), _AT_ONCE):
        some = tags[first : first + _AT_ONCE]
        yield from connection.execute(f"{query} ({','.join('?' * len(some))})", some)


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise LogUnavailable(
            f"the listeners' keys in {path} cannot be used ({error}): see that disk"
        ) from error
