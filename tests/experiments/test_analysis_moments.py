"""Moments are exact: of any chunks, in any order, merged in any way; and estimates from them obey their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from experiments.analysis.effects import difference, lift
from experiments.analysis.estimate import Adjustment, Pair, Term, compare
from experiments.analysis.moments import Moments
from experiments.analysis.regression import fit

NAMES = ("y", "d", "x")
VALUES = arrays(float, st.tuples(st.integers(1, 30), st.just(3)), elements=st.floats(-1e3, 1e3, width=32))


NOISE = {
    "mean": 1e-9,
    "cross": 1e-5,
    "third": 1e-2,
}  # of sums of up to 100 first, second, third powers of 2,000


def close(a: Moments, b: Moments) -> bool:
    return a.n == b.n and all(
        np.allclose(getattr(a, part), getattr(b, part), rtol=1e-9, atol=noise)
        for part, noise in NOISE.items()
    )


@given(VALUES, VALUES, VALUES)
@settings(deadline=None)
def test_merging_is_associative_commutative_and_the_same_as_all_at_once(a, b, c):
    one, two, three = (Moments.of(NAMES, v) for v in (a, b, c))
    whole = Moments.of(NAMES, np.concatenate([a, b, c]))
    assert close(one.merge(two).merge(three), whole)
    assert close(one.merge(two.merge(three)), whole)
    assert close(three.merge(one).merge(two), whole)


@given(VALUES, st.integers(1, 7))
@settings(deadline=None)
def test_blocks_and_order_do_not_matter(values, block):
    shuffled = np.random.default_rng(0).permutation(values)
    assert close(Moments.of(NAMES, values, block), Moments.of(NAMES, shuffled))


def test_moments_are_those_of_numpy_and_survive_a_large_offset():
    values = np.random.default_rng(1).gamma(2, 1, (500, 3)) + 1e8
    found = Moments.of(NAMES, values, 64)
    assert found.covariance == pytest.approx(np.cov(values.T), rel=1e-6)
    assert found.skewness("y") == pytest.approx(skew(values[:, 0]), rel=1e-6)


def skew(x: np.ndarray) -> float:
    return float(((x - x.mean()) ** 3).mean() / x.std() ** 3)


def test_moments_of_other_columns_are_refused():
    with pytest.raises(ValueError, match="same columns"):
        Moments.empty(("a",)).merge(Moments.empty(("b",)))


def arms(seed: int = 0, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) of each arm: outcome, positive denominator, covariate of correlation about 0.8 with the outcome."""
    rng = np.random.default_rng(seed)
    out = []
    for treated, size in ((0, n), (1, n + 50)):
        x = rng.normal(3, 1, size)
        y = 2 + x * (1 + 0.3 * treated) + 0.75 * rng.normal(size=size) + 0.2 * treated
        out.append(np.stack([y, 1 + rng.poisson(3, size) + np.abs(x), x], axis=1))
    return out[0], out[1]


def pair(c: np.ndarray, t: np.ndarray, term: Term, how: Adjustment = "interacted") -> Pair:
    return compare(Moments.of(NAMES, c), Moments.of(NAMES, t), term, how)


TERMS = [Term("y"), Term("y", "d"), Term("y", None, ("x",)), Term("y", "d", ("x",))]
laws = pytest.mark.parametrize("how", ["interacted", "pooled"])
every = pytest.mark.parametrize("term", TERMS, ids=["mean", "ratio", "adjusted mean", "adjusted ratio"])


@laws
@every
def test_swapping_arms_flips_the_sign_and_nothing_else(term, how):
    c, t = arms()
    one, other = difference(pair(c, t, term, how)), difference(pair(t, c, term, how))
    assert one.effect == pytest.approx(-other.effect, abs=1e-12)
    assert (one.se, one.p_value) == pytest.approx((other.se, other.p_value))
    assert one.interval.low == pytest.approx(-other.interval.high)
    assert pair(c, t, term, how).swapped().effect == pytest.approx(other.effect)


@laws
@every
@given(scale=st.floats(0.01, 100), sign=st.sampled_from([1, -1]))
@settings(max_examples=15, deadline=None)
def test_scaling_the_outcome_scales_effect_and_error_and_leaves_lift_and_p(term, how, scale, sign):
    c, t = arms(1)
    one = pair(c, t, term, how)
    factor = np.array([sign * scale, 1, 1])
    other = pair(c * factor, t * factor, term, how)
    assert other.effect == pytest.approx(one.effect * sign * scale, rel=1e-9)
    assert other.se == pytest.approx(one.se * scale, rel=1e-9)
    assert difference(other).p_value == pytest.approx(difference(one).p_value, rel=1e-6, abs=1e-12)
    assert lift(other).effect == pytest.approx(lift(one).effect * sign, rel=1e-9)


