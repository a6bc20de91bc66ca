"""Versions are kept, changes move no more than they must, files are followed whole or not at all."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from experiments.assign import assign, assign_many
from experiments.changes import forbidden
from experiments.config import Config, load
from experiments.edit import start, stop, written
from experiments.parameters import Space
from experiments.running import Running
from experiments.source import Refused, Source
from experiments.store import Store
from recsys.errors import BadInput, UnknownId

NOW = 1_764_547_200_000  # 2025-12-01
HOUR = 3_600_000
THREE = """\
# who runs what
layers:
  - {name: ranking}
experiments:
  - name: ranker   # a word about it
    salt: ranker-1
    layer: {name: ranking, start: 0.0, end: 0.5}
    arms:
      - {name: a, weight: 0.334}
      - {name: b, weight: 0.333}
      - {name: c, weight: 0.333}
  - {arms: [{name: "on", weight: 1}], active: false, name: page, salt: page-1}
"""

FOUR = """\
layers:
  - {name: ranking}
  - {name: idle}
holdouts:
  - {name: global, salt: global-1, share: 0.05}
  - {name: over, salt: over-1, share: 0.05, stop: 2025-01-01}
experiments:
  - name: flag
    salt: flag-1
    layer: {name: ranking}
    arms: [{name: "on", weight: 1, value: 1}]
  - name: asks
    salt: asks-1
    arms:
      - {name: control, weight: 0.5}
      - {name: treatment, weight: 0.5, release: '2', parameters: {home.epsilon: 0.1}}
    question: {primary: hours, mde: 0.01, stopping: {rule: fixed, days: 14}}
