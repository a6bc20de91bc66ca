"""Removes a listener from every lake table so that no version, statistic or log entry of it has them any more.

found = count_rows(lake, user_id)         # rows by table, in files of older versions too
done = erase_rows(lake, user_id)          # {table: Cleaned}; safe to repeat after a crash

Delta keeps what it replaces: old files for older versions, old commits with minima and maxima of every column, and a
delete's own predicate. So after the delete the state is written as one checkpoint of a newer version, the older log
goes, and every file that the newest version does not name is removed, whatever its age. Time travel ends there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from recsys.errors import BadInput
from recsys.ids import is_public_id
from recsys.lake import Lake

_COLUMN = "user_id"


@dataclass(frozen=True)
class Cleaned:
    """What was done to one table."""

    rows: int  # removed from the newest version
    rewritten: int  # files that held them
    removed: int  # files of older versions, and of writes that never ended
    version: int  # the only one that can be read from now on
    versions: int  # older ones that can not


def tables_of_listeners(lake: Lake) -> list[str]:
    """Tables with a listener in their rows."""
    return [t for t in lake.tables() if _COLUMN in DeltaTable(lake.uri(t)).schema().to_arrow().names]


def count_rows(lake: Lake, user_id: str) -> dict[str, int]:
    """Rows of a listener by table, in every file that lies there, also those that no version names."""
    return {table: _rows(lake, table, user_id) for table in tables_of_listeners(lake)}


def erase_rows(lake: Lake, user_id: str) -> dict[str, Cleaned]:
    """Removes a listener's rows; tables that never held any stay as they are.

    Raises:
        BadInput: not a public id.
    """
    if not is_public_id(user_id):
        raise BadInput(f"{user_id!r} is no public id: 22 characters of 0-9A-Za-z")
    found = count_rows(lake, user_id)
    return {
        table: _erased(lake, table, user_id) for table, rows in found.items() if rows or _unclean(lake, table)
    }


def _erased(lake: Lake, table: str, user_id: str) -> Cleaned:
    with lake.alone():
        delta = DeltaTable(lake.uri(table))
        _mark(lake, table).touch()
        before = delta.version()
        done = delta.delete(f"{_COLUMN} = '{user_id}'")
        removed = clean(lake, table)
        _mark(lake, table).unlink()
        version = DeltaTable(lake.uri(table)).version()
    rows, files = int(done.get("num_deleted_rows") or 0), int(done.get("num_removed_files") or 0)
    return Cleaned(rows, files, removed, version, before + 1)


def clean(lake: Lake, table: str) -> int:
    """Makes the newest state the only one that the folder holds; the number of data files removed.

    The caller is alone (Lake.alone).
    """
    delta = DeltaTable(lake.uri(table))
    # The newest commit stays in the log: it must be one that says nothing of what was deleted.
    delta.alter.set_table_properties({"delta.deletedFileRetentionDuration": "interval 0 days"})
    delta = DeltaTable(lake.uri(table))
    removed = delta.vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)
    delta = DeltaTable(lake.uri(table))
    delta.create_checkpoint()
    _forget_log(Path(lake.uri(table)) / "_delta_log", delta.version())
    return len(removed)


def _forget_log(folder: Path, version: int) -> None:
    """Removes commits and checkpoints before a version that has a checkpoint."""
    for path in folder.glob("*"):
        number = path.name.partition(".")[0]
        if number.isdigit() and int(number) < version:
            path.unlink()


def _mark(lake: Lake, table: str) -> Path:
    """There while a table is being cleaned: a run that was killed is noticed by it."""
    return Path(lake.uri(table)) / "_delta_log" / ".erasing"


def _unclean(lake: Lake, table: str) -> bool:
    return _mark(lake, table).exists()


def _rows(lake: Lake, table: str, user_id: str) -> int:
    files = sorted(Path(lake.uri(table)).rglob("*.parquet"))
    files = [path for path in files if "_delta_log" not in path.parts]
    if not files:
        return 0
    rows = pl.scan_parquet(files, missing_columns="insert", extra_columns="ignore", hive_partitioning=False)
    return int(rows.filter(pl.col(_COLUMN) == user_id).select(pl.len()).collect().item())
