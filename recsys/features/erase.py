"""Removes a listener from Feast's files: the export that training joins, and the online store."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import polars as pl

from recsys.home import Home
from recsys.state_store import purge


def erase_features(home: Home, user_id: str) -> dict[str, int]:
    """Removes the rows of a listener; how many there were, by file. Safe to repeat."""
    return {"export": _export(home, user_id), "online": _online(home, user_id)}


def _export(home: Home, user_id: str) -> int:
    total = 0
    for path in sorted(home.features.glob("*.parquet")):
        rows = pl.read_parquet(path)
        kept = rows.filter(pl.col("user_id") != user_id) if "user_id" in rows.columns else rows
        if kept.height < rows.height:
            beside = path.with_name(f".{path.name}.tmp")
            kept.write_parquet(beside)
            beside.replace(path)
            total += rows.height - kept.height
    return total


def _online(home: Home, user_id: str) -> int:
    """Feast keeps one table a view, whose `entity_key` holds the id as text among its bytes."""
    path, total = home.features / "online.sqlite", 0
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            columns = {row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')}
            if "entity_key" in columns:
                gone = f'DELETE FROM "{table}" WHERE instr(CAST(entity_key AS BLOB), ?) > 0'
                total += connection.execute(gone, (user_id.encode(),)).rowcount
        purge(connection)
    return total
