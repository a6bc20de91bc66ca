"""The Flink job over the same log gives the states of the embedded one.

RECSYS_FLINK_PYTHON names the python of an environment with apache-flink (`make flink` makes one); else they skip.
RECSYS_FLINK_EVENTS is how many events the slow test takes, 1,000,000 unless it says otherwise.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from recsys.eventlog import LocalEventLog
from recsys.state_store import LocalStore, StateUpdater
from recsys.state_tail import read_states
from recsys.stream_flink import export, states
from tests.state.stream_job import FORGETFUL, ROOT, history


@pytest.fixture
def python() -> str:
    found = os.environ.get("RECSYS_FLINK_PYTHON", str(ROOT / ".flink" / "bin" / "python"))
    if not Path(found).exists():
        pytest.skip("no Flink here: make flink")
    return found


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_flink_gives_the_states_of_the_embedded_job(tmp_path: Path, python: str) -> None:
    wanted = int(os.environ.get("RECSYS_FLINK_EVENTS", "1000000"))
    log, store = LocalEventLog(tmp_path / "log", FORGETFUL), LocalStore(tmp_path / "state.sqlite")
    part = history(listeners=max(20, wanted // 400), events=wanted, seed=5)
    for first in range(0, len(part), 5_000):
        log.append(part[first : first + 5_000])
    StateUpdater(log, store).catch_up()
    assert export(log, tmp_path / "events") == log.end
    command = [python, "-m", "recsys.stream_flink", "run", str(tmp_path / "events"), str(tmp_path / "out")]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    flink = {state.user_id: state for state in states(tmp_path / "out")}
    users = store.keys(1_000_000)
    assert flink == dict(zip(users, read_states(store, users), strict=True))
    assert log.end > 0.9 * wanted


def test_an_export_holds_every_record_and_what_a_job_wrote_is_read_back(tmp_path: Path) -> None:
    log = LocalEventLog(tmp_path / "log", FORGETFUL)
    log.append(history(listeners=5, events=300, seed=6))
    assert export(log, tmp_path / "events", rows=70) == log.end
    lines = [
        line for path in sorted((tmp_path / "events").iterdir()) for line in path.read_text().splitlines()
    ]
    assert [int(line.split("\t")[0]) for line in lines] == list(range(log.end))
