"""The lake: Delta tables on local disk (or any object-store URL), written by append, read by polars.

lake = Lake(home.lake)
lake.append("events", frame)
lake.scan("events").filter(...).collect()
"""

from __future__ import annotations

import fcntl
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError

from recsys.errors import NotReady
from recsys.schemas import TABLES, conform

_PARTITIONS = {"events": ["day"]}


class Conflict(Exception):
    """Two processes worked as the same writer; the loser changed nothing and may start again."""


@dataclass(frozen=True)
class Cursor:
    """How far one writer has come in one table, as of the version seen."""

    table: str
    writer: str
    position: int
    seen: DeltaTable


@dataclass(frozen=True)
class Lake:
    """All tables under one root; a reader pins a version to see exactly what a model was trained on."""

    root: Path | str

    def uri(self, table: str) -> str:
        return f"{self.root}/{table}"

    def append(self, table: str, frame: pl.DataFrame) -> None:
        """Appends rows in one transaction; columns are cast to the table's schema, absent ones null."""
        self._write(table, frame, "append")

    def cursor(self, table: str, writer: str) -> Cursor:
        """Where a writer that resumes goes on; creates the table where it does not exist."""
        if not self.has(table):
            with suppress(CommitFailedError):  # another process has just made it
                self._write(table, pl.DataFrame(schema=TABLES[table]), "ignore")
        seen = DeltaTable(self.uri(table))
        return Cursor(table, writer, seen.transaction_version(writer) or 0, seen)

    def append_through(self, cursor: Cursor, frame: pl.DataFrame, position: int) -> None:
        """Appends rows and moves the writer to `position`, in one transaction (Delta's `txn` action).

        Raises:
            Conflict: the writer's position has changed since the cursor was taken.
        """
        try:
            self._write(cursor.table, frame, "append", cursor, position)
        except CommitFailedError as error:
            raise Conflict(
                f"another process moved {cursor.writer!r} on: take a new cursor ({error})"
            ) from None

    def compact(self, table: str, days: Collection[date]) -> None:
        """Joins the small files of some day partitions; older versions stay readable."""
        partitions = [("day", "in", sorted(day.isoformat() for day in days))]
        with self._writing():
            DeltaTable(self.uri(table)).optimize.compact(partition_filters=partitions)

    def replace(self, table: str, frame: pl.DataFrame) -> None:
        """Replaces the whole table in one transaction (catalog snapshots)."""
        self._write(table, frame, "overwrite")

    def _write(
        self,
        table: str,
        frame: pl.DataFrame,
        mode: Literal["append", "overwrite", "ignore"],
        cursor: Cursor | None = None,
        position: int = 0,
    ) -> None:
        if table == "events":
            frame = frame.with_columns(day=pl.col("ts").dt.date())
        rows = conform(frame, table) if table in TABLES else frame
        with self._writing():
            write_deltalake(
                cursor.seen if cursor else self.uri(table),
                rows.to_arrow(),
                mode=mode,
                schema_mode="overwrite" if mode == "overwrite" else "merge" if mode == "append" else None,
                partition_by=_PARTITIONS.get(table),
                commit_properties=CommitProperties(
                    app_transactions=[Transaction(cursor.writer, position)] if cursor else None
                ),
            )

    @contextmanager
    def _writing(self, alone: bool = False) -> Iterator[None]:
        """Writers share; who removes files that no version names has to be alone, or takes a writer's new ones."""
        if not isinstance(
            self.root, Path
        ):  # object stores have no locks: there an erasure needs writers stopped
            yield
            return
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".writers").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            yield

    def alone(self) -> AbstractContextManager[None]:
        """Nobody of this machine writes to the lake while the body runs."""
        return self._writing(alone=True)

    def tables(self) -> list[str]:
        """Names of the tables that exist, those that are not ours in TABLES too."""
        if not isinstance(self.root, Path):
            return [table for table in TABLES if self.has(table)]
        return sorted(p.parent.name for p in self.root.glob("*/_delta_log"))

    def scan(self, table: str, version: int | None = None) -> pl.LazyFrame:
        """Rows of `table`, at `version` where given; columns that it did not have yet are null.

        Raises:
            NotReady: the table does not exist yet.
        """
        if not self.has(table):
            raise NotReady(
                f"no table {table!r} under {self.root}: run `recsys simulate` or `recsys import` first"
            )
        rows = pl.scan_delta(self.uri(table), version=version)
        known = rows.collect_schema()
        absent = [pl.lit(None, t).alias(c) for c, t in TABLES.get(table, {}).items() if c not in known]
        return rows.with_columns(absent) if absent else rows

    def has(self, table: str) -> bool:
        return bool(DeltaTable.is_deltatable(self.uri(table)))

    def version(self, table: str) -> int:
        """The table's newest version; -1 where the table does not exist."""
        try:
            return int(DeltaTable(self.uri(table)).version())
        except TableNotFoundError:
            return -1

    def versions(self) -> dict[str, int]:
        """Version of every table of ours that exists: what a release records as its data version."""
        return {table: self.version(table) for table in TABLES if self.has(table)}
