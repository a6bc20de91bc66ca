"""Faults under load on a real server: no failed answer, the rung is named, events are refused and never lost."""

import math
from pathlib import Path

import pytest

from benchmarks.fault_kinds import redis_program
from benchmarks.faults import measure
from recsys.home import Home
from serving.settings import LadderSettings
from tests.serving.http_crash import copied

BOUND = LadderSettings().ladder_ms + LadderSettings().last_ms
"""Milliseconds: every rung overruns and the last one just answers."""


def drill(home: Home, folder: Path, engine: str, *only: str) -> dict[str, dict]:
    found = measure(copied(home, folder).root, engine, list(only), rate=8.0, seconds=4.0)
    assert found["failed"] == 0
    assert found["events"]["lost"] == 0
    assert found["events"]["acknowledged"] > 0
    outcomes = {o["fault"]: o for o in found["outcomes"]}
    for outcome in outcomes.values():
        assert outcome["p99"] < BOUND
        assert sum(outcome["rungs"].values()) == outcome["requests"]
        assert math.isfinite(outcome["recovered"])
    return outcomes


@pytest.mark.slow
def test_models_disk_and_releases_may_fail_under_load(tiny_home: Home, tmp_path: Path) -> None:
    faults = (
        "hang_sequence",
        "corrupt_index",
        "full_disk",
        "locked_states",
        "damaged_release",
        "swapped_release",
    )
    outcomes = drill(tiny_home, tmp_path, "embedded", *faults)
    assert outcomes["hang_sequence"]["rungs"]["light"] > 10
    assert outcomes["full_disk"]["events_refused"] > 0
    assert set(outcomes["damaged_release"]["rungs"]) == {"full"}


@pytest.mark.slow
def test_the_state_store_may_stop_under_load(tiny_home: Home, tmp_path: Path) -> None:
    pytest.importorskip("redis")
    try:
        redis_program()
    except SystemExit:
        pytest.skip("no redis-server")
    outcomes = drill(tiny_home, tmp_path, "redis", "stopped_states")
    assert outcomes["stopped_states"]["degraded"] > 10


@pytest.mark.slow
def test_a_replica_may_be_killed_under_load(tiny_home: Home, tmp_path: Path) -> None:
    drill(tiny_home, tmp_path, "ray", "kill_replica")
