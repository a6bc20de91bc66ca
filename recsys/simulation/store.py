"""Writes the simulated events: Parquet files by UTC day, then one Delta commit that makes all of them visible.

Until that commit the lake has no events table, so a run that was cut off never looks finished.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import Schema
from deltalake.transaction import AddAction, create_table_with_add_actions

from recsys.schemas import TABLES
from recsys.simulation.columns import flags

_FLUSH_ROWS = 400_000
_EPOCH = date(1970, 1, 1)
_DAY_US = 86_400_000_000
_PLAIN = ("event_id", "ts", "received_at", "ms_played", "propensity")


@dataclass
class EventFiles:
    """Buffers rows by UTC day and writes one file per day and writer (more where a day is large)."""

    root: Path
    writer: str
    pending: dict[int, list[pa.Table]] = field(default_factory=dict)
    files: list[tuple[str, int, int, int]] = field(default_factory=list)
    """(path within the table, bytes, rows, day since 1970) of each file written."""

    def add(self, table: pa.Table) -> None:
        """Takes a table of one chunk, as `rows.arrow_table` makes it."""
        days = np.frombuffer(table["ts"].chunk(0).buffers()[1], np.int64) // _DAY_US
        for day in np.unique(days):
            self.pending.setdefault(int(day), []).append(table.filter(flags(days == day)))
            if sum(map(len, self.pending[int(day)])) >= _FLUSH_ROWS:
                self._write(int(day))

    def flush(self, before: int | None = None) -> None:
        """Writes the buffered days earlier than `before` (days since 1970; all where None)."""
        for day in sorted(self.pending):
            if before is None or day < before:
                self._write(day)

    def _write(self, day: int) -> None:
        table = pa.concat_tables(self.pending.pop(day), promote_options="none").combine_chunks()
        folder = f"day={_EPOCH + timedelta(days=day)}"
        (self.root / folder).mkdir(parents=True, exist_ok=True)
        path = f"{folder}/{self.writer}-{len(self.files):05d}.parquet"
        words = [name for name in table.column_names if name not in _PLAIN]
        pq.write_table(
            table, self.root / path, compression="snappy", use_dictionary=words, store_schema=False
        )
        self.files.append((path, os.path.getsize(self.root / path), len(table), day))


def commit(root: Path, files: list[tuple[str, int, int, int]], modified_ms: int) -> None:
    """Makes the files one Delta table, partitioned by day, in a single transaction."""
    actions = [
        AddAction(
            path=path,
            size=size,
            partition_values={"day": str(_EPOCH + timedelta(days=day))},
            modification_time=modified_ms,
            data_change=True,
            stats=json.dumps({"numRecords": rows}),
        )
        for path, size, rows, day in sorted(files)
    ]
    create_table_with_add_actions(
        str(root), Schema.from_arrow(_event_schema()), actions, mode="error", partition_by=["day"]
    )


def _event_schema() -> pa.Schema:
    """Arrow schema of the events table, with the string and time types that Delta knows."""
    import polars as pl

    schema = pl.DataFrame(schema=TABLES["events"]).to_arrow().schema
    plain = {pa.large_string(): pa.string(), pa.string_view(): pa.string()}
    return pa.schema([pa.field(f.name, plain.get(f.type, f.type)) for f in schema])
