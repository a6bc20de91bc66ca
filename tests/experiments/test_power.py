"""Power and sample size: against statsmodels' figures and simulation; mid-experiment power against closed forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from experiments.sequential.bounds import Design, bounds
from experiments.sequential.midway import conditional, predictive
from experiments.sequential.operating import promise
from experiments.sequential.power import Plan, design_effect, ratio_sd
from recsys.errors import BadInput

PEERS = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "agreement_sequential_reference.json"


@given(
    effect=st.floats(0.01, 2),
    power=st.floats(0.3, 0.99),
    ratio=st.floats(0.2, 5),
    sides=st.sampled_from([1, 2]),
)
@settings(deadline=None, max_examples=60)
def test_units_power_and_effect_are_inverses(effect: float, power: float, ratio: float, sides: int) -> None:
    plan = Plan(sd=3.0, ratio=ratio, sides=sides, rho=0.4, design_effect=1.5, inflation=1.1, comparisons=2)
    units = plan.units(effect, power)
    if plan.power(units, effect) > power + 1e-6:
        return  # fewer units than any test needs
    assert plan.power(units, effect) == pytest.approx(power, abs=1e-7)
    assert plan.mde(units, power) == pytest.approx(effect, rel=1e-6)


@given(factor=st.floats(0.01, 1000))
@settings(deadline=None)
def test_units_do_not_depend_on_the_unit_of_the_outcome(factor: float) -> None:
    assert Plan(sd=2.0 * factor).units(0.1 * factor) == pytest.approx(Plan(sd=2.0).units(0.1), rel=1e-6)


def test_cuped_clusters_and_looks_scale_the_units_as_they_scale_the_variance() -> None:
    plain = Plan(sd=1.0).units(0.05)
    assert Plan(sd=1.0, rho=0.6).units(0.05) == pytest.approx(plain * 0.64, rel=1e-9)
    assert Plan(sd=1.0, design_effect=1.9).units(0.05) == pytest.approx(plain * 1.9, rel=1e-9)
    assert Plan(sd=1.0, inflation=1.23).units(0.05) == pytest.approx(plain * 1.23, rel=1e-9)
    assert design_effect(10, 0.1) == pytest.approx(1.9)
    assert design_effect(10, 0.1, size_cv=1.0) == pytest.approx(2.9)


def test_equal_arms_need_the_fewest_units_unless_one_arm_varies_more() -> None:
    assert Plan(sd=1.0).units(0.1) < Plan(sd=1.0, ratio=2.0).units(0.1)
    assert Plan(sd=1.0, sd_treatment=2.0, ratio=2.0).units(0.1) < Plan(sd=1.0, sd_treatment=2.0).units(0.1)


def test_the_power_of_a_test_of_proportions_is_the_simulated_one() -> None:
    plan, rng, n = Plan(proportion=0.1, ratio=2.0), np.random.default_rng(3), 1000
    a, b = rng.binomial(n, 0.1, 60_000) / n, rng.binomial(2 * n, 0.13, 60_000) / (2 * n)
    both = (a + 2 * b) / 3
    z = (b - a) / np.sqrt(both * (1 - both) * 1.5 / n)
    seen = float((np.abs(z) >= norm.isf(0.025)).mean())
    assert plan.power(3 * n, 0.03) == pytest.approx(seen, abs=0.008)


def test_a_ratio_s_sd_gives_the_power_of_its_delta_method_test() -> None:
    rng = np.random.default_rng(6)
    plays = rng.poisson(rng.gamma(3, 4, 50_000)) + 1
    skips = rng.binomial(plays, 0.25)
    sd, n = ratio_sd(skips, plays), 2000
    rates = np.array([skips[s].sum() / plays[s].sum() for s in rng.integers(0, 50_000, (1500, n))])
    assert rates.std() == pytest.approx(sd / np.sqrt(n), rel=0.06)


def test_days_follow_the_arrivals() -> None:
    plan = Plan(sd=1.0)
    need = plan.units(0.1)
    assert plan.days(0.1, 0.8, [need * 0.5, need * 0.9, need + 1, need * 1.2]) == 3
    assert plan.days(0.1, 0.8, [need * 0.5]) is None
    assert sum(plan.arms(0.1)) >= need


@pytest.mark.parametrize("case", ["z", "t", "proportions", "units"])
def test_power_agrees_with_statsmodels(case: str) -> None:
    """Reference numbers with their versions: python -m benchmarks.agreement_sequential."""
    reference: dict[str, Any] = json.loads(PEERS.read_text())["statsmodels"]
    rows = reference[case]
    assert rows
    for row in rows:
        plan = Plan(**row["plan"])
        ours = (
            plan.units(row["effect"], row["power"])
            if case == "units"
            else plan.power(row["units"], row["effect"])
        )
        assert ours == pytest.approx(row["value"], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("wrong", [{}, {"sd": 1.0, "proportion": 0.5}, {"sd": -1.0}, {"sd": 1.0, "rho": 1.0}])
def test_plans_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        Plan(**wrong)  # type: ignore[arg-type]


def test_questions_without_an_answer_are_refused() -> None:
    for effect, sides in ((0.0, 2), (-0.1, 1)):
        with pytest.raises(BadInput):
            Plan(sd=1.0, sides=sides).units(effect)
    with pytest.raises(BadInput, match="outside 0 and 1"):
        Plan(proportion=0.9).power(1000, 0.2)


@given(z=st.floats(-4, 4), fraction=st.floats(0.05, 0.95), drift=st.floats(-4, 6))
@settings(deadline=None, max_examples=60)
def test_conditional_power_is_lan_and_wittes(z: float, fraction: float, drift: float) -> None:
    middle, spread = z * np.sqrt(fraction) + drift * (1 - fraction), np.sqrt(1 - fraction)
    closed = norm.sf((1.959963984540054 - middle) / spread) + norm.cdf((-1.959963984540054 - middle) / spread)
    assert conditional(z, fraction, drift) == pytest.approx(closed, abs=1e-9)


@given(z=st.floats(-4, 4), fraction=st.floats(0.1, 0.9))
@settings(deadline=None, max_examples=40)
def test_predictive_power_with_a_flat_prior_has_its_closed_form(z: float, fraction: float) -> None:
    spread = np.sqrt((1 - fraction) / fraction)
    middle, bound = z / np.sqrt(fraction), norm.isf(0.05)
    ours = predictive(z, fraction, two_sided=False)
    assert ours == pytest.approx(norm.cdf((middle - bound) / spread), abs=2e-4)


def test_conditional_power_averages_to_the_power_of_the_design() -> None:
    """Over what the first look may show, the rest's conditional power and the first look's exits make up the power."""
    found = bounds(Design(), [0.3, 0.7, 1.0])
    z = np.random.default_rng(1).normal(2.5 * np.sqrt(0.3), 1, 4000)
    stopped = np.abs(z) >= found.upper[0]
    later = [conditional(float(v), 0.3, 2.5, [0.7, 1.0], found.upper[1:]) for v in z[~stopped]]
    assert (stopped.sum() + sum(later)) / 4000 == pytest.approx(
        promise(Design(), [0.3, 0.7, 1.0], 2.5).power, abs=0.02
    )


def test_a_sure_prior_makes_predictive_power_conditional() -> None:
    sure = predictive(1.0, 0.5, prior=(2.0, 1e-6))
    assert sure == pytest.approx(conditional(1.0, 0.5, 2.0), abs=1e-6)
