"""The real Open Bandit sample: Bernoulli-TS judged from the logs of uniform random."""

from pathlib import Path

import pytest

from benchmarks.open_bandit import CAMPAIGNS, judge

DATA = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(
    not (DATA / "open_bandit_small.parquet").exists(),
    reason="the Open Bandit sample (../shared/data) is not here",
)


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("campaign", CAMPAIGNS)
def test_what_the_target_earned_lies_within_the_intervals(campaign: str) -> None:
    found = judge(DATA, campaign)
    for name in ("ips", "snips", "dr"):
        estimate = found.report.of(name)
        assert estimate.refused is None
        low, high = estimate.intervals["bootstrap"]
        assert low <= found.on_policy <= high
    low, high = found.report.of("ips").intervals["bernstein"]
    assert low <= found.on_policy <= high
