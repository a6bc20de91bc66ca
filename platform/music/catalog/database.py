"""Opens the catalog's database and brings its tables to the newest migration; SQLite and Postgres alike.

SQLite runs in WAL mode with a busy timeout, and a writing transaction takes the write lock at its start:
several processes may use one file, and queue instead of failing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError, SQLAlchemyError

from recsys.errors import BadInput, NotReady, StoreUnavailable
from recsys.sqlite import write_ahead

_BUSY_MS = 60_000
_MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x6361_7461  # any number, the same in every process


def connect(url: str) -> Engine:
    """An engine for `url`; the folder of an SQLite file is made.

    Raises:
        BadInput: not a database URL, or a database without a driver here.
    """
    try:
        parsed = make_url(url)
        engine = create_engine(parsed, pool_pre_ping=parsed.get_backend_name() != "sqlite")
    except ArgumentError as error:
        raise BadInput(
            "cannot open catalog: not a database URL; e.g. sqlite:///var/catalog.sqlite"
        ) from error
    except (ImportError, SQLAlchemyError) as error:
        raise BadInput(
            f"cannot open catalog {parsed!r}: {error}; e.g. sqlite:///var/catalog.sqlite"
        ) from error
    if parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:"):
        Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    write_ahead(connection, _BUSY_MS / 1000)
    cursor.execute("PRAGMA synchronous = FULL")  # an acknowledged change survives a power cut
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One writing transaction: committed at the end, rolled back on an error."""
    with engine.connect().execution_options(writing=True) as connection, connection.begin():
        yield connection


@contextmanager
def durable(engine: Engine) -> Iterator[Connection]:
    """One writing transaction of a client's change.

    Raises:
        StoreUnavailable: the database is locked, full or out of reach; nothing was written.
    """
    try:
        with writing(engine) as connection:
            yield connection
    except OperationalError as error:
        raise StoreUnavailable(f"the catalog cannot be written, try again later: {error.orig}") from error


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One reading transaction in which all statements see one state of the database."""
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with engine.connect() as connection, connection.begin():
        yield connection


def upgrade(engine: Engine) -> None:
    """Brings the tables to the newest migration in one transaction; nothing to do where they are there.

    Raises:
        NotReady: the database is from a newer version of this package.
        BadInput: it cannot be read: no database, no access, out of reach.
    """
    try:
        _upgrade(engine)
    except DatabaseError as error:
        raise BadInput(f"cannot open catalog {engine.url!r}: {error.orig}") from error


def _upgrade(engine: Engine) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    head = ScriptDirectory.from_config(config).get_current_head()
    with engine.connect() as connection:
        if MigrationContext.configure(connection).get_current_revision() == head:
            return
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise NotReady(
                f"the catalog's tables are from another version ({error}): update recsys"
            ) from error
