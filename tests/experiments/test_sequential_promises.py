"""The promises of docs/sequential.md by simulation: small versions always, the full ones in the slow run."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.sequential import (
    EFFECT,
    first_crossings,
    integrated,
    normal_streams,
    rates,
    sample_ratio,
    shares,
    skewed_streams,
    stage_wise,
)
from experiments.sequential.looks import Look
from experiments.sequential.rule import parse
from experiments.sequential.spending import Spending

ALWAYS = ("asymptotic sequence", "mSPRT", "t mixture")
MEASURED = {"O'Brien-Fleming, 14 looks": 0.68, "z once": 0.71, "asymptotic sequence": 0.42, "mSPRT": 0.41}
"""Power found earlier in the same setting (100 looks, 10,000 units, effect .05 sd)."""


def _error(rate: float, runs: int) -> float:
    return float(np.sqrt(rate * (1 - rate) / runs))


def _check_false_positives(runs: int, seed: int) -> None:
    found, exact = rates(first_crossings(normal_streams(runs, 0.0, seed))), integrated(0.0)
    assert found["z at every look"] > 0.3
    for name, rate in found.items():
        assert rate == pytest.approx(exact[name], abs=4 * _error(exact[name], runs) + 0.002), name
        if name != "z at every look":
            assert rate <= 0.05 + max(0.005, 3.5 * _error(0.05, runs)), name


def test_a_few_thousand_a_a_tests_err_as_often_as_integration_says() -> None:
    _check_false_positives(4000, seed=40)


def test_power_over_a_hundred_looks_is_the_integrated_one() -> None:
    found, exact = rates(first_crossings(normal_streams(3000, EFFECT, 41))), integrated(2.5)
    for name, rate in found.items():
        assert rate == pytest.approx(exact[name], abs=4 * _error(exact[name], 3000)), name


def test_integrated_power_is_what_was_measured_before() -> None:
    """Within two points, and false positives of repeated z-tests at 37%."""
    power, null = integrated(2.5), integrated(0.0)
    assert null["z at every look"] == pytest.approx(0.37, abs=0.01)
    for name, measured in MEASURED.items():
        assert power[name] == pytest.approx(measured, abs=0.02), name


def test_exact_limits_of_rare_shares_hold_where_the_gaussian_ones_break() -> None:
    """Looking from the first hundred units on at shares of 2% is too early for any Gaussian method."""
    found = shares(1000, seed=42)
    assert found["exact"] >= 0.97
    assert found["asymptotic"] < 0.93
    assert found["asymptotic from 1,000 units"] > 0.95


@pytest.mark.slow
def test_twenty_thousand_a_a_tests_err_in_at_most_five_and_a_half_percent() -> None:
    _check_false_positives(20_000, seed=43)
    power = rates(first_crossings(normal_streams(20_000, EFFECT, 44)))
    for name, measured in MEASURED.items():
        assert power[name] == pytest.approx(measured, abs=0.02), name


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["obrien_fleming", "pocock"])
def test_unplanned_looks_keep_the_error_of_the_rule(kind: str) -> None:
    """3,000 A/A tests, each looked at on its own random days, ended short of the plan or beyond it."""
    rng, rule = (
        np.random.default_rng(49),
        parse({"kind": "group_sequential", "units": 10_000, "spending": kind}),
    )
    shown = 0
    for effects, errors in normal_streams(3000, 0.0, 50):
        for row in range(len(effects)):
            last = int(rng.integers(70, 101))
            days = np.unique(np.append(rng.integers(1, last, rng.integers(1, 7)), last)) - 1
            units = 1.1 * (days + 1) * 100
            history = [
                Look(float(n), float(effects[row, d]), float(errors[row, d]), final=d == days[-1])
                for n, d in zip(units, days, strict=True)
            ]
            shown += rule.look(history).outcome in ("higher", "lower")
    assert shown / 3000 == pytest.approx(0.05, abs=3.5 * _error(0.05, 3000))


@pytest.mark.slow
def test_skewed_outcomes_do_not_break_the_promise() -> None:
    found = rates(first_crossings(skewed_streams(20_000, 0.0, 45), least=1000))
    assert all(rate <= 0.055 for name, rate in found.items() if name != "z at every look"), found


@pytest.mark.slow
def test_confidence_sequences_cover_at_all_looks_together() -> None:
    misses = rates(first_crossings(normal_streams(20_000, EFFECT, 46), truth=EFFECT))
    assert all(misses[name] <= 0.05 for name in ALWAYS), misses


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("effect", [0.0, 0.02, EFFECT])
def test_ten_thousand_stage_wise_intervals_cover_as_often_as_they_say(effect: float) -> None:
    found = stage_wise(10_000, effect, Spending("pocock"), 47)
    assert found["adjusted"] == pytest.approx(0.95, abs=0.01)
    assert found["adjusted below the truth"] == pytest.approx(0.5, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("weights", [[0.5, 0.5], [0.5, 0.3, 0.2]])
def test_a_hundred_thousand_sample_ratio_checks_at_one_in_a_thousand(weights: list[float]) -> None:
    found = sample_ratio(100_000, weights, weights, 48)
    assert found["chi-square once"] == pytest.approx(0.001, abs=4 * _error(0.001, 100_000))
    assert found["exact once, 30 units"] <= 0.001 + 3 * _error(0.001, 100_000)
    assert found["sequential at 100 looks"] <= 0.001
    assert found["chi-square at 100 looks"] > 0.01
