"""The online stores and the updater: visible at once, replay-proof, shared by processes."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from recsys.eventlog import LocalEventLog
from recsys.events import Event, to_frame
from recsys.features.state import apply, decode, encode
from recsys.lake import Lake
from recsys.state_store import StateStore, StateUpdater, refresh_states
from recsys.state_tail import TAIL_BYTES, read_state, read_states, tail_key
from recsys.types import UserState
from tests.eventlog.samples import NOW, play

ROOT = Path(__file__).resolve().parents[2]
Open = Callable[[], StateStore]
MINUTE = timedelta(minutes=1)


def expected(events: list[Event]) -> dict[str, UserState]:
    users = {event.user_id for event in events}
    return {user: apply(UserState(user), [e for e in events if e.user_id == user]) for user in users}


def stored(store: StateStore) -> dict[str, UserState]:
    """Without offsets, which depend on the order of arrival."""
    states = read_states(store, store.keys(100))
    return {s.user_id: UserState(**{**vars(s), "offset": -1}) for s in states}


def test_new_records_show_in_the_state_and_replays_change_nothing(tmp_path: Path, open_store: Open) -> None:
    log, store = LocalEventLog(tmp_path / "log"), open_store()
    events = [play(i) for i in range(20)]
    updater = StateUpdater(log, store)
    log.append(events[:12])
    assert updater.catch_up() == 12
    log.append(events[12:])
    assert StateUpdater(log, store).catch_up() == 8
    assert updater.catch_up() == 0
    assert updater.offset == 20
    assert stored(store) == expected(events)
    states = [read_state(store, event.user_id) for event in events]
    assert {state.offset for state in states} == {17, 18, 19}


def test_a_background_updater_shows_an_acknowledged_event_within_a_second(
    tmp_path: Path, open_store: Open
) -> None:
    log, store = LocalEventLog(tmp_path / "log"), open_store()
    updater = StateUpdater(log, store, interval=0.02).start()
    log.append([play(1)])
    acknowledged = time.monotonic()
    while store.get(play(1).user_id) is None:
        assert time.monotonic() - acknowledged < 5, "1 s is the target; a busy machine gets more"
        time.sleep(0.005)
    updater.stop()


def test_a_failed_transaction_leaves_nothing_behind(tmp_path: Path, open_store: Open) -> None:
    store = open_store()

    def fail() -> None:
        with store.exclusive():
            store.put([("a", b"1")])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert store.get("a") is None
    store.put([("a", b"2"), ("station:1", b"3")])
    assert store.get("a") == b"2"
    assert store.keys(10) == ["a"]


def test_a_backfill_joins_what_live_events_have_built_meanwhile(tmp_path: Path, open_store: Open) -> None:
    log, store = LocalEventLog(tmp_path / "log"), open_store()
    lake = Lake(tmp_path / "lake")
    history, live = [play(i) for i in range(9)], [play(i) for i in range(9, 15)]
    lake.append("events", to_frame(history))
    log.append(live)
    StateUpdater(log, store).catch_up()
    assert refresh_states(lake, store) == 3
    assert stored(store) == expected([*history, *live])
    assert refresh_states(lake, store, users=[play(0).user_id]) == 1
    assert stored(store) == expected([*history, *live])


def test_three_processes_update_at_once_and_every_record_is_applied(tmp_path: Path, open_store: Open) -> None:
    script = """
        import sys
        from pathlib import Path
        from recsys.eventlog import LocalEventLog
        from recsys.state_store import LocalStore, StateUpdater
        from recsys.state_redis import RedisStore
        from tests.eventlog.samples import NOW, play
        folder, number = Path(sys.argv[1]), int(sys.argv[2])
        log = LocalEventLog(folder / "log")
        store = RedisStore(*sys.argv[3:]) if sys.argv[3:] else LocalStore(folder / "state.sqlite")
        updater = StateUpdater(log, store)
        for i in range(number, 90, 3):
            log.append([play(i)])
            updater.catch_up()
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    codes: list[int] = []

    def process(number: int) -> None:
        place = list(getattr(open_store, "place", ()))
        done = subprocess.run([*command, str(number), *place], cwd=ROOT, env=env, timeout=100)
        codes.append(done.returncode)

    threads = [threading.Thread(target=process, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0, 0, 0]
    assert stored(open_store()) == expected([play(i) for i in range(90)])


def test_an_encoded_state_survives_the_store(tmp_path: Path, open_store: Open) -> None:
    store = open_store()
    state = apply(UserState(play(1).user_id), [play(1)])
    store.put([(state.user_id, encode(state))])
    assert decode(open_store().get(state.user_id) or b"") == state


def test_a_tail_that_has_grown_is_merged_into_the_large_part(tmp_path: Path, open_store: Open) -> None:
    log, store = LocalEventLog(tmp_path / "log"), open_store()
    updater, events = StateUpdater(log, store), [play(3 * i, at=NOW + i * MINUTE) for i in range(150)]
    user, sizes = events[0].user_id, []
    for event in events:
        log.append([event])
        updater.catch_up()
        sizes.append(len(store.get(tail_key(user)) or b""))
        assert read_state(store, user).offset == log.end - 1
    assert 0 < max(sizes) <= TAIL_BYTES
    assert sizes.count(0) > 2, "the tail was emptied several times"
    assert stored(store) == expected(events)
    assert store.keys(10) == [user]


def test_threads_that_catch_up_at_once_share_a_pass_and_each_sees_its_own_event(
    tmp_path: Path, open_store: Open
) -> None:
    log, store = LocalEventLog(tmp_path / "log"), open_store()
    updater = StateUpdater(log, store)
    unseen: list[int] = []

    def client(number: int) -> None:
        for i in range(number, 120, 6):
            log.append([play(i, at=NOW + i * MINUTE)])
            updater.catch_up()
            start = int(play(i, at=NOW + i * MINUTE).ts.timestamp() * 1000) - 30_000
            if start not in read_state(store, play(i).user_id).start:
                unseen.append(i)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not unseen
    assert stored(store) == expected([play(i, at=NOW + i * MINUTE) for i in range(120)])
