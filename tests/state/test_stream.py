"""The stream against the batch: whatever was repeated, late, out of order, killed or replayed, the states are equal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from recsys.eventlog import LocalEventLog
from recsys.events import Event
from recsys.features.state import backfill
from recsys.ingest import move
from recsys.lake import Lake
from recsys.state_store import StateStore, StateUpdater
from recsys.state_tail import read_states
from recsys.types import UserState
from tests.state.stream_job import FORGETFUL, history, killed_stream

Open = Callable[[], StateStore]


def values(state: UserState) -> int:
    """How many values two states have equal when they are equal."""
    columns = 7 * len(state.start) + 3 * len(state.saves)
    return columns + len(state.saved) + len(state.not_interested) + len(state.followed) + 2


def check(folder: Path, open_store: Open, events: Sequence[Event]) -> int:
    """Online states equal the batch recomputation from the lake, and a replay of the whole log changes nothing."""
    log, lake, store = LocalEventLog(folder / "log", FORGETFUL), Lake(folder / "lake"), open_store()
    assert log.end > len({e.event_id for e in events}), "some repetitions reached the log"
    while move(log, lake).written:
        pass
    batch = {s.user_id: s for s in backfill(lake)}
    users = store.keys(len(batch) + 1)

    def online() -> dict[str, UserState]:
        return {s.user_id: replace(s, offset=-1) for s in read_states(store, users)}

    assert online() == batch
    updater = StateUpdater(log, store)
    store.put([(f"offset:{log.identity}", b"0")])
    assert updater.catch_up() == log.end
    assert online() == batch
    log.close()
    return sum(map(values, batch.values()))


def test_a_stream_job_killed_at_random_points_leaves_the_states_of_the_batch(
    tmp_path: Path, open_store: Open
) -> None:
    events = history(listeners=40, events=6_000, seed=1)
    busy = killed_stream(tmp_path, getattr(open_store, "place", ()), events, kills=2, longest=0.3, seed=2)
    assert busy > 0
    assert check(tmp_path, open_store, events) > 20_000


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_kills_leave_a_million_values_equal_to_the_batch(tmp_path: Path, open_store: Open) -> None:
    events = history(listeners=1_500, events=220_000, seed=3)
    busy = killed_stream(tmp_path, getattr(open_store, "place", ()), events, kills=20, longest=1.0, seed=4)
    assert busy == 20
    assert check(tmp_path, open_store, events) >= 1_000_000
