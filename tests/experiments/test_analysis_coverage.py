"""95% intervals hold the truth 95 times in 100, in worlds where the truth is known; the worlds are the benchmark's."""

from __future__ import annotations

import pytest

from benchmarks.coverage import COUNTER_EXAMPLES, gain, measure
from benchmarks.coverage_worlds import WORLDS

WANTED = {"at a non-inferiority margin, not passed": 0.975}
CONSERVATIVE = {"lift on a baseline near 0, Fieller"}  # unbounded sets are given as the whole line


def check(world: str, runs: int, within: float) -> dict[str, dict[str, float]]:
    figures = measure(world, runs)
    for name, row in figures.items():
        wanted = WANTED.get(name, 0.95)
        if name in COUNTER_EXAMPLES:
            assert row["coverage"] < wanted, name
        elif name in CONSERVATIVE:
            assert row["coverage"] > wanted - within, name
        else:
            assert row["coverage"] == pytest.approx(wanted, abs=within), name
    return figures


@pytest.mark.parametrize("world", WORLDS)
def test_intervals_hold_their_level_within_the_noise_of_few_runs(world):
    """Four standard deviations of a share of 95% in 400 runs."""
    check(world, 400, 0.044)


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_intervals_hold_their_level_within_one_point_of_ten_thousand_runs(world):
    figures = check(world, 10_000, 0.01)
    if world == "adjusted_mean":
        cut = gain(figures)
        assert cut["variance_cut"] == pytest.approx(cut["rho_squared"], abs=0.02)
