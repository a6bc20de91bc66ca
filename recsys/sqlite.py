"""SQLite files that several processes open at once: the switch to the write-ahead log, made to wait its turn.

SQLite waits for a lock by its busy timeout everywhere but here: two processes that change a new file's journal mode
at the same moment would wait for each other for ever, so one is told "database is locked" at once.
"""

from __future__ import annotations

import sqlite3
import time

_PAUSE_S = 0.005


def write_ahead(connection: sqlite3.Connection, patience: float) -> None:
    """Puts the file into write-ahead mode; a file that is in it stays so.

    Args:
        patience: seconds to wait for others that open the same file.

    Raises:
        sqlite3.OperationalError: still locked after that, or the file cannot be written.
    """
    end = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            if time.monotonic() > end:
                raise
            time.sleep(_PAUSE_S)
