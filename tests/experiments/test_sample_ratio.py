"""Sample-ratio checks: exact tests against enumeration, false alarms under peeking, and the search for the culprit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, chisquare, multinomial

from experiments.sequential.sample_ratio import (
    check,
    chi_square_p,
    concentration_for,
    diagnose,
    exact_p,
    log_evidence,
    sequential,
    shares,
)
from recsys.errors import BadInput

weights = st.lists(st.floats(0.05, 1), min_size=2, max_size=4)


@given(st.integers(0, 60), st.integers(1, 60), st.floats(0.05, 0.95))
@settings(deadline=None)
def test_two_arms_give_the_exact_binomial_test(a: int, b: int, share: float) -> None:
    assert exact_p([a, b], [share, 1 - share]) == pytest.approx(binomtest(a, a + b, share).pvalue, abs=1e-6)


def test_the_chi_square_test_is_scipy_s() -> None:
    counts, planned = np.array([520, 460, 1040]), np.array([0.25, 0.25, 0.5])
    assert chi_square_p(counts, planned) == pytest.approx(chisquare(counts, planned * 2020).pvalue)
    assert check(counts, [1, 1, 2]).method == "chi-square"
    assert check([3, 0, 9], [0.3, 0.3, 0.4]).method == "exact"


def test_the_exact_test_never_errs_more_than_its_alpha() -> None:
    """Three arms, nine units: the probability of all tables with p <= alpha, summed over every table."""
    planned = np.array([0.2, 0.3, 0.5])
    tables = [(i, j, 9 - i - j) for i in range(10) for j in range(10 - i)]
    p = np.array([exact_p(t, planned) for t in tables])
    mass = multinomial.pmf(np.array(tables), 9, planned)
    assert mass.sum() == pytest.approx(1)
    for alpha in (0.001, 0.01, 0.05, 0.3):
        assert mass[p <= alpha].sum() <= alpha
    assert mass[p <= 0.3].sum() > 0.1


@given(weights=weights, seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_the_evidence_has_mean_one_under_the_planned_shares(weights: list[float], seed: int) -> None:
    """A test martingale: summed over all tables of 8 units, probability times evidence is 1."""
    k, w = len(weights), np.array(weights) / sum(weights)
    grid = np.indices((9,) * k).reshape(k, -1).T
    tables = grid[grid.sum(axis=1) == 8]
    mass = multinomial.pmf(tables, 8, w)
    concentration = 1.0 + seed
    assert (mass * np.exp(log_evidence(tables, w, concentration))).sum() == pytest.approx(1.0, abs=1e-6)


def test_peeking_ruins_chi_square_and_not_the_sequential_check() -> None:
    """20,000 draws, 100 looks at alpha .001 each; the full figures are those of benchmarks.sequential."""
    rng, w = np.random.default_rng(1), np.array([0.5, 0.3, 0.2])
    counts = np.cumsum(rng.multinomial(100, w, size=(20_000, 100)), axis=1)
    peeking = (chi_square_p(counts, w) <= 0.001).any(axis=1).mean()
    once = (chi_square_p(counts[:, -1], w) <= 0.001).mean()
    alarms = (log_evidence(counts, w, 600.0) >= np.log(1000)).any(axis=1).mean()
    assert peeking > 0.008
    assert once == pytest.approx(0.001, abs=4 * np.sqrt(0.001 / 20_000))
    assert alarms <= 0.001 + 3 * np.sqrt(0.001 / 20_000)


def test_a_real_mismatch_is_found_and_located() -> None:
    rng = np.random.default_rng(7)
    days = {f"day {d}": rng.multinomial(5000, [0.5, 0.5]) for d in range(9)}
    days["day 9"] = rng.multinomial(5000, [0.40, 0.60])
    total = np.array(list(days.values()))
    assert check(total.sum(axis=0), [1, 1]).mismatch
    found = sequential(np.cumsum(total, axis=0), [1, 1], concentration=concentration_for(50_000))
    assert found.mismatch
    assert found.first == 9
    assert found.high[0] < 0.5 < found.low[1]
    worst, *others = diagnose(days, [1, 1])
    assert (worst.name, worst.p < 0.001, worst.rest_p > 0.001) == ("day 9", True, True)
    assert all(other.p > 0.01 for other in others)


def test_the_alarm_rings_exactly_when_the_plan_is_outside_the_region_of_shares() -> None:
    """For two arms the limits are the region itself: the plan is outside when the evidence reaches 1 / alpha."""
    counts = np.array([[a, 400 - a] for a in range(401)])
    low, high = shares(counts, [0.4, 0.6], 0.01, 50.0)
    alarm = log_evidence(counts, [0.4, 0.6], 50.0) >= np.log(100)
    outside = (low[:, 0] > 0.4) | (high[:, 0] < 0.4)
    assert (alarm == outside).all()
    assert low[:, 0] == pytest.approx(1 - high[:, 1], abs=1e-9)


@given(weights=weights, factor=st.floats(0.1, 50), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=30)
def test_weights_need_not_sum_to_one(weights: list[float], factor: float, seed: int) -> None:
    counts = np.random.default_rng(seed).integers(0, 500, len(weights))
    scaled = [w * factor for w in weights]
    assert check(counts, scaled).p == pytest.approx(check(counts, weights).p, rel=1e-6)
    assert sequential(counts, scaled).p == pytest.approx(sequential(counts, weights).p, rel=1e-6)


def test_many_looks_or_one_make_no_difference_to_the_last_evidence() -> None:
    """Evidence depends on cumulative counts only; p is the running minimum."""
    looks = np.cumsum([[50, 20], [20, 50], [30, 30]], axis=0)
    all_looks, last = sequential(looks, [1, 1]), sequential(looks[-1], [1, 1])
    assert all_looks.p <= last.p
    assert all_looks.p == pytest.approx(min(sequential(row, [1, 1]).p for row in looks))


@pytest.mark.parametrize(
    ("counts", "planned"),
    [
        ([1, 2], [1, 1, 1]),
        ([1, -2], [1, 1]),
        ([1.5, 2], [1, 1]),
        ([1, 2], [1, 0]),
        ([1], [1]),
        ([1, 2], [0, 0]),
    ],
)
def test_tables_that_do_not_fit_are_refused(counts: list[float], planned: list[float]) -> None:
    with pytest.raises(BadInput):
        check(counts, planned)


def test_falling_counts_are_refused() -> None:
    with pytest.raises(BadInput, match="cumulative"):
        sequential([[10, 10], [5, 12]], [1, 1])


def test_no_unit_is_no_mismatch() -> None:
    assert check([0, 0], [1, 1]).p == 1.0
    assert sequential([[0, 0]], [1, 1]).p == 1.0
