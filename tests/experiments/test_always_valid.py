"""Always-valid intervals: against published values of the same formula, by simulation, and the laws that tie them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from experiments.sequential.bounded import betting, empirical_bernstein, share, share_difference
from experiments.sequential.mixture import (
    best_ratio,
    log_evidence,
    mixing,
    p_value,
    radius,
    running,
    tuned,
)
from experiments.sequential.operating import always_valid
from recsys.errors import BadInput

scales = st.floats(1e-4, 1e4)
alphas = st.floats(1e-4, 0.4)


def test_the_normal_mixture_is_that_of_confseq() -> None:
    """Values of confseq's own unit test: v = 100 tuned there, alpha .05, two- and one-sided."""
    two = best_ratio(0.05, exact=False)
    one = best_ratio(0.05, two_sided=False, exact=False)
    assert 100 / two == pytest.approx(12.60056, abs=1e-5)
    assert 10 * radius(two, 0.05) == pytest.approx(30.35209, abs=1e-5)
    assert 10 * radius(one, 0.05, two_sided=False) == pytest.approx(27.66071, abs=1e-5)
    assert log_evidence(1.0, two) == pytest.approx(-0.6510052, abs=1e-6)
    assert log_evidence(1.0, one, two_sided=False) == pytest.approx(-0.06502391, abs=1e-6)


@pytest.mark.parametrize("two_sided", [True, False])
def test_tuning_is_tightest_where_it_should_be(two_sided: bool) -> None:
    """At the units asked for, no other scale gives a narrower two-sided interval; the one-sided rule is within 1%."""
    best = radius(tuned(5000, 5000, 0.05, two_sided), 0.05, two_sided)
    others = radius(np.geomspace(0.1, 1000, 4001), 0.05, two_sided)
    assert best <= others.min() * (1 + (1e-6 if two_sided else 0.01))


@given(
    z=st.floats(-8, 8), scale=scales, alpha=alphas, two_sided=st.booleans(), dof=st.none() | st.floats(5, 1e6)
)
@settings(max_examples=200, deadline=None)
def test_p_is_at_most_alpha_exactly_where_the_interval_excludes_no_effect(
    z: float, scale: float, alpha: float, two_sided: bool, dof: float | None
) -> None:
    dof = dof if two_sided else None
    reach = float(radius(scale, alpha, two_sided, dof))
    value = abs(z) if two_sided else z
    assume(abs(value - reach) > 1e-6)
    assert (p_value(z, scale, two_sided, dof)[-1] <= alpha) == (value > reach)


@given(scale=scales, alpha=alphas)
@settings(deadline=None)
def test_many_degrees_of_freedom_give_the_gaussian_bound_and_few_a_wider_one(
    scale: float, alpha: float
) -> None:
    plain = radius(scale, alpha)
    assert radius(scale, alpha, dof=1e12) == pytest.approx(plain, rel=1e-4)
    assert radius(scale, alpha, dof=20.0) > plain


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(0.1, 9)), min_size=1, max_size=20))
@settings(deadline=None)
def test_the_running_intersection_is_nested(pairs: list[tuple[float, float]]) -> None:
    middle, half = np.array(pairs).T
    low, high = running(middle - half, middle + half)
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) <= 0).all()
    assert (low >= middle - half).all()


@given(effect=st.floats(-2, 2), se=st.floats(0.01, 1), factor=st.floats(0.01, 100))
@settings(deadline=None)
def test_an_msprt_does_not_depend_on_the_unit_of_the_outcome(effect: float, se: float, factor: float) -> None:
    here = p_value(effect / se, mixing(se, 0.3))
    there = p_value(effect * factor / (se * factor), mixing(se * factor, 0.3 * factor))
    assert here == pytest.approx(there, rel=1e-9)


def test_one_formula_under_three_names() -> None:
    """GrowthBook states rho^2 n, mSPRT tau^2 / se^2, Howard et al. v / rho: equal scales give equal intervals."""
    n, sd = 8000.0, 2.0
    rho2 = best_ratio(0.05, exact=False) / 5000
    se = 2 * sd / np.sqrt(n)
    tau = np.sqrt(rho2 * 4 * sd**2)
    growthbook = np.sqrt(
        4 * sd**2 * 2 * (n * rho2 + 1) * np.log(np.sqrt(n * rho2 + 1) / 0.05) / (n * n * rho2)
    )
    ours = radius(tuned(n, 5000, 0.05, exact=False), 0.05) * se
    assert ours == pytest.approx(growthbook)
    assert radius(mixing(se, tau), 0.05) * se == pytest.approx(growthbook)


