"""Log to lake: exactly once, through repeated deliveries, rival movers and kill -9."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import pytest
from deltalake import DeltaTable

from recsys.eventlog import LocalEventLog
from recsys.events import Event
from recsys.home import Home
from recsys.ingest import Moved, Mover, move, mover_process
from recsys.lake import Conflict, Lake
from recsys.ports import Appended, Record
from recsys.schemas import EventKind
from tests.eventlog.crash import LogService, check, run
from tests.eventlog.samples import play


def ids(lake: Lake) -> list[str]:
    return sorted(lake.scan("events").select("event_id").collect()["event_id"].to_list())


def test_events_arrive_in_the_lake_once_and_complete(tmp_path: Path) -> None:
    log, lake = LocalEventLog(tmp_path / "log"), Lake(tmp_path / "lake")
    events = [play(i) for i in range(10)]
    log.append(events)
    assert move(log, lake, batch=4) == Moved(written=10, duplicates=0, offset=10)
    assert move(log, lake) == Moved(written=0, duplicates=0, offset=10)
    assert log.committed("lake") == 10
    row = lake.scan("events").collect().sort("event_id").row(3, named=True)
    expected = events[3].model_dump()
    assert {name: row[name] for name in expected} == expected
    assert row["day"] == events[3].ts.date()


def test_a_mover_killed_before_it_commits_its_offset_moves_nothing_twice(tmp_path: Path) -> None:
    log, lake = LocalEventLog(tmp_path / "log"), Lake(tmp_path / "lake")
    log.append([play(i) for i in range(5)])
    move(log, lake)
    log.commit("lake", 0)  # as if it had died just before
    log.append([play(9)])
    assert move(log, lake) == Moved(written=1, duplicates=0, offset=6)
    assert len(ids(lake)) == 6


class TwiceDelivering:
    """A log that delivers every record twice, as a broker without exactly-once delivery may."""

    identity = "twice"

    def __init__(self, log: LocalEventLog) -> None:
        self._log = log

    def append(self, events: Sequence[Event], wait: bool = True) -> list[Appended]:
        return self._log.append(events)

    def read(
        self, offset: int = 0, limit: int | None = None, skip: Collection[EventKind] = ()
    ) -> Iterator[Record]:
        records = [r for r in self._log.read() for _ in range(2)]
        return iter([Record(i, r.event) for i, r in enumerate(records)][offset:][:limit])

    def find(self, event_id: str, offset: int = 0) -> Event | None:
        return self._log.find(event_id, offset)

    @property
    def shredded(self) -> int:
        return self._log.shredded

    def in_clear(self, text: str) -> int:
        return self._log.in_clear(text)

    @property
    def end(self) -> int:
        return 2 * self._log.end

    def committed(self, group: str) -> int:
        return self._log.committed(group)

    def commit(self, group: str, offset: int) -> None:
        self._log.commit(group, offset)


def test_a_log_that_delivers_twice_still_gives_one_row(tmp_path: Path) -> None:
    log, lake = LocalEventLog(tmp_path / "log"), Lake(tmp_path / "lake")
    log.append([play(i) for i in range(5)])
    assert move(TwiceDelivering(log), lake, batch=3) == Moved(written=5, duplicates=5, offset=10)
    assert len(ids(lake)) == 5


def test_the_slower_of_two_movers_changes_nothing(tmp_path: Path) -> None:
    log, lake = LocalEventLog(tmp_path / "log"), Lake(tmp_path / "lake")
    log.append([play(1)])
    slow = lake.cursor("events", f"lake@{log.identity}")
    move(log, lake)
    with pytest.raises(Conflict):
        lake.append_through(slow, lake.scan("events").collect(), 1)
    assert len(ids(lake)) == 1


def test_a_log_made_anew_is_moved_from_its_own_beginning(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    for name in ("old", "new"):
        log = LocalEventLog(tmp_path / name)
        log.append([play(1 if name == "old" else 2)])
        assert move(log, lake).written == 1


def test_a_background_mover_moves_while_events_come_and_the_rest_when_stopped(tmp_path: Path) -> None:
    log, lake = LocalEventLog(tmp_path / "log"), Lake(tmp_path / "lake")
    with Mover(log, lake, interval=0.01):
        log.append([play(1)])
        deadline = time.monotonic() + 10
        while not (lake.has("events") and ids(lake)) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(ids(lake)) == 1
        log.append([play(2)])
    assert len(ids(lake)) == 2


class Growing(LocalEventLog):
    """A log that gets one more event whenever it has been read, as under steady traffic."""

    def read(
        self, offset: int = 0, limit: int | None = None, skip: Collection[EventKind] = ()
    ) -> Iterator[Record]:
        found = list(super().read(offset, limit, skip))
        self.append([play(self.end)])
        return iter(found)


def test_a_move_ends_while_events_keep_coming(tmp_path: Path) -> None:
    log, lake = Growing(tmp_path / "log"), Lake(tmp_path / "lake")
    log.append([play(i) for i in range(5)])
    moved = move(log, lake)
    assert moved.written == 5
    assert log.end > 5
    assert move(log, lake).written > 0


def eventually(holds: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def test_a_mover_process_moves_while_events_come_and_the_rest_when_stopped(tmp_path: Path) -> None:
    home = Home.of(tmp_path).make()
    log, lake = LocalEventLog(home.log), Lake(home.lake)
    with mover_process(home, interval=0.05), mover_process(home, interval=0.05):
        log.append([play(1)])
        assert eventually(lambda: lake.has("events") and len(ids(lake)) == 1)
        log.append([play(2)])
    assert len(ids(lake)) == 2


def test_a_mover_process_ends_with_its_parent_and_moves_what_was_left(tmp_path: Path) -> None:
    home = Home.of(tmp_path).make()
    log, lake = LocalEventLog(home.log), Lake(home.lake)
    log.append([play(1)])
    start = "import sys, os; from recsys.home import Home; from recsys.ingest import mover_process"
    start += f"\nwith mover_process(Home.of({str(tmp_path)!r}), 1000): os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", start], check=False)
    assert eventually(lambda: lake.has("events") and len(ids(lake)) == 1)


def test_compaction_joins_the_small_files_and_keeps_rows_position_and_old_versions(tmp_path: Path) -> None:
    log, lake = LocalEventLog(tmp_path / "log"), Lake(tmp_path / "lake")
    for i in range(6):
        log.append([play(i)])
        days = move(log, lake).days
    version, before = lake.version("events"), ids(lake)
    files = len(DeltaTable(lake.uri("events")).file_uris())
    lake.compact("events", days)
    assert len(DeltaTable(lake.uri("events")).file_uris()) < files
    assert ids(lake) == before
    assert lake.scan("events", version).collect().height == 6
    assert move(log, lake) == Moved(written=0, duplicates=0, offset=6)


def kill_and_check(folder: Path, kills: int, seed: int) -> None:
    posted = run(LogService(folder), kills, play, seed)
    assert posted.kills == kills
    assert posted.acknowledged
    check(Lake(folder / "lake"), posted)


def test_kill_9_loses_and_doubles_nothing(tmp_path: Path) -> None:
    kill_and_check(tmp_path, kills=3, seed=1)


@pytest.mark.slow
def test_kill_9_at_twenty_random_points_loses_and_doubles_nothing(tmp_path: Path) -> None:
    kill_and_check(tmp_path, kills=20, seed=2)
