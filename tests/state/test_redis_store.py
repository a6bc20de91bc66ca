"""What is Redis's own: a lock that outlives its holder, a holder that comes too late, a server that is not there."""

from __future__ import annotations

import threading
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.engines import open_store
from recsys.errors import BadInput, StoreUnavailable
from recsys.eventlog import LocalEventLog
from recsys.home import Home
from recsys.state_redis import RedisStore
from recsys.state_store import LocalStore, StateStore, StateUpdater
from recsys.state_tail import read_states
from tests.engines import free_port
from tests.eventlog.samples import play


def fresh(url: str, **settings_: float) -> RedisStore:
    return RedisStore(url, uuid.uuid4().hex, **settings_)


def test_a_holder_that_died_holds_the_others_up_no_longer_than_its_lock_lives(redis_url: str) -> None:
    prefix = uuid.uuid4().hex
    dead = RedisStore(redis_url, prefix, hold_seconds=0.3).exclusive()
    dead.__enter__()  # and never leaves
    other = RedisStore(redis_url, prefix)
    begin = time.monotonic()
    with other.exclusive():
        other.put([("a", b"2")])
    assert 0.1 < time.monotonic() - begin < 5
    assert other.get("a") == b"2"


def test_a_holder_that_wakes_up_too_late_writes_nothing_over_what_others_wrote(redis_url: str) -> None:
    prefix = uuid.uuid4().hex
    slow, other = RedisStore(redis_url, prefix, hold_seconds=0.05), RedisStore(redis_url, prefix)

    def late() -> None:
        with slow.exclusive():
            slow.put([("a", b"late"), ("b", b"late")])
            time.sleep(0.2)

    thread = threading.Thread(target=lambda: other.put([("a", b"other")]))
    with pytest.raises(StoreUnavailable, match="took longer"):
        late()
    thread.start()
    thread.join()
    assert (other.get("a"), other.get("b")) == (b"other", None)


def test_writes_inside_are_seen_by_their_writer_only_and_others_wait(redis_url: str) -> None:
    prefix = uuid.uuid4().hex
    one, two = RedisStore(redis_url, prefix), RedisStore(redis_url, prefix)
    writer = threading.Thread(target=lambda: two.put([("k", b"later")]))
    with one.exclusive():
        one.put([("k", b"mine")])
        assert (one.get("k"), one.keys(5)) == (b"mine", ["k"])
        assert (two.get("k"), two.keys(5)) == (None, [])
        writer.start()
        time.sleep(0.05)
        assert writer.is_alive()
    writer.join()
    assert one.get("k") == b"later"


def test_waiting_ends_with_an_error_that_says_why(redis_url: str) -> None:
    prefix = uuid.uuid4().hex
    held = RedisStore(redis_url, prefix).exclusive()
    held.__enter__()
    with pytest.raises(StoreUnavailable, match="locked"):
        RedisStore(redis_url, prefix, wait_seconds=0.05).put([("a", b"1")])


def test_a_server_that_is_not_there_and_a_wrong_url_are_one_line_errors(tmp_path: Path) -> None:
    pytest.importorskip("redis")
    with pytest.raises(StoreUnavailable, match="does not answer"):
        RedisStore(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(BadInput, match="must look like redis"):
        open_store(Home.of(tmp_path), "mysql://nowhere")


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=8), min_size=1, max_size=6))
def test_states_in_redis_equal_embedded_ones_for_any_batches(
    redis_url: str, tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]]
) -> None:
    folder = tmp_path_factory.mktemp("columns")
    log = LocalEventLog(folder / "log")
    stores: list[StateStore] = [LocalStore(folder / "state.sqlite"), fresh(redis_url)]
    for batch in batches:
        log.append([play(i) for i in batch])
        for store in stores:
            StateUpdater(log, store).catch_up()
    embedded, redis = stores
    assert redis.keys(100) == embedded.keys(100) != []
    assert read_states(redis, redis.keys(100)) == read_states(embedded, embedded.keys(100))
