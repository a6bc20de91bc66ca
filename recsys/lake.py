"""The lake: Delta tables on local disk (or any object-store URL), written by append, read by polars.

lake = Lake(home.lake)
lake.append("events", frame)
lake.scan("events").filter(...).collect()
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import TableNotFoundError

from recsys.errors import NotReady
from recsys.schemas import TABLES, conform

_PARTITIONS = {"events": ["day"]}


@dataclass(frozen=True)
class Lake:
    """All tables under one root; a reader pins a version to see exactly what a model was trained on."""

    root: Path | str

    def uri(self, table: str) -> str:
        return f"{self.root}/{table}"

    def append(self, table: str, frame: pl.DataFrame) -> None:
        """Appends rows in one transaction; columns are cast to the table's schema, absent ones null."""
        self._write(table, frame, "append")

    def replace(self, table: str, frame: pl.DataFrame) -> None:
        """Replaces the whole table in one transaction (catalog snapshots)."""
        self._write(table, frame, "overwrite")

    def _write(self, table: str, frame: pl.DataFrame, mode: Literal["append", "overwrite"]) -> None:
        if table == "events":
            frame = frame.with_columns(day=pl.col("ts").dt.date())
        rows = conform(frame, table) if table in TABLES else frame
        write_deltalake(
            self.uri(table), rows.to_arrow(), mode=mode, partition_by=_PARTITIONS.get(table), schema_mode=None
        )

    def scan(self, table: str, version: int | None = None) -> pl.LazyFrame:
        """Rows of `table`, at `version` where given.

        Raises:
            NotReady: the table does not exist yet.
        """
        if not self.has(table):
            raise NotReady(
                f"no table {table!r} under {self.root}: run `recsys simulate` or `recsys import` first"
            )
        return pl.scan_delta(self.uri(table), version=version)

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
