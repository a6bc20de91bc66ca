"""SQLite files that processes open at the same moment."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from recsys.sqlite import write_ahead

ROOT = Path(__file__).parents[2]
FILES = 120
OPENER = """
    import sqlite3, sys, time
    from recsys.sqlite import write_ahead
    folder, begin, files = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    for i in range(files):
        while time.time() < begin + i * 0.01:
            pass
        connection = sqlite3.connect(f"{folder}/{i}.sqlite", isolation_level=None, timeout=60)
        write_ahead(connection, 60)
        connection.execute("CREATE TABLE IF NOT EXISTS entries (key TEXT)")
        connection.close()
"""


def test_processes_that_open_a_new_file_at_once_wait_their_turn(tmp_path: Path) -> None:
    """One pragma alone fails in about one of twenty such openings; all of a hundred would pass by luck in 1 of 500."""
    command = [sys.executable, "-c", textwrap.dedent(OPENER), str(tmp_path), str(time.time() + 1), str(FILES)]
    openers = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
    assert [opener.wait(timeout=200) for opener in openers] == [0, 0, 0]
    with sqlite3.connect(tmp_path / "0.sqlite") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_that_stays_locked_is_an_error_once_patience_ends(tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "held.sqlite", isolation_level=None)
    holder.execute("CREATE TABLE entries (key TEXT)")
    holder.execute("BEGIN EXCLUSIVE")
    other = sqlite3.connect(tmp_path / "held.sqlite", isolation_level=None, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        write_ahead(other, 0.05)
    holder.execute("ROLLBACK")
    write_ahead(other, 0.05)


def test_a_file_that_cannot_be_written_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("no database " * 100)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        write_ahead(sqlite3.connect(tmp_path / "text.sqlite"), 60)
