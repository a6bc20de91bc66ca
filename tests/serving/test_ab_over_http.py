"""One test of two releases over HTTP, from YAML to report, its listeners' reactions known from the hidden world."""

from pathlib import Path

import pytest

from benchmarks.ab_over_http import measure


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
