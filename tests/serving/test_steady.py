"""The listener states down or slow: answers go on, say so, and take no consent for granted."""

import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests_events import event, play

from recsys.breaker import BreakerRule
from recsys.errors import StoreUnavailable
from recsys.home import Home
from recsys.schemas import Surface
from recsys.state_store import LocalStore
from recsys.steady_store import SteadyStore
from recsys.types import Ask, Context
from serving.service import Service
from tests.engines import free_port, redis_server


class Failing(LocalStore):
    """A store that can be taken away."""

    down = False
    calls = 0

    def get(self, key: str) -> bytes | None:
        self.calls += 1
        if self.down:
            raise StoreUnavailable("down")
        return super().get(key)

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        if self.down:
            raise StoreUnavailable("down")
        return super().get_many(keys)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        if self.down:
            raise StoreUnavailable("down")
        with super().exclusive():
            yield


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Failing:
    return Failing(tmp_path / "state.sqlite")


def test_what_was_read_lately_stands_in_and_what_was_not_raises(store: Failing) -> None:
    clock = Clock()
    steady = SteadyStore(store, seconds=60, clock=clock)
    store.put([("a", b"1")])
    assert steady.get("a") == b"1"
    assert not steady.stood_in
    store.down = True
    assert steady.get("a") == b"1"
    assert steady.stood_in
    with pytest.raises(StoreUnavailable):
        steady.get("b")
    clock.now = 61
    with pytest.raises(StoreUnavailable):
        steady.get("a")


def test_both_parts_of_a_state_stand_in_and_a_listener_that_was_never_found_does_not(store: Failing) -> None:
    steady = SteadyStore(store)
    store.put([("a", b"1"), ("b", b"2"), ("tail:b", b"3")])
    assert steady.get_many(["a", "tail:a"]) == [b"1", None]
    assert steady.get_many(["b", "tail:b"]) == [b"2", b"3"]
    assert steady.get_many(["c", "tail:c"]) == [None, None]
    store.down = True
    assert steady.get_many(["a", "tail:a"]) == [b"1", b""]
    assert steady.get_many(["b", "tail:b"]) == [b"2", b"3"]
    assert steady.stood_in
    with pytest.raises(StoreUnavailable):
        steady.get_many(["c", "tail:c"])
    steady.forget(["a"])
    with pytest.raises(StoreUnavailable):
        steady.get_many(["a", "tail:a"])


def test_a_store_that_is_down_is_asked_twice_and_then_only_by_probes(store: Failing) -> None:
    clock = Clock()
    steady = SteadyStore(store, rule=BreakerRule(trips=2, seconds=1.0), clock=clock)
    store.down = True
    for _ in range(50):
        with pytest.raises(StoreUnavailable):
            steady.get("a")
    assert store.calls == 2
    assert steady.down
    store.down, clock.now = False, 1.5
    assert steady.get("a") is None
    assert not steady.down


def test_what_could_not_be_written_is_read_back_and_written_later(store: Failing) -> None:
    clock = Clock()
    steady = SteadyStore(store, clock=clock)
    store.down = True
    steady.put([("station:1", b"one")])
    with steady.exclusive():
        steady.put([("station:2", b"two")])
        assert steady.get("station:2") == b"two"
    assert steady.get("station:1") == b"one"
    store.down, clock.now = False, 30.0
    with steady.exclusive():
        steady.put([("station:3", b"three")])
    assert [store.get(f"station:{i}") for i in (1, 2, 3)] == [b"one", b"two", b"three"]


def test_a_failed_body_writes_nothing_and_reads_go_on_while_writes_are_locked(store: Failing) -> None:
    steady = SteadyStore(LocalStore(store._path, patience=0.05))
    store.put([("a", b"1")])
    with pytest.raises(KeyError), steady.exclusive():
        raise KeyError
    with store.exclusive():
        begin = time.monotonic()
        for i in range(20):
            steady.put([(f"station:{i}", b"x")])
        assert time.monotonic() - begin < 1.0
        assert steady.get("a") == b"1"
        assert not steady.stood_in
    assert store.get("station:1") is None


def test_memory_is_bounded_and_a_withdrawn_consent_is_forgotten(store: Failing) -> None:
    steady = SteadyStore(store, capacity=100)
    store.put([(str(i), bytes(30)) for i in range(10)])
    for i in range(10):
        steady.get(str(i))
    steady.forget(["9"])
    store.down = True
    remembered = []
    for i in range(10):
        try:
            remembered.append((i, steady.get(str(i))))
        except StoreUnavailable:
            continue
    assert [i for i, _ in remembered] == [7, 8]


