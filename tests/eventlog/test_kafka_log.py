"""The event log's behaviour on both engines, and what is Kafka's own: rival writers, a broker that is gone."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.engines import open_log
from recsys.errors import BadInput, LogUnavailable
from recsys.eventlog import LocalEventLog
from recsys.eventlog_kafka import KafkaEventLog, KafkaSettings
from recsys.home import Home
from recsys.ingest import Moved, move
from recsys.lake import Lake
from recsys.ports import Appended, EventLog
from recsys.schemas import EventKind
from recsys.state_redis import RedisStore
from recsys.state_store import LocalStore, StateStore, StateUpdater
from recsys.state_tail import read_states
from tests.engines import kafka_address, kafka_broker, redis_url
from tests.eventlog.samples import NOW, play

__all__ = ["kafka_address", "redis_url"]
Open = Callable[[], EventLog]


def on(address: str, topic: str | None = None, **more: float) -> KafkaEventLog:
    return KafkaEventLog(KafkaSettings(servers=address, topic=topic or uuid.uuid4().hex, **more))


@pytest.fixture(params=["embedded", "kafka"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the same log anew at every call."""
    if request.param == "embedded":
        yield lambda: LocalEventLog(tmp_path / "log")
    else:
        url = f"kafka://{request.getfixturevalue('kafka_address')}/{uuid.uuid4().hex}"
        yield lambda: open_log(Home.of(tmp_path), url)


def test_what_is_appended_is_read_back_in_order_by_every_reader(reopen: Open) -> None:
    events = [play(i) for i in range(40)]
    log = reopen()
    for i in range(0, 40, 4):
        assert log.append(events[i : i + 4]) == [Appended.ACCEPTED] * 4
    for reader in (log, reopen()):
        assert reader.end == 40
        assert [r.event for r in reader.read()] == events
        assert [r.offset for r in reader.read(7, 10)] == list(range(7, 17))
        assert list(reader.read(40)) == []
        with pytest.raises(BadInput, match="spans 0 to 40"):
            reader.read(41)
    assert reopen().identity == log.identity


def test_kinds_left_out_keep_their_offsets_and_events_are_found_by_id(reopen: Open) -> None:
    log = reopen()
    events = [play(i) if i % 3 else play(i).model_copy(update={"kind": EventKind.SAVE}) for i in range(10)]
    log.append(events)
    found = list(log.read(1, limit=8, skip={EventKind.SAVE}))
    assert [(r.offset, r.event) for r in found] == [(i, events[i]) for i in range(1, 9) if i % 3]
    assert log.find(events[4].event_id, 3) == events[4]
    assert log.find(events[2].event_id, 3) is None


def test_the_same_event_is_a_duplicate_and_another_body_a_conflict(reopen: Open) -> None:
    log = reopen()
    log.append([play(i) for i in range(20)])
    later = play(3, received=NOW + timedelta(hours=1))
    again = [later, play(3, ms_played=5), play(99), play(99), play(99, ms_played=5)]
    assert [str(a) for a in log.append(again)] == [
        "duplicate",
        "conflict",
        "accepted",
        "duplicate",
        "conflict",
    ]
    anew = reopen()
    assert anew.append([later]) == [Appended.DUPLICATE]
    assert anew.end == 21


def test_commits_are_kept_per_group(reopen: Open) -> None:
    log = reopen()
    log.append([play(1), play(2)])
    log.commit("lake", 2)
    assert log.committed("state") == 0
    assert reopen().committed("lake") == 2
    with pytest.raises(BadInput, match="consumer group"):
        log.commit("../lake", 1)


def test_events_reach_the_lake_exactly_once(reopen: Open, tmp_path: Path) -> None:
    log, lake = reopen(), Lake(tmp_path / "lake")
    log.append([play(i) for i in range(10)])
    assert move(log, lake, batch=4) == Moved(written=10, duplicates=0, offset=10)
    log.commit("lake", 0)  # as if the mover had died just before
    log.append([play(9), play(10)])
    assert move(reopen(), lake) == Moved(written=1, duplicates=0, offset=11)
    assert lake.scan("events").collect()["event_id"].n_unique() == 11


def test_rival_writers_agree_on_one_record_of_each_event(reopen: Open) -> None:
    outcomes: list[list[Appended]] = []

    def client() -> None:
        log = reopen()
        outcomes.append([log.append([play(i)])[0] for i in range(40)])

    threads = [threading.Thread(target=client) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in zip(*outcomes, strict=True):
        assert sorted(one) == ["accepted", "duplicate", "duplicate"]
    assert sorted(r.event.event_id for r in reopen().read()) == sorted(play(i).event_id for i in range(40))


def test_of_two_bodies_that_race_the_first_in_the_topic_counts(kafka_address: str, tmp_path: Path) -> None:
    one = on(kafka_address, topic := uuid.uuid4().hex)
    two = on(kafka_address, topic)
    assert one.append([play(1)]) == [Appended.ACCEPTED]
    assert two.append([play(1, ms_played=5), play(1), play(2)]) == ["conflict", "duplicate", "accepted"]
    for log in (one, two, on(kafka_address, topic)):
        assert [(r.offset, r.event) for r in log.read()] == [(0, play(1)), (2, play(2))]
        assert log.end == 3
    assert move(one, Lake(tmp_path / "lake")) == Moved(written=2, duplicates=0, offset=3)


def test_ids_beyond_the_horizon_are_forgotten(kafka_address: str) -> None:
    log = on(kafka_address, horizon_events=10)
    log.append([play(i) for i in range(30)])
    assert log.append([play(0), play(25)]) == [Appended.ACCEPTED, Appended.DUPLICATE]


@settings(max_examples=5, deadline=None)
@given(st.lists(st.lists(st.integers(0, 25), min_size=1, max_size=8), min_size=1, max_size=4))
def test_states_in_redis_from_kafka_equal_embedded_ones_for_any_batches(
    kafka_address: str,
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[list[int]],
) -> None:
    folder = tmp_path_factory.mktemp("columns")
    columns: list[tuple[EventLog, StateStore]] = [
        (on(kafka_address), RedisStore(redis_url, uuid.uuid4().hex)),
        (LocalEventLog(folder / "log"), LocalStore(folder / "state.sqlite")),
    ]
    states = []
    for log, store in columns:
        for batch in batches:
            log.append([play(i) for i in batch])
            StateUpdater(log, store).catch_up()
        states.append(read_states(store, store.keys(100)))
    assert states[0] == states[1] != []


def test_a_broker_that_is_gone_refuses_the_batch_in_time(tmp_path: Path) -> None:
    with kafka_broker(tmp_path) as address:
        log = on(address, timeout_seconds=4.0)
        log.append([play(1)])
    with pytest.raises(LogUnavailable, match="Kafka at"):
        log.append([play(2)])
    with pytest.raises(LogUnavailable):
        log.read()
    with pytest.raises(BadInput, match="must look like kafka"):
        open_log(Home.of(tmp_path), "nats://nowhere")