"""


def folder_with(path: Path, text: str = THREE) -> Path:
    folder = path / "experiments"
    folder.mkdir(exist_ok=True)
    (folder / "e.yaml").write_text(text)
    return folder


def running(folder: Path, now: int = NOW) -> Running:
    return Running(folder, Store(folder), clock=lambda: now)


def conflicts(tmp_path: Path, changed: str, before: str = THREE) -> list[Any]:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(before)
    new.write_text(changed)
    return list(forbidden(load(old), load(new), NOW))


def test_a_change_that_moves_more_than_it_must_is_refused_with_the_way_out(tmp_path: Path) -> None:
    changed = THREE.replace("a, weight: 0.334", "a, weight: 0.5").replace("0.333", "0.25")
    ((place, message),) = conflicts(tmp_path, changed)
    assert place == ("experiments", 0, "arms")
    assert "24.9% of units where 16.6% do" in message
    assert "weight_changes" in message


def test_the_same_change_written_down_with_its_time_moves_the_fewest(tmp_path: Path) -> None:
    line = "    weight_changes: [{at: 2025-11-30, weights: {a: 0.5, b: 0.25, c: 0.25}}]\n    arms:"
    changed = THREE.replace("    arms:", line, 1)
    assert conflicts(tmp_path, changed) == []
    users = [f"u{i}" for i in range(20_000)]
    old, new = (assign_many(load(tmp_path / f"{n}.yaml"), users, NOW)["ranker"] for n in ("old", "new"))
    inside = old >= 0
    assert (inside == (new >= 0)).all()
    assert (old != new)[inside].mean() == pytest.approx(0.166, abs=0.01)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("ranker-1", "ranker-2", "salt"),
        ("salt: ranker-1", "salt: ranker-1\n    hash: statsig", "hash"),
        ("start: 0.0, end: 0.5", "start: 0.5, end: 1.0", "layer"),
    ],
)
def test_what_shuffles_a_running_experiment_is_refused(tmp_path: Path, old: str, new: str, key: str) -> None:
    assert [place[-1] for place, _ in conflicts(tmp_path, THREE.replace(old, new))] == [key]


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("- {name: ranking}", "- {name: ranking, salt: other}", ("layers", 0, "salt")),
        ("- {name: ranking}", "- {name: ranking, hash: statsig}", ("layers", 0, "hash")),
        ("salt: global-1", "salt: global-2", ("holdouts", 0, "salt")),
        ("salt: global-1", "salt: global-1, hash: statsig", ("holdouts", 0, "hash")),
        ("home.epsilon: 0.1", "home.epsilon: 0.2", ("experiments", 1, "arms", 1, "parameters")),
        ("release: '2'", "release: '3'", ("experiments", 1, "arms", 1, "release")),
        ("salt: asks-1", "salt: asks-1\n    start: 2025-11-30", ("experiments", 1, "start")),
    ],
)
def test_what_divides_running_experiments_anew_or_changes_a_treatment_under_its_name_is_refused(
    tmp_path: Path, old: str, new: str, place: tuple[str | int, ...]
) -> None:
    assert old in FOUR
    found = conflicts(tmp_path, FOUR.replace(old, new), FOUR)
    assert [at for at, _ in found] == [place]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("- {name: ranking}", "- {name: ranking, salt: ranking}"),
        ("{name: idle}", "{name: idle, salt: other}"),
        ("salt: global-1, share: 0.05", "salt: global-1, share: 0.1"),
        ("salt: over-1", "salt: over-2"),
        ("value: 1", "value: 2"),
        ("mde: 0.01", "mde: 0.02"),
    ],
)
def test_what_touches_no_unit_of_a_running_experiment_is_let_through(
    tmp_path: Path, old: str, new: str
) -> None:
    assert old in FOUR
    assert conflicts(tmp_path, FOUR.replace(old, new), FOUR) == []


def test_harmless_changes_are_let_through(tmp_path: Path) -> None:
    for old, new in [
        ("end: 0.5", "end: 0.7"),
        ("salt: ranker-1", "salt: ranker-1\n    owner: me"),
        ("page-1", "page-2"),
    ]:
        assert conflicts(tmp_path, THREE.replace(old, new)) == []


def test_every_version_is_kept_once_and_can_be_read_again(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    follower = running(folder)
    first = follower.live.config
    (folder / "e.yaml").write_text(THREE.replace("end: 0.5", "end: 0.6"))
    assert follower.load()
    (folder / "e.yaml").write_text(THREE)
    assert follower.load()
    store = Store(folder)
    assert [e.version for e in store.versions()] == [
        first.version,
        store.versions()[1].version,
        first.version,
    ]
    assert {store.load(e.version).version for e in store.versions()} == {e.version for e in store.versions()}
    kept = json.loads(store.path(first.version).read_bytes())
    assert kept["files"] == {"e.yaml": THREE}
    assert store.load(first.version) == first


def test_a_damaged_version_is_refused(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    version = running(folder).live.config.version
    store = Store(folder)
    body = store.path(version).read_text()
    store.path(version).write_text(body.replace("0.334", "0.335"))
    with pytest.raises(BadInput, match="damaged"):
        store.load(version)
    store.path(version).write_text(body[:40])
    with pytest.raises(BadInput, match="damaged"):
        store.load(version)
    for unknown in ("0" * 16, "../../etc/passwd"):
        with pytest.raises(UnknownId):
            store.load(unknown)


def test_a_line_that_a_crash_cut_short_harms_no_other(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    version = running(folder).live.config.version
    store = Store(folder)
    with store.journal.open("ab") as file:
        file.write(b'{"at": 1, "vers')
    assert [e.version for e in store.versions()] == [version]
    assert store.put(Config(), {}, "nothing", NOW)
    assert [e.version for e in store.versions()] == [version, Config().version]


def test_a_bad_file_leaves_the_old_version_and_a_restart_runs_the_kept_one(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    follower = running(folder)
    before = follower.live
    (folder / "e.yaml").write_text(THREE.replace("0.334", "0.434"))
    assert not follower.load()
    assert follower.live is before
    assert "e.yaml line 8: experiments[0].arms: weights must sum to 1" in str(follower.error)
    again = running(folder)
    assert again.live.config == before.config
    assert again.error == follower.error
    (folder / "e.yaml").write_text(THREE)
    follower.load()
    assert follower.error is None


def test_a_bad_file_at_the_first_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="sum to 1"):
        running(folder_with(tmp_path, THREE.replace("0.334", "0.434")))


def test_a_kept_version_whose_settings_are_gone_does_not_run(tmp_path: Path) -> None:
    class Home(BaseModel):
        epsilon: float = 0.05

    class Service(BaseModel):
        home: Home = Home()

    class Renamed(BaseModel):
        home: None = None

    text = THREE.replace("weight: 0.334}", "weight: 0.334, parameters: {home.epsilon: 0.1}}")
    folder, surfaces = folder_with(tmp_path, text), {"home": frozenset({"home"})}
    Running(folder, Store(folder), Space(Service(), surfaces), clock=lambda: NOW)
    with pytest.raises(BadInput, match=r"home\.epsilon"):
        Running(folder, Store(folder), Space(Renamed(), surfaces), clock=lambda: NOW)


def test_what_could_not_be_kept_or_read_is_tried_again_without_a_change_of_the_files(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    follower = running(folder)
    before = follower.live.config.version
    (folder / "journal.jsonl").rename(tmp_path / "aside")
    (folder / "journal.jsonl").mkdir()
    (folder / "e.yaml").write_text(THREE.replace("active: false, ", ""))
    assert [follower.follow() for _ in range(3)] == [False] * 3
    assert "cannot be kept" in str(follower.error)
    assert follower.live.config.version == before
    (folder / "journal.jsonl").rmdir()
    (tmp_path / "aside").rename(folder / "journal.jsonl")
    assert follower.follow()
    assert follower.error is None
    (folder / "z.yaml").symlink_to(tmp_path / "elsewhere")
    assert [follower.follow() for _ in range(3)] == [False] * 3
    assert "cannot read" in str(follower.error)
    (tmp_path / "elsewhere").write_text("cohorts: [{name: staff, units: [a]}]\n")
    assert any(follower.follow() for _ in range(2))


def test_a_new_version_runs_only_after_what_it_needs_is_there(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    follower = running(folder)
    start(folder, Store(folder), "page", NOW)
    ran: list[tuple[str, str]] = []
    for _ in range(2):
        follower.follow(lambda config: ran.append((follower.live.config.version, config.version)))
    ((before, new),) = ran
    assert before != new == follower.live.config.version


def test_files_that_are_being_written_are_waited_for(tmp_path: Path) -> None:
    """A look between two writes sees half of a change; only files that stand still between two looks are loaded."""
    folder = folder_with(tmp_path)
    follower = running(folder)
    (folder / "f.yaml").write_text("experiments:\n  - {name: x, salt: x, arms: [{name: a, weight: 1}]}\n")
    assert not follower.follow()
    (folder / "g.yaml").write_text("experiments:\n  - {name: y, salt: y, arms: [{name: a, weight: 1}]}\n")
    assert not follower.follow()
    assert follower.follow()
    assert [e.name for e in follower.live.config.experiments] == ["ranker", "page", "x", "y"]


def test_a_request_sees_one_version_whole_while_versions_change(tmp_path: Path) -> None:
    """Two experiments that always change together: no snapshot ever holds one of each."""
    pair = "experiments:\n" + "".join(
        f"  - {{name: {n}, salt: {n}, description: DDD, arms: [{{name: a, weight: 1}}]}}\n" for n in "xy"
    )
    folder = folder_with(tmp_path, pair.replace("DDD", "v0"))
    follower = running(folder)
    torn: list[Any] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            live = follower.live
            texts = {e.description for e in live.config.experiments}
            versions = {live.config.version, assign(live.config, "u", NOW).version}
            if len(texts) != 1 or len(versions) != 1:
                torn.append((texts, versions))
            time.sleep(0.0002)

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(1, 20):
        (folder / "e.yaml").write_text(pair.replace("DDD", f"v{i}"))
        follower.load()
    done.set()
    reader.join()
    assert not torn
    assert len(Store(folder).versions()) == 20


def put_versions(folder: str, name: str) -> None:
    for i in range(10):
        config = Config.model_validate(
            {"experiments": [{"name": f"{name}{i}", "salt": "s", "arms": [{"name": "a", "weight": 1}]}]}
        )
        Store(Path(folder)).put(config, {}, name, i)


@pytest.mark.slow
def test_two_processes_that_keep_versions_lose_none(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=put_versions, args=(str(tmp_path), name)) for name in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    entries = Store(tmp_path).versions()
    assert sorted(e.why for e in entries) == ["a"] * 10 + ["b"] * 10
    assert all(Store(tmp_path).load(e.version) for e in entries)


def test_stopping_and_starting_change_one_key_and_keep_comments(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    store = Store(folder)
    stop(folder, store, "ranker", NOW)
    text = (folder / "e.yaml").read_text()
    assert f"  - name: ranker   # a word about it\n    stopped: {written(NOW)}\n    salt" in text
    assert not assign(load(folder), "u1", NOW).arms
    start(folder, store, "page", NOW + HOUR)
    text = (folder / "e.yaml").read_text()
    assert "active: true, name: page, start: 2025-12-01T01:00:00.000Z, salt: page-1}" in text
    assert text.startswith("# who runs what\n")
    assert assign(load(folder), "u1", NOW + HOUR).arms == {"page": "on"}
    assert [e.why for e in store.versions()] == ["stopped ranker", "started page"]


@pytest.mark.parametrize(
    "line", ["stopped:", "stopped: ", "stopped:   # not yet", "stopped: null", "stopped: ~"]
)
def test_a_key_without_a_value_is_filled_in(tmp_path: Path, line: str) -> None:
    folder = folder_with(tmp_path, THREE.replace("    salt: ranker-1", f"    {line}\n    salt: ranker-1"))
    stop(folder, Store(folder), "ranker", NOW)
    assert load(folder).experiments[0].stopped is not None
    assert ("# not yet" in (folder / "e.yaml").read_text()) == ("# not yet" in line)


def test_what_runs_already_is_not_started_again(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    with pytest.raises(BadInput, match="ranker is active already"):
        start(folder, Store(folder), "ranker", NOW)
    assert (folder / "e.yaml").read_text() == THREE


def test_stopping_one_experiment_does_not_let_in_an_edit_of_another_that_services_refuse(
    tmp_path: Path,
) -> None:
    folder = folder_with(tmp_path)
    follower = running(folder)
    begun = follower.live.config.version
    (folder / "e.yaml").write_text(THREE.replace("ranker-1", "ranker-2").replace("active: false, ", ""))
    assert not follower.load()
    with pytest.raises(Refused, match="another salt would shuffle everybody"):
        stop(folder, Store(folder), "page", NOW)
    assert [entry.version for entry in Store(folder).versions()] == [begun]
    assert running(folder).live.config.version == begun, "nor does a restart"


def test_what_cannot_be_started_or_stopped_is_told(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    store = Store(folder)
    with pytest.raises(UnknownId, match="ranker, page"):
        start(folder, store, "rnaker", NOW)
    with pytest.raises(BadInput, match="draft"):
        stop(folder, store, "page", NOW)
    stop(folder, store, "ranker", NOW)
    for again in (start, stop):
        with pytest.raises(BadInput, match="is over since 2025-12-01"):
            again(folder, store, "ranker", NOW + HOUR)


def test_a_start_that_would_break_the_config_writes_nothing(tmp_path: Path) -> None:
    text = THREE.replace(
        "active: false, name: page, salt: page-1", "active: false, name: page, salt: ranker-1"
    )
    folder = folder_with(tmp_path, text)
    with pytest.raises(Refused, match="ranker has the same salt"):
        start(folder, Store(folder), "page", NOW)
    assert (folder / "e.yaml").read_text() == text
    assert Store(folder).versions() == []
    assert not [p for p in folder.iterdir() if p.name.startswith(".e.yaml")]


def test_a_started_experiment_goes_on_where_a_service_follows(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    follower = running(folder)
    start(folder, Store(folder), "page", NOW)
    assert not follower.follow()
    assert follower.follow()
    assert "page" in assign(follower.live.config, "u1", NOW).arms
    assert [e.why for e in Store(folder).versions()] == ["files changed", "started page"]


def test_the_file_is_never_half_there(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    before = os.stat(folder / "e.yaml").st_ino
    stop(folder, Store(folder), "ranker", NOW)
    assert os.stat(folder / "e.yaml").st_ino != before, "a new file took the old one's place"
    assert Source.read(folder / "e.yaml").data["experiments"][0]["stopped"] == written(NOW)
    shutil.rmtree(folder)