@pytest.fixture
def home(tiny_home: Home, tmp_path: Path) -> Home:
    unneeded = shutil.ignore_patterns("world", "work", "features", "reports", "mlartifacts")
    return Home.of(Path(shutil.copytree(tiny_home.root, tmp_path / "home", ignore=unneeded)))


def test_redis_that_stops_answering_costs_no_answer_and_no_consent(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import signal

    listeners = LocalStore(home.state_db).keys(20)
    with redis_server(tmp_path) as url:
        from recsys.state_redis import RedisStore

        local = LocalStore(home.state_db)
        RedisStore(url).put([(key, local.get(key) or b"") for key in listeners])
        monkeypatch.setenv("RECSYS_STATE", url)
        pid = RedisStore(url)._redis.info("server")["process_id"]
        with Service.open(home) as service:
            ask = [Ask(Surface.HOME, user, 5, Context(country="SE")) for user in listeners]
            full = next(a for a in ask[:10] if service.recommend(a)["rung"] == "full")
            os.kill(pid, signal.SIGSTOP)
            try:
                seen = service.recommend(full)
                unseen = service.recommend(ask[15])
                times = []
                for a in ask:
                    begin = time.perf_counter()
                    assert service.recommend(a)["shelves"]
                    times.append(time.perf_counter() - begin)
                begin = time.perf_counter()
                told = service.ingest([play(full.user_id, "t" * 22, 1_750_000_000_000, 200_000, "trackdone")])
                assert time.perf_counter() - begin < 1.0
            finally:
                os.kill(pid, signal.SIGCONT)
            assert (seen["rung"], seen["degraded"]) == ("full", ["stale_state"])
            assert (unseen["rung"], unseen["degraded"]) == ("popular", ["state"])
            record = service.decision(unseen["request_id"])
            assert not record["listener"]["personalized"]
            assert record["degraded"] == ["state"]
            assert sorted(times)[len(times) // 2] < 0.1
            assert told["accepted"] == 1
            until = time.monotonic() + 20
            while service.recommend(full)["degraded"] and time.monotonic() < until:
                time.sleep(0.2)
            while "t" * 22 not in service.state(full.user_id or "").track_id and time.monotonic() < until:
                time.sleep(0.2)
            assert "t" * 22 in service.state(full.user_id or "").track_id


def test_a_replica_starts_and_answers_while_the_states_are_down(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("redis")
    monkeypatch.setenv("RECSYS_STATE", f"redis://127.0.0.1:{free_port()}/0")
    with Service.open(home) as service:
        assert service.ready()
        answer = service.recommend(Ask(Surface.HOME, "u" * 22, 5))
        assert (answer["rung"], answer["degraded"]) == ("popular", ["state"])
        for surface in (Surface.DAILY_MIX, Surface.DISCOVERY, Surface.BECAUSE):
            assert service.recommend(Ask(surface, "u" * 22, 5))["degraded"] == ["state"]
        assert service.status()["state_store"]["failures"] > 0


def test_a_locked_state_file_holds_up_neither_events_nor_radio(home: Home) -> None:
    with Service.open(home) as service:
        user = service.listeners(1)[0]["user_id"]
        home_answer = service.recommend(Ask(Surface.HOME, user, 5))
        track = home_answer["shelves"][0]["items"][0]["track_id"]
        locked, done = threading.Event(), threading.Event()

        def hold() -> None:
            with closing(sqlite3.connect(home.state_db, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                locked.set()
                done.wait(30)

        holder = threading.Thread(target=hold)
        holder.start()
        assert locked.wait(5)
        begin = time.perf_counter()
        page = service.recommend(Ask(Surface.RADIO, user, 5, seed=f"track:{track}"))
        more = service.recommend(Ask(Surface.RADIO, user, 5, seed=f"track:{track}", cursor=page["cursor"]))
        told = service.ingest([event("save", user, track, 1_750_000_000_000)])
        spent = time.perf_counter() - begin
        done.set()
        holder.join()
        assert spent < 2.0
        assert told["accepted"] == 1
        assert page["rung"] == more["rung"] == "full"
        assert not {i["track_id"] for i in page["items"]} & {i["track_id"] for i in more["items"]}
        until = time.monotonic() + 20
        while track not in service.state(user).saved and time.monotonic() < until:
            time.sleep(0.1)
        assert track in service.state(user).saved
