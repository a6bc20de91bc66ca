"""The catalog's revision for a few microseconds: what a server asks before every answer.

watch = Watch(catalog.engine)
watch.revision()        # one SELECT on a connection that the calling thread keeps
"""

from __future__ import annotations

import threading
import weakref
from typing import Any, cast

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from recsys.errors import StoreUnavailable

_QUERY = "SELECT number FROM revision"
_BUSY_MS = 200


class Watch:
    """One kept connection a thread, outside the pool, each statement a transaction of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._local = threading.local()
        self._open: weakref.WeakSet[_Kept] = weakref.WeakSet()
        driver = engine.dialect.loaded_dbapi
        self._errors: tuple[type[Exception], ...] = (driver.Error, SQLAlchemyError, TypeError)

    def revision(self) -> int:
        """The newest revision that any process has committed.

        Raises:
            StoreUnavailable: the database cannot be read; the next call connects anew.
        """
        try:
            kept = self._local.__dict__.get("kept") or self._connect()
            kept.cursor.execute(_QUERY)
            return int(kept.cursor.fetchone()[0])
        except self._errors as error:
            self._local.__dict__.pop("kept", None)
            raise StoreUnavailable(f"the catalog cannot be read: {error}") from error

    def close(self) -> None:
        """Closes the connections of all threads."""
        for kept in list(self._open):
            kept.close()

    def _connect(self) -> _Kept:
        kept = _Kept(self._engine)
        self._open.add(kept)
        self._local.kept = kept
        return kept


class _Kept:
    """A connection that has left the pool."""

    def __init__(self, engine: Engine) -> None:
        fairy = engine.raw_connection()
        self.connection = cast("Any", fairy.driver_connection)
        fairy.detach()
        self._fairy = fairy  # closes the connection when it is dropped
        if engine.dialect.name == "sqlite":
            self.connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        else:
            self.connection.rollback()
            self.connection.autocommit = True
        self.cursor = self.connection.cursor()

    def close(self) -> None:
        self._fairy.close()
