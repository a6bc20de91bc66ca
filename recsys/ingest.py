"""Moves events from the log to the lake, each exactly once.

move(log, Lake(home.lake))            # everything that is there now
with Mover(log, lake, interval=2.0):  # in a thread
with mover_process(home, interval=30): # beside a server: what moving costs is not taken from requests
"""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import TracebackType

import polars as pl

from recsys.engines import open_log
from recsys.events import to_frame
from recsys.home import Home
from recsys.lake import Conflict, Lake
from recsys.ports import EventLog

_ATTEMPTS = 10
_COMPACT_EVERY = 100

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Moved:
    """What one call of `move` did."""

    written: int = 0  # rows appended to the lake
    duplicates: int = 0  # records whose event id the lake already had
    offset: int = 0  # everything in the log before this offset is in the lake
    days: frozenset[date] = field(default=frozenset(), compare=False)  # partitions that got rows


def caught_up(home: Home) -> Lake:
    """A home's lake, with everything that its log holds durably by now.

    Raises: see `move`.
    """
    lake, log = Lake(home.lake), open_log(home)
    try:
        move(log, lake)
    finally:
        log.close()
    return lake


def move(log: EventLog, lake: Lake, group: str = "lake", batch: int = 20_000) -> Moved:
    """Moves all records that are durable when it is called; those that come meanwhile wait for the next call.

    The offset is committed in the same Delta transaction as the rows, and the lake is the authority on it: a
    process killed at any point, or two that move at once, write each record once. Rows are moreover checked
    against the ids already in their day partitions, so a log that delivers twice changes nothing.

    Raises:
        LogUnavailable, BadInput: the log cannot be read.
        Conflict: another mover kept winning.
    """
    written = duplicates = failures = 0
    days: set[date] = set()
    end = log.end
    while True:
        cursor = lake.cursor("events", f"{group}@{log.identity}")
        stop = min(cursor.position + batch, end)
        if stop <= cursor.position:
            if log.committed(group) != cursor.position:  # for whoever watches the lag; the lake decides
                log.commit(group, cursor.position)
            return Moved(written, duplicates, cursor.position, frozenset(days))
        records = list(log.read(cursor.position, stop - cursor.position))
        rows = new_rows(lake, to_frame([record.event for record in records]))
        try:
            lake.append_through(cursor, rows, stop)
        except Conflict:
            failures += 1
            if failures == _ATTEMPTS:
                raise
            continue
        written += rows.height
        days.update(rows["day"])
        duplicates += len(records) - rows.height


def position(log: EventLog, lake: Lake, group: str = "lake") -> int:
    """The oldest offset that the log holds and the lake may lack.

    As the lake says: what a log remembers of a group is a copy of it, and brokers forget those of idle groups.
    """
    moved = lake.cursor("events", f"{group}@{log.identity}").position if lake.has("events") else 0
    return max(moved, log.start)


def new_rows(lake: Lake, rows: pl.DataFrame, slack_days: int = 0) -> pl.DataFrame:
    """Rows of `events` whose ids neither the lake nor an earlier row has.

    The same event has the same `ts`, so looking into the day partitions of the rows is enough; where `ts` is
    an estimate that may have changed, `slack_days` looks that much further.
    """
    rows = rows.unique("event_id", keep="first", maintain_order=True)
    shifts = range(-slack_days, slack_days + 1)
    days = pl.concat([rows["day"].unique().dt.offset_by(f"{n}d") for n in shifts]).unique().to_list()
    known = lake.scan("events").filter(pl.col("day").is_in(days)).select("event_id")
    known_ids = known.join(rows.lazy().select("event_id"), on="event_id", how="semi").collect()
    return rows.join(known_ids, on="event_id", how="anti", maintain_order="left")


class Mover:
    """Calls `move` every `interval` seconds in a thread of its own; problems are logged and tried again."""

    def __init__(
        self,
        log: EventLog,
        lake: Lake,
        interval: float = 2.0,
        group: str = "lake",
        turn: Path | None = None,
    ) -> None:
        """`turn`: a lock file; of the movers that name it one moves at a time, each what is left at its end."""
        self._turn = turn
        self._log, self._lake, self._interval, self._group = log, lake, interval, group
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lake-mover", daemon=True)
        self._lock = threading.Lock()
        self._moves = 0
        self._days: set[date] = set()

    def start(self) -> Mover:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends the thread, where one runs, and moves what is left."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self.attempt()

    def run_once(self) -> Moved:
        """Moves everything that is durable now; now and then joins the small files that this leaves."""
        with self._lock:
            moved = move(self._log, self._lake, self._group)
            if moved.written:
                self._moves += 1
                self._days |= moved.days
                if self._moves % _COMPACT_EVERY == 0:  # each move leaves a small file a day
                    self._lake.compact("events", self._days)
                    self._days = set()
            return moved

    def __enter__(self) -> Mover:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        with nullcontext() if self._turn is None else self._turn.open("ab") as turn:
            while not self._stop.wait(self._interval):
                with suppress(BlockingIOError):  # another moves: this one takes over when that one has ended
                    if turn is not None:
                        fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self.attempt()

    def attempt(self) -> None:
        """Like `run_once`, where a failure is logged and left to the next pass."""
        try:
            self.run_once()
        except Exception:  # whatever it was (disk, lake, damage), the events are safe in the log
            logger.exception("moving events to the lake failed; the next pass tries again")


@contextmanager
def mover_process(home: Home, interval: float, seconds: float = 30.0) -> Iterator[None]:
    """A process with a `Mover` over one home, at low priority, while the body runs; then it moves what is left.

    Of several over the same home one moves at a time, and another takes over where that one dies. A parent that
    is killed closes the pipe, which is the sign to move what is left and end; if both are killed, the events wait
    in the log for the next mover. `seconds` is how long the end waits for that last move.
    """
    command = [sys.executable, "-m", "recsys.ingest", str(home.root), str(interval)]
    # A session of its own, so that Ctrl-C at a terminal does not interrupt it in the middle of a move.
    process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        with suppress(subprocess.TimeoutExpired):  # the events are safe in the log
            process.communicate(timeout=seconds)


def main(root: str, interval: str) -> None:
    """What a mover process runs: moves until standard input ends."""
    os.nice(19)  # whatever answers requests goes first
    with suppress(OSError):  # where Linux shares CPUs out by session, niceness counts inside one alone
        Path("/proc/self/autogroup").write_text("19")
    home = Home.of(root)
    home.log.mkdir(parents=True, exist_ok=True)
    with Mover(open_log(home), Lake(home.lake), float(interval), turn=home.log / "mover.lock"):
        sys.stdin.buffer.read()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(*sys.argv[1:])
