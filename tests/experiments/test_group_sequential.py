"""Group-sequential bounds against published tables and a simulation; estimates after a stop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from experiments.sequential.bounds import Design, bounds, classical, futility_drift, repeated_p
from experiments.sequential.brownian import START, exits
from experiments.sequential.operating import drift_for, inflation, of_bounds, promise
from experiments.sequential.spending import Kind, Spending, spent
from experiments.sequential.stagewise import adjusted, exceedance
from recsys.errors import BadInput

FIFTHS = [0.2, 0.4, 0.6, 0.8, 1.0]
SPENDINGS = [Spending(), Spending("pocock"), Spending("power", 2.0), Spending("gamma", -4.0)]
information = st.lists(st.floats(0.02, 0.3), min_size=1, max_size=6).map(
    lambda x: np.cumsum(x) / max(1.0, sum(x))
)
spendings = st.sampled_from(SPENDINGS)


@pytest.mark.parametrize(
    ("looks", "pocock", "obrien_fleming"),
    [(2, 2.178, 1.977), (3, 2.289, 2.004), (5, 2.413, 2.040), (10, 2.555, 2.087), (20, 2.672, 2.126)],
)
def test_classical_constants_are_those_of_jennison_and_turnbull(
    looks: int, pocock: float, obrien_fleming: float
) -> None:
    """Tables 2.1 and 2.3 of Jennison & Turnbull 2000, two-sided alpha .05."""
    assert classical(looks)[-1] == pytest.approx(pocock, abs=6e-4)
    assert classical(looks, shape=0.0)[-1] == pytest.approx(obrien_fleming, abs=6e-4)


@pytest.mark.parametrize(
    ("kind", "published"),
    [
        ("obrien_fleming", [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]),
        ("pocock", [2.4380, 2.4268, 2.4101, 2.3966, 2.3859]),
    ],
)
def test_spending_bounds_are_those_of_the_lan_demets_program(kind: Kind, published: list[float]) -> None:
    """Five equal looks, two-sided alpha .05: Reboussin, DeMets, Kim & Lan 2000; the same in ldbounds and gsDesign."""
    assert bounds(Design(Spending(kind)), FIFTHS).upper == pytest.approx(published, abs=2e-4)


def test_efficacy_and_futility_are_those_of_gsdesign_s_default() -> None:
    """gsDesign(): three looks, alpha .025 one-sided, power .9, gamma spending -4 and -2, non-binding futility."""
    design = Design(Spending("gamma", -4.0), 0.025, 1, Spending("gamma", -2.0), power=0.9)
    looks = [1 / 3, 2 / 3, 1.0]
    found = bounds(design, looks)
    assert found.upper == pytest.approx([3.0107, 2.5465, 1.9992], abs=1e-4)
    assert found.futility == pytest.approx([-0.2387, 0.9411, 1.9992], abs=1e-4)
    one_look = float(norm.isf(0.025) + norm.isf(0.1))
    assert (futility_drift(design, looks) / one_look) ** 2 == pytest.approx(1.070, abs=5e-4)
    assert promise(design, looks, futility_drift(design, looks)).power == pytest.approx(0.9, abs=1e-6)


@pytest.mark.parametrize(
    ("looks", "at_90", "at_80"), [(2, 1.100, 1.110), (5, 1.207, 1.229), (10, 1.271, 1.301)]
)
def test_pocock_s_inflation_is_that_of_jennison_and_turnbull(looks: int, at_90: float, at_80: float) -> None:
    """Table 2.2 of Jennison & Turnbull 2000."""
    times = np.arange(1, looks + 1) / looks
    high = classical(looks)
    for power, published in ((0.9, at_90), (0.8, at_80)):
        one = float(norm.isf(0.025) + norm.ppf(power))
        out = exits(times, -high, high, one * np.sqrt(published))
        assert out.upper.sum() == pytest.approx(power, abs=5e-4)


@given(times=information, spending=spendings, sides=st.sampled_from([1, 2]), alpha=st.floats(0.001, 0.2))
@settings(max_examples=40, deadline=None)
def test_the_error_spent_is_what_the_spending_function_allows(
    times: np.ndarray, spending: Spending, sides: int, alpha: float
) -> None:
    design = Design(spending, alpha, sides)
    found = bounds(design, times)
    assert found.spent == pytest.approx(sides * spent(spending, times, alpha / sides), abs=1e-8)
    ended = bounds(design, times, final=True)
    assert ended.spent[-1] == pytest.approx(alpha, abs=1e-8)
    assert (ended.upper[:-1] == found.upper[:-1]).all()
    assert ended.upper[-1] <= found.upper[-1] + 1e-9


@given(times=information, spending=spendings, a=st.floats(0.001, 0.2), b=st.floats(0.001, 0.2))
@settings(max_examples=30, deadline=None)
def test_a_smaller_alpha_gives_wider_bounds_at_every_look(
    times: np.ndarray, spending: Spending, a: float, b: float
) -> None:
    assume(abs(a - b) > 1e-4)
    wide = bounds(Design(spending, min(a, b)), times).upper
    narrow = bounds(Design(spending, max(a, b)), times).upper
    both = np.isfinite(narrow) & np.isfinite(wide)
    assert (wide[both] >= narrow[both] - 1e-8).all()


@given(times=information, spending=spendings, scale=st.floats(0.01, 100))
@settings(max_examples=20, deadline=None)
def test_probabilities_do_not_depend_on_the_unit_of_information(
    times: np.ndarray, spending: Spending, scale: float
) -> None:
    high = bounds(Design(spending), times).upper
    one = exits(times, -high, high, 2.0)
    other = exits(times * scale, -high, high, 2.0 / np.sqrt(scale))
    assert other.upper == pytest.approx(one.upper, abs=1e-9)
    assert other.lower == pytest.approx(one.lower, abs=1e-9)


def test_looks_close_together_are_integrated_exactly() -> None:
    """A look that adds almost nothing changes almost nothing; a fixed grid gets this wrong."""
    few = exits([0.5, 1.0], [-2.2, -2.1], [2.2, 2.1], 1.0).total
    many = exits([0.499, 0.4995, 0.5, 0.999, 1.0], [-9, -9, -2.2, -9, -2.1], [9, 9, 2.2, 9, 2.1], 1.0).total
    assert many == pytest.approx(few, abs=1e-9)
    state = START.step(0.3, -np.inf, np.inf, 0.7, 0.3005).step(0.3005, -np.inf, np.inf, 0.7)
    assert state.remaining == pytest.approx(1.0, abs=1e-10)


def test_exit_probabilities_agree_with_a_simulation() -> None:
    """Unequal looks, one-sided with futility: 200,000 paths, within four standard errors at each look."""
    times = np.array([0.15, 0.4, 0.55, 1.0])
    design = Design(Spending("power", 2.0), 0.05, 1, Spending("pocock"), power=0.8)
    found = bounds(design, times, drift=2.6)
    out = exits(times, np.minimum(found.futility, found.upper), found.upper, 1.3)
    rng = np.random.default_rng(5)
    steps = rng.normal(size=(200_000, 4)) * np.sqrt(np.diff(times, prepend=0)) + 1.3 * np.diff(
        times, prepend=0
    )
    z = np.cumsum(steps, axis=1) / np.sqrt(times)
    up, down = z >= found.upper, z <= found.futility
    first = np.argmax(up | down, axis=1)
    rows = np.arange(len(z))
    gone = (up | down).any(axis=1)
    for k in range(4):
        upper = float(np.mean(gone & (first == k) & up[rows, first]))
        lower = float(np.mean(gone & (first == k) & ~up[rows, first]))
        for seen, exact in ((upper, out.upper[k]), (lower, out.lower[k])):
            assert seen == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / len(z)) + 1e-9)


@given(times=information, spending=spendings, z=st.floats(-5, 5), two_sided=st.booleans())
@settings(max_examples=30, deadline=None)
def test_stage_wise_p_and_interval_agree_with_the_bounds(
    times: np.ndarray, spending: Spending, z: float, two_sided: bool
) -> None:
    found = bounds(Design(spending, sides=1 + two_sided), times, final=True)
    crossed = abs(z) >= found.upper[-1] if two_sided else z >= found.upper[-1]
    assume(abs(abs(z) - found.upper[-1]) > 1e-6)
    result = adjusted(times, found.upper, z, two_sided)
    assert (result.p <= 0.05) == crossed
    assert (not result.low <= 0 <= result.high) == crossed
    assert result.low < result.estimate < result.high


def test_one_look_gives_the_ordinary_interval() -> None:
    result = adjusted([3.0], [1.96], 2.5)
    assert (result.low, result.estimate, result.high) == pytest.approx((2.5 - 1.959964, 2.5, 2.5 + 1.959964))
    assert result.p == pytest.approx(2 * norm.sf(2.5))


def test_an_early_stop_pulls_the_estimate_towards_no_effect() -> None:
    found = bounds(Design(), FIFTHS)
    result = adjusted(FIFTHS[:3], found.upper[:3], 2.8)
    assert 0 < result.estimate < 2.8


def test_the_stage_wise_interval_covers_and_the_naive_one_does_not() -> None:
    """4,000 tests with early stops: the share covered within 3.5 standard errors of 95%, the naive one well below."""
    found = bounds(Design(Spending("pocock")), FIFTHS)
    times, drift, rng = found.information, 1.0, np.random.default_rng(11)
    z = np.cumsum(rng.normal(drift * 0.2, np.sqrt(0.2), (4000, 5)), axis=1) / np.sqrt(times)
    crossed = np.abs(z) >= found.upper
    stop = np.where(crossed.any(axis=1), crossed.argmax(axis=1), 4)
    at = z[np.arange(len(z)), stop]
    own = np.array(
        [exceedance(times[: k + 1], found.upper[: k + 1], v, drift) for k, v in zip(stop, at, strict=True)]
    )
    covered = float(np.mean((own >= 0.025) & (own <= 0.975)))
    naive = float(np.mean(np.abs(at - drift * np.sqrt(times[stop])) <= 1.96))
    assert covered == pytest.approx(0.95, abs=3.5 * np.sqrt(0.05 * 0.95 / len(z)))
    assert naive < 0.93
    assert float(np.mean(at / np.sqrt(times[stop]))) > drift + 0.1


def test_the_interval_inverts_the_ordering() -> None:
    found = bounds(Design(), FIFTHS)
    times, high = found.information[:4], found.upper[:4]
    result = adjusted(times, high, 2.5)
    unit = 1 / np.sqrt(times[-1])
    for limit, level in ((result.low, 0.025), (result.estimate, 0.5), (result.high, 0.975)):
        assert exceedance(times, high, 2.5, limit * unit) == pytest.approx(level, abs=1e-7)


@given(times=information, spending=spendings, z=st.floats(-12, 12))
@settings(max_examples=25, deadline=None)
def test_the_repeated_p_is_at_most_alpha_where_the_bound_is_reached(
    times: np.ndarray, spending: Spending, z: float
) -> None:
    design = Design(spending)
    high = bounds(design, times).upper[-1]
    assume(abs(abs(z) - high) > 1e-5)
    p = repeated_p(design, times, z)
    assert 0 < p <= 1
    assert (p <= design.alpha) == (abs(z) >= high)


def test_a_look_too_early_to_stop_has_no_small_p_however_large_z() -> None:
    assert np.isinf(bounds(Design(), [0.01]).upper[0])
    assert repeated_p(Design(), [0.01], 9.0) > 0.05


def test_a_design_has_the_power_that_it_was_inflated_for() -> None:
    design = Design(Spending("pocock"))
    drift = drift_for(design, FIFTHS, 0.85)
    assert of_bounds(bounds(design, FIFTHS), drift).power == pytest.approx(0.85, abs=1e-9)
    assert inflation(design, FIFTHS, 0.85) > inflation(Design(), FIFTHS, 0.85) > 1.0
    assert promise(design, FIFTHS, drift).expected < promise(design, FIFTHS, 0.0).expected <= 1.0


@pytest.mark.parametrize("looks", [[], [0.5, 0.5], [0.5, 0.4], [0.0, 1.0], [0.5, np.nan], [0.5, 0.5001]])
def test_looks_that_add_no_information_are_refused(looks: list[float]) -> None:
    with pytest.raises(BadInput):
        bounds(Design(), looks)


@pytest.mark.parametrize(
    "wrong", [{"alpha": 0.0}, {"sides": 3}, {"sides": 2, "futility": Spending()}, {"power": 1.0}]
)
def test_impossible_designs_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        Design(**wrong)  # type: ignore[arg-type]
