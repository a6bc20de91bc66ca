"""The experiments file: what it refuses and how it says so, and who ends up in which arm."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.assign import assign, settings
from experiments.config import DEFAULT, load
from recsys.errors import BadInput
from recsys.types import Assignment

USERS = [f"{i:022d}" for i in range(4_000)]
GOOD = """\
experiments:
  - name: ranker
    salt: ranker-1
    coverage: 0.5
    arms:
      - {name: control, weight: 0.5}
      - {name: treatment, weight: 0.5, release: challenger, settings: {epsilon: 0.1}}
"""
SLICED = """\
experiments:
  - name: one
    salt: s1
    layer: {name: release, start: 0, end: 0.5}
    arms: [{name: a, weight: 0.5}, {name: b, weight: 0.5, release: r1}]
  - name: two
    salt: s2
    layer: {name: release, start: 0.5, end: 1}
    arms: [{name: a, weight: 0.5}, {name: b, weight: 0.5, release: r2}]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "experiments.yaml"
    path.write_text(text)
    return path


def test_the_shipped_file_runs_no_experiment() -> None:
    assert assign(load(DEFAULT), USERS[0]) == Assignment({}, "champion")


def test_the_example_in_the_shipped_file_is_valid(tmp_path: Path) -> None:
    lines = [line[2:] for line in DEFAULT.read_text().splitlines() if line.startswith("# ")]
    text = "\n".join(lines[1:])
    assert [e.name for e in load(written(tmp_path, text)).running] == ["challenger"]


def test_an_empty_file_runs_no_experiment(tmp_path: Path) -> None:
    assert load(written(tmp_path, "")).running == []


def test_arms_follow_weights_and_coverage_and_route_the_release(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD))
    given = [assign(config, user) for user in USERS]
    shares = {
        arm: sum(a.arms.get("ranker") == arm for a in given) / len(USERS) for arm in ("control", "treatment")
    }
    assert shares == pytest.approx({"control": 0.25, "treatment": 0.25}, abs=0.03)
    assert all((a.release == "challenger") == (a.arms.get("ranker") == "treatment") for a in given)
    treated = next(a for a in given if a.arms.get("ranker") == "treatment")
    assert settings(config, treated) == {"epsilon": 0.1}


def test_an_inactive_experiment_assigns_nobody(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD + "    active: false\n"))
    assert not any(assign(config, user).arms for user in USERS[:200])


def test_disjoint_slices_of_a_layer_never_share_a_listener(tmp_path: Path) -> None:
    config = load(written(tmp_path, SLICED))
    given = [set(assign(config, user).arms) for user in USERS]
    assert all(len(arms) == 1 for arms in given)
    assert {frozenset(arms) for arms in given} == {frozenset({"one"}), frozenset({"two"})}


def test_the_version_changes_with_the_config(tmp_path: Path) -> None:
    first = load(written(tmp_path, GOOD)).version
    assert load(written(tmp_path, GOOD)).version == first
    assert load(written(tmp_path, GOOD.replace("ranker-1", "ranker-2"))).version != first


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (GOOD.replace("coverage", "covrage"), 4, "covrage"),
        (GOOD.replace("coverage: 0.5", "coverage: half"), 4, "number"),
        (GOOD.replace("coverage: 0.5", "coverage: 1.5"), 4, "less than or equal to 1"),
        (GOOD.replace("weight: 0.5, release", "weight: 0.4, release"), 5, "sum to 1"),
        (GOOD.replace("weight: 0.5, release", "wieght: 0.5, release"), 7, "weight"),
        (GOOD.replace("name: treatment", "name: control"), 5, "same name"),
        (GOOD + "    salt: again\n", 8, "given twice"),
        (GOOD + "  broken: [\n", 8, "expected"),
        (GOOD + "experimnets: []\n", 8, "experimnets"),
        ("- just a list\n", 1, ""),
        (SLICED.replace("end: 0.5", "end: 0.6"), 1, "disjoint slices"),
        (SLICED.replace("start: 0.5, end: 1", "start: 0.9, end: 0.5"), 8, "after start"),
        (SLICED.replace("s2", "s1").replace("end: 0.5", "end: 0.6"), 1, "same salt"),
    ],
)
def test_a_mistake_is_refused_with_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    with pytest.raises(BadInput) as error:
        load(written(tmp_path, text))
    assert f"line {line}:" in str(error.value)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot read"):
        load(tmp_path / "nowhere.yaml")