@laws
@pytest.mark.parametrize("term", [TERMS[0], TERMS[2]])
@given(shift=st.floats(-1e4, 1e4))
@settings(max_examples=15, deadline=None)
def test_shifting_outcome_or_covariate_leaves_the_difference(term, how, shift):
    c, t = arms(2)
    one = pair(c, t, term, how)
    for moved in ([shift, 0, 0], [0, 0, shift]):
        other = pair(c + np.array(moved), t + np.array(moved), term, how)
        assert (other.effect, other.se) == pytest.approx((one.effect, one.se), rel=1e-6)


@laws
def test_a_ratio_to_one_is_the_mean(how):
    c, t = arms(3)
    c[:, 1] = t[:, 1] = 1.0
    for covariates in ((), ("x",)):
        ratio, mean = (
            pair(c, t, Term("y", "d", covariates), how),
            pair(c, t, Term("y", None, covariates), how),
        )
        assert (ratio.effect, ratio.se, ratio.df) == pytest.approx((mean.effect, mean.se, mean.df))


def test_a_slope_per_arm_is_the_interacted_regression_and_its_error_that_of_hc2():
    c, t = arms(4, 3000)
    found = pair(c, t, Term("y", None, ("x",)))
    both = np.concatenate([c, t])
    w = np.repeat([0.0, 1.0], [len(c), len(t)])
    x = both[:, 2] - both[:, 2].mean()
    fitted = fit(both[:, 0], np.stack([np.ones(len(w)), w, x, w * x], 1))
    assert found.effect == pytest.approx(fitted.coefficients[1], rel=1e-9)
    slopes = (
        fitted.coefficients[3] ** 2 * both[:, 2].var(ddof=1) / len(w)
    )  # what HC leaves out: the centre is an estimate
    assert found.se == pytest.approx(np.sqrt(fitted.covariance[1, 1] + slopes), rel=0.005)


def test_duplicate_constant_and_random_covariates_change_next_to_nothing():
    c, t = arms(5)
    rng = np.random.default_rng(0)
    names = (*NAMES, "copy", "constant", "noise")

    def more(v: np.ndarray) -> Moments:
        return Moments.of(
            names, np.column_stack([v, v[:, 2] * 2 + 1, np.ones(len(v)), rng.normal(size=len(v))])
        )

    one = pair(c, t, Term("y", None, ("x",)))
    other = compare(more(c), more(t), Term("y", None, ("x", "copy", "constant", "noise")))
    assert other.effect == pytest.approx(one.effect, abs=3 * one.se * 0.1)
    assert other.se == pytest.approx(one.se, rel=0.02)


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.9])
@laws
def test_one_covariate_cuts_the_variance_by_rho_squared(rho, how):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(2, 20_000))
    y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=x.shape)
    c, t = (np.stack([y[i], np.ones(20_000), x[i]], 1) for i in (0, 1))
    assert pair(c, t, Term("y", None, ("x",)), how).variance_reduction == pytest.approx(rho**2, abs=0.02)


def test_cells_of_strata_give_the_post_stratified_estimate():
    """Against the textbook formula: weighted differences within strata (Miratrix, Sekhon & Yu 2013)."""
    rng = np.random.default_rng(8)
    level = [rng.choice(3, 2000, p=[0.5, 0.3, 0.2]) for _ in (0, 1)]
    y = [np.array([0.0, 3, 9])[s] + i * 0.2 * s + rng.normal(size=2000) for i, s in enumerate(level)]
    weight = np.bincount(np.concatenate(level)) / 4000
    gaps = [y[1][level[1] == s].mean() - y[0][level[0] == s].mean() for s in range(3)]
    within = [sum(y[i][level[i] == s].var(ddof=1) / (level[i] == s).sum() for i in (0, 1)) for s in range(3)]
    columns = [np.stack([y[i], level[i] == 1, level[i] == 2], 1).astype(float) for i in (0, 1)]
    found = pair(*columns, Term("y", None, ("d", "x")))
    assert found.effect == pytest.approx(float(weight @ gaps), rel=1e-9)
    between = weight @ (gaps - weight @ np.array(gaps)) ** 2 / 4000
    assert found.se**2 == pytest.approx(float(weight**2 @ within + between), rel=0.01)
    assert found.variance_reduction > 0.85
