"""One test of two releases over HTTP, from YAML to report, its listeners' reactions known from the hidden world."""

from pathlib import Path

import pytest

from benchmarks.ab_over_http import measure
from benchmarks.live_ab_http import measure as live


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_releases_are_told_apart_no_better_than_the_truth_allows(tiny_root: Path, tmp_path: Path) -> None:
    found = measure(tiny_root, tmp_path / "copy", "tiny", seed=0, most=600)
    assert found["failed"] == 0
    assert found["sample_ratio"] > 0.001
    assert list(found["verdicts"]) == ["2", "4", "6"]
    row = next(row for row in found["metrics"] if row["metric"] == "reward_per_shown")
    truth = found["true"]["one-tree"] - found["true"]["control"]
    assert row["low"] < truth < row["high"]
    assert found["verdicts"]["6"]["decision"] == "do_not_ship"  # a release of one tree is not better


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_live_listeners_over_http_are_asked_until_the_report_s_own_rule_stops_their_test(
    tiny_root: Path, tmp_path: Path
) -> None:
    found = live(tiny_root, tmp_path / "live", seeds=1, listeners=250)
    evenings = found["evenings"]
    assert [one["decision"] for one in evenings[:-1]] == ["keep_running"] * (len(evenings) - 1)
    assert evenings[-1]["decision"] in ("ship", "do_not_ship")
    assert len(evenings) >= 7  # no look of its rule before a week is over, but for a breach
    assert found["after_stop"]["answers"] > 10
    assert found["after_stop"]["exposed"] == 0
    assert found["truth"]["effect"] > 0  # a listener is better off where less is explored
    last = evenings[-1]
    assert abs(last["estimate"] - found["truth"]["effect"]) < 5 * last["se"]
