"""Tests and intervals of one comparison: lifts, margins, proportions, posteriors, families, quantiles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from experiments.analysis import multiple
from experiments.analysis.bayes import Prior, summary, two_betas
from experiments.analysis.effects import NOTHING, difference, lift, non_inferiority
from experiments.analysis.estimate import Pair
from experiments.analysis.proportions import compare_proportions, constrained_control, score
from experiments.analysis.quantiles import compare_quantiles, quantile
from experiments.analysis.trigger import diluted

P_VALUES = st.lists(st.floats(1e-6, 1), min_size=1, max_size=12)


def pair(control: float, treatment: float, se: float = 0.1, covariance: float = 0.0) -> Pair:
    return Pair(control, treatment, se**2, se**2, covariance, 1e6, 500, 500, 2 * se**2)


def test_a_lift_points_up_when_the_metric_goes_up_whatever_the_sign_of_the_baseline():
    for c, t in ((10, 11), (-10, -9)):
        found = lift(pair(c, t))
        assert found.effect == pytest.approx(0.1)
        assert found.interval.low < 0.1 < found.interval.high
        assert found.interval.low > 0


@given(c=st.floats(0.5, 50), t=st.floats(-50, 50), se=st.floats(0.001, 0.1))
@settings(deadline=None)
def test_fieller_and_delta_agree_where_the_baseline_is_far_from_zero(c, t, se):
    assume(c / se > 100)
    one, other = lift(pair(c, t, se)), lift(pair(c, t, se), method="delta")
    width = other.interval.high - other.interval.low
    assert one.interval.low == pytest.approx(other.interval.low, abs=0.05 * width)
    assert one.interval.high == pytest.approx(other.interval.high, abs=0.05 * width)


def test_fieller_leaves_zero_out_exactly_when_the_difference_is_significant():
    for gap in np.linspace(0.1, 0.4, 40):
        found = pair(10, 10 + gap, covariance=0.002)
        assert lift(found).interval.covers(0) == difference(found).interval.covers(0)


def test_a_baseline_not_told_from_zero_has_no_bounded_lift():
    assert lift(pair(0.1, 5)).interval == NOTHING
    assert math.isnan(lift(pair(0, 5)).effect)


def test_a_relative_margin_counts_the_control_s_own_error():
    found = pair(10, 9.5)
    p = non_inferiority(found, relative=0.1).p_value
    se = math.sqrt(0.1**2 + (0.9 * 0.1) ** 2)
    assert p == pytest.approx(stats.norm.sf(0.5 / se), rel=1e-3)
    assert non_inferiority(found, relative=0.1).passed
    assert not non_inferiority(found, relative=0.04).passed
    assert non_inferiority(found, absolute=0.8).passed


def test_a_margin_is_on_the_worse_side_for_negative_baselines_and_for_metrics_that_should_fall():
    assert non_inferiority(pair(-10, -10.5), relative=0.1).passed
    assert not non_inferiority(pair(-10, -11.5), relative=0.1).passed
    assert non_inferiority(pair(10, 10.5), relative=0.1, direction="decrease").passed
    assert not non_inferiority(pair(10, 11.5), relative=0.1, direction="decrease").passed
    assert non_inferiority(pair(10, 5), relative=0.1, direction="decrease").passed


@pytest.mark.parametrize("margins", [{}, {"absolute": 1, "relative": 0.1}, {"absolute": -1}])
def test_a_margin_is_one_and_not_negative(margins):
    with pytest.raises(ValueError, match="one margin"):
        non_inferiority(pair(1, 1), **margins)


@given(st.tuples(st.integers(0, 60), st.integers(0, 60)), st.tuples(st.integers(60, 90), st.integers(60, 90)))
@settings(max_examples=60, deadline=None)
def test_the_score_interval_is_where_the_score_test_does_not_reject(successes, trials):
    found = compare_proportions(successes, trials)
    assert -1 <= found.interval.low <= found.effect <= found.interval.high <= 1
    for end in (found.interval.low, found.interval.high):
        if abs(end) < 1 - 1e-6:
            assert abs(score(successes, trials, end)) == pytest.approx(1.959964, abs=1e-3)
    assume(abs(found.p_value - 0.05) > 1e-6)
    assert found.interval.covers(0) == (found.p_value > 0.05)


@given(st.tuples(st.integers(1, 39), st.integers(1, 49)), st.floats(-0.6, 0.6))
@settings(max_examples=60, deadline=None)
def test_the_constrained_proportions_are_the_likeliest_with_that_difference(successes, effect):
    trials, found = (40, 50), constrained_control(successes, (40, 50), effect)

    def likelihood(control: float) -> float:
        p = np.clip([control, control + effect], 1e-12, 1 - 1e-12)
        return float(stats.binom.logpmf(successes, trials, p).sum())

    low, high = max(0.0, -effect), min(1.0, 1 - effect)
    assert all(likelihood(found) >= likelihood(p) - 1e-9 for p in np.linspace(low, high, 101))


@given(st.tuples(st.integers(0, 40), st.integers(0, 40)))
@settings(max_examples=40, deadline=None)
def test_swapping_the_arms_of_proportions_mirrors_the_interval(successes):
    one, other = compare_proportions(successes, (40, 50)), compare_proportions(successes[::-1], (50, 40))
    assert one.interval.low == pytest.approx(-other.interval.high, abs=1e-6)
    assert one.p_value == pytest.approx(other.p_value)


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="successes"):
        compare_proportions((5, 1), (4, 4))


def test_the_posterior_is_the_conjugate_one_and_its_losses_are_integrals():
    found = summary(0.3, 0.2, Prior(mean=0.1, sd=0.4))
    precision = 1 / 0.04 + 1 / 0.16
    assert found.mean == pytest.approx((0.3 / 0.04 + 0.1 / 0.16) / precision)
    assert found.sd == pytest.approx(precision**-0.5)
    assert found.chance_to_beat == pytest.approx(stats.norm.sf(0, found.mean, found.sd))
    draws = stats.norm.rvs(found.mean, found.sd, size=400_000, random_state=0)
    assert found.loss_treatment == pytest.approx(np.maximum(-draws, 0).mean(), rel=0.02)
    assert found.loss_control == pytest.approx(np.maximum(draws, 0).mean(), rel=0.02)


def test_where_lower_is_better_the_chance_and_the_losses_turn_round():
    up, down = summary(0.3, 0.2), summary(0.3, 0.2, direction="decrease")
    assert up.chance_to_beat == pytest.approx(1 - down.chance_to_beat)
    assert (up.loss_treatment, up.loss_control) == pytest.approx((down.loss_control, down.loss_treatment))
    assert up.interval == down.interval


def test_two_beta_posteriors_match_sampling():
    found = two_betas((40, 60), (400, 420), prior=(2, 5))
    rng = np.random.default_rng(0)
    gap = rng.beta(62, 365, 1_000_000) - rng.beta(42, 365, 1_000_000)
    assert found.mean == pytest.approx(gap.mean(), abs=1e-4)
    assert found.sd == pytest.approx(gap.std(), rel=0.005)
    assert found.chance_to_beat == pytest.approx((gap > 0).mean(), abs=0.001)
    assert found.loss_treatment == pytest.approx(np.maximum(-gap, 0).mean(), rel=0.03)
    assert (found.interval.low, found.interval.high) == pytest.approx(
        np.quantile(gap, [0.025, 0.975]), abs=3e-4
    )


@given(P_VALUES)
@settings(deadline=None)
def test_adjusted_p_values_are_those_of_scipy_and_keep_their_order(p):
    assert multiple.benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p, method="bh"))
    assert multiple.benjamini_yekutieli(p) == pytest.approx(stats.false_discovery_control(p, method="by"))
    for adjusted in (multiple.holm(p), multiple.benjamini_hochberg(p)):
        assert (adjusted >= np.array(p) - 1e-12).all()
        assert (np.diff(adjusted[np.argsort(p)]) >= -1e-12).all()


def test_holm_on_a_worked_example_and_nan_is_no_test():
    assert multiple.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    found = multiple.holm([0.01, float("nan"), 0.04])
    assert found[[0, 2]] == pytest.approx([0.02, 0.04])
    assert math.isnan(found[1])


def test_levels_of_adjusted_intervals():
    p = [0.001, 0.2, 0.004, 0.6]
    assert multiple.levels(p, "holm") == pytest.approx([0.9875] * 4)
    found = multiple.levels(p, "benjamini_hochberg")
    assert found[[0, 2]] == pytest.approx([1 - 2 * 0.05 / 4] * 2)
    assert multiple.levels(p, "none") == pytest.approx([0.95] * 4)


@pytest.mark.parametrize("correction", ["holm", "benjamini_hochberg"])
def test_families_without_any_effect_rarely_make_a_claim(correction):
    rng = np.random.default_rng(3)
    claims = [(multiple.adjust(p, correction) <= 0.05).any() for p in rng.random((2000, 10))]
    assert np.mean(claims) == pytest.approx(0.05, abs=0.016)


def test_the_false_coverage_rate_of_claimed_intervals_is_held_where_the_plain_one_is_not():
    rng = np.random.default_rng(4)
    missed, plain = [], []
    for _ in range(1500):
        truth = rng.choice([0.0, 1.5], 20)
        seen = truth + rng.normal(size=20)
        p = 2 * stats.norm.sf(abs(seen))
        level = multiple.levels(p, "benjamini_hochberg")
        claimed = multiple.benjamini_hochberg(p) <= 0.05
        if claimed.any():
            missed.append((abs(seen - truth) > stats.norm.ppf(0.5 + level / 2))[claimed].mean())
            plain.append((abs(seen - truth) > 1.96)[claimed].mean())
        else:
            missed.append(0.0)
            plain.append(0.0)
    assert np.mean(missed) <= 0.06 < 0.08 < np.mean(plain)


def test_a_quantile_is_the_order_statistic_and_its_interval_that_of_ranks():
    values = np.random.default_rng(5).permutation(np.arange(1.0, 1001))
    found = quantile(values, 0.5)
    assert found.value == 500
    exact = stats.binom.ppf([0.025, 0.975], 1000, 0.5)
    assert (found.interval.low, found.interval.high) == pytest.approx(exact, abs=1.5)


def test_a_quantile_of_rows_counts_units_not_rows():
    rng = np.random.default_rng(6)
    units = rng.normal(size=300)
    code = np.repeat(np.arange(300), 20)
    rows = units[code]
    alone, clustered = quantile(rows, 0.8), quantile(rows, 0.8, code)
    by_unit = quantile(units, 0.8)
    assert clustered.se == pytest.approx(by_unit.se, rel=0.3)
    assert clustered.se > 2 * alone.se
    assert clustered.units == 300


def test_a_quantile_at_the_edge_of_the_data_has_no_interval():
    found = quantile(np.arange(50.0), 0.99)
    assert math.isnan(found.se)
    assert found.interval == NOTHING
    assert math.isnan(difference(compare_quantiles(np.arange(50.0), np.arange(50.0), 0.99)).p_value)


def test_quantiles_follow_scale_and_shift():
    rng = np.random.default_rng(7)
    c, t = rng.gamma(2, 1, 900), rng.gamma(2, 1.2, 900)
    one, other = compare_quantiles(c, t, 0.9), compare_quantiles(3 * c + 7, 3 * t + 7, 0.9)
    assert (other.effect, other.se) == pytest.approx((3 * one.effect, 3 * one.se))


def test_an_effect_on_the_exposed_is_diluted_over_all():
    found = diluted(2.0, 0.1, 200, 1000)
    assert found.effect == pytest.approx(0.4)
    assert found.se == pytest.approx(math.sqrt(0.02**2 + 4 * 0.16 / 1000))
    with pytest.raises(ValueError):
        diluted(1, 1, 5, 4)