def _looks(rng: np.random.Generator, runs: int, looks: int, effect: float) -> np.ndarray:
    """z of a difference of means with 10,000 units, variance known, at equal looks, (runs, looks)."""
    times = np.arange(1, looks + 1) / looks
    steps = rng.normal(effect / 0.02 / looks, np.sqrt(1 / looks), (runs, looks))
    return np.cumsum(steps, axis=1) / np.sqrt(times)


def test_errors_and_power_over_a_hundred_looks_are_the_integrated_ones() -> None:
    """20,000 paths: 2.0% false positives and 41% power, where a z-test at each look errs in 37%."""
    rng, times = np.random.default_rng(3), np.arange(1, 101) / 100
    reach = radius(tuned(times, 0.5, 0.05), 0.05)
    null, real = _looks(rng, 20_000, 100, 0.0), _looks(rng, 20_000, 100, 0.05)
    error = float((np.abs(null) >= reach).any(axis=1).mean())
    power = float((np.abs(real) >= reach).any(axis=1).mean())
    assert error == pytest.approx(always_valid(times, 0.0).power, abs=0.004)
    assert power == pytest.approx(always_valid(times, 2.5).power, abs=0.014)
    assert float((np.abs(null) >= norm.isf(0.025)).any(axis=1).mean()) > 0.35


def test_the_t_mixture_holds_from_the_third_unit_on_where_the_gaussian_one_does_not() -> None:
    rng, n = np.random.default_rng(8), np.arange(3, 201)
    x = rng.normal(size=(20_000, 200))
    mean = np.cumsum(x, axis=1)[:, 2:] / n
    variance = (np.cumsum(x**2, axis=1)[:, 2:] - n * mean**2) / (n - 1)
    t, scale = mean / np.sqrt(variance / n), tuned(n, 50, 0.05)
    exact = float((np.abs(t) > radius(scale, 0.05, dof=n - 1.0)).any(axis=1).mean())
    gaussian = float((np.abs(t) > radius(scale, 0.05)).any(axis=1).mean())
    assert exact <= 0.05
    assert gaussian > 0.06


@pytest.mark.parametrize("p", [0.01, 0.3])
def test_limits_of_a_share_hold_at_all_looks_from_the_first_unit_on(p: float) -> None:
    rng = np.random.default_rng(4)
    hits = np.cumsum(rng.random((1000, 200)) < p, axis=1)
    low, high = share(hits, np.arange(1, 201), 0.05)
    assert ((low <= p) & (p <= high)).all(axis=1).mean() >= 0.95
    assert (high - low)[:, -1].mean() < 0.5


def test_a_difference_of_shares_covers_and_finds_a_large_effect() -> None:
    low, high = share_difference(([100, 1000], [1000, 10_000]), ([150, 1500], [1000, 10_000]), 0.05)
    assert (low <= 0.05).all()
    assert (high >= 0.05).all()
    assert low[-1] > 0


@pytest.mark.parametrize("method", [empirical_bernstein, betting])
def test_bounded_means_are_covered_at_all_looks(method: object) -> None:
    rng, misses = np.random.default_rng(9), 0
    for _ in range(60):
        low, high = method(rng.beta(0.2, 0.8, 300), 0.1)  # type: ignore[operator]
        misses += not ((low <= 0.2) & (high >= 0.2)).all()
        assert high[-1] - low[-1] < 0.5
    assert misses <= 12  # at most 6 expected; P(more than 12 | 10%) = .6%


def test_betting_is_tighter_than_bernstein() -> None:
    x = np.random.default_rng(2).beta(2, 18, 300)
    bernstein, bets = empirical_bernstein(x, 0.05), betting(x, 0.05)
    assert bets[1][-1] - bets[0][-1] < bernstein[1][-1] - bernstein[0][-1]


def test_outcomes_out_of_range_are_refused() -> None:
    for wrong in ([0.5, 1.2], [-0.1], [np.nan]):
        with pytest.raises(BadInput):
            empirical_bernstein(wrong, 0.05)
    with pytest.raises(BadInput):
        share([5], [4], 0.05)
