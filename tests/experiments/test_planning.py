"""Plans: units, days and smallest effects of a question under its own rule, arms, guardrails and covariates."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import norm

from experiments.experiment import Experiment
from experiments.planning import Planned, plan, planned_days
from experiments.question import Baseline, Metric
from experiments.sequential.bounds import Design
from experiments.sequential.mixture import radius, tuned
from experiments.sequential.operating import inflation, promise
from experiments.sequential.spending import Spending
from recsys.errors import BadInput

FIXED = {"rule": "fixed", "days": 28}
BASE = Baseline(mean=2.0, sd=4.0)


def _experiment(weights: tuple[float, ...] = (0.5, 0.5), **question: Any) -> Experiment:
    arms = [{"name": f"arm-{i}", "weight": weight} for i, weight in enumerate(weights)]
    asked = {"primary": "saves", "mde": 0.05, "stopping": FIXED, **question}
    return Experiment.model_validate({"name": "ranker", "salt": "s", "arms": arms, "question": asked})


def _z(side_alpha: float, power: float = 0.8) -> float:
    return float(norm.isf(side_alpha) + norm.ppf(power))


def test_a_test_read_once_is_the_two_sample_formula() -> None:
    """By hand: effect .05 x 2 = .1, sd 4: 2 (1.95996 + .84162)^2 (4 / .1)^2 = 25,116.4 an arm."""
    found = plan(_experiment(), BASE)
    assert found.units == pytest.approx(2 * 25_116.4, abs=2)
    assert (found.price, found.expected, found.days) == (1.0, 1.0, None)
    assert sum(found.arms.values()) in (found.units, found.units + 1)
    assert found.needs[0].relative == pytest.approx(0.05)


def test_treatments_share_the_risk_and_the_smallest_one_decides() -> None:
    found = plan(_experiment((0.5, 0.3, 0.2)), BASE)
    each = _z(0.05 / 2 / 2) ** 2 * 40**2  # units an arm would need if all had the same
    assert found.units == pytest.approx(each * (1 / 0.5 + 1 / 0.2), rel=1e-4)
    assert found.arms["arm-2"] == pytest.approx(0.2 * found.units, abs=1)


def test_a_known_correlation_with_before_saves_its_square() -> None:
    plain, known = plan(_experiment(), BASE), Baseline(mean=2.0, sd=4.0, rho=0.6)
    cuped = plan(_experiment(), known)
    assert cuped.units == pytest.approx(0.64 * plain.units, rel=1e-4)
    assert cuped.needs[0].saved == pytest.approx(0.36)
    assert plan(_experiment(pre_days=0), known).units == plain.units


@pytest.mark.parametrize(
    ("spending", "extra"), [("obrien_fleming", {}), ("pocock", {}), ("power", {"rho": 2.0})]
)
@pytest.mark.parametrize("margin", [None, 0.05])
def test_a_group_sequential_test_has_its_power_with_the_planned_units(
    spending: Any, extra: dict[str, float], margin: float | None
) -> None:
    rule = {"rule": "group_sequential", "looks": 4, "spending": spending, "days": 28, **extra}
    found = plan(_experiment(stopping=rule, margin=margin), BASE)
    drift = 0.1 / (4.0 * np.sqrt(4 / found.units))
    alpha, sides = (0.05, 2) if margin is None else (0.025, 1)
    design = Design(Spending(spending, extra.get("rho", 3.0)), alpha, sides)
    real = promise(design, [0.25, 0.5, 0.75, 1.0], drift)
    assert real.power == pytest.approx(0.8, abs=1e-4)
    assert found.expected == pytest.approx(real.expected, abs=1e-4)
    assert found.units == pytest.approx(found.price * found.needs[0].fixed, abs=1)
    assert 1 < found.price < 1.25


@pytest.mark.parametrize(
    "how", [{}, {"method": "msprt"}, {"tuned_for": 40_000}, {"method": "confidence_sequence"}]
)
def test_an_always_valid_test_has_its_power_with_the_planned_units(how: dict[str, Any]) -> None:
    """4,000 tests of 28 looks, the interval tuned as the report tunes it."""
    found = plan(_experiment(stopping={"rule": "always_valid", **how}), BASE)
    share = np.arange(1, 29) / 28
    se = 4.0 * np.sqrt(4 / (found.units * share))
    rng = np.random.default_rng(5)
    z = np.cumsum(rng.normal(size=(4000, 28)), axis=1) / np.sqrt(np.arange(1, 29)) + 0.1 / se
    scale = tuned((0.1 / _z(0.025) / se) ** 2, 1.0, 0.05)
    if "tuned_for" in how:
        scale = tuned(found.units * share, how["tuned_for"], 0.05)
    if how.get("method") == "msprt":
        scale = (0.1 / se) ** 2
    assert (z > radius(scale, 0.05)).any(axis=1).mean() == pytest.approx(0.8, abs=0.025)
    assert found.price > 1.3
    assert found.expected is None


def test_every_guardrail_is_planned_to_pass_with_the_rest() -> None:
    """Two guardrails: each test may fail with .2 / 3; a guardrail is one-sided at half of alpha, without effect."""
    rails = [{"metric": "skips", "margin": 0.02}, {"metric": "latency", "margin": 20, "scale": "absolute"}]
    experiment = _experiment(guardrails=rails)
    known = {"saves": BASE, "skips": Baseline(mean=0.3, sd=0.4)}
    found = plan(experiment, known)
    assert found.unknown == ("latency",)
    assert [need.metric for need in found.needs] == ["saves", "skips"]
    assert [need.power for need in found.needs] == pytest.approx([1 - 0.2 / 3] * 2)
    skips = found.needs[1]
    assert skips.fixed == pytest.approx(4 * (_z(0.025, 1 - 0.2 / 3) * 0.4 / 0.006) ** 2, rel=1e-4)
    assert found.units == skips.units > found.needs[0].units
    rng = np.random.default_rng(6)
    passed = (rng.normal(size=(20_000, 2)) + _z(0.025, 1 - 0.2 / 3) > norm.isf(0.025)).all(axis=1)
    assert passed.mean() >= 0.8


def test_days_and_smallest_effects_follow_the_arrivals() -> None:
    need = plan(_experiment(), BASE).units
    arrivals = [need * (1 - 0.9**day) / (1 - 0.9**28) for day in range(1, 41)]
    found = plan(_experiment(), BASE, arrivals)
    assert found.days == 28 or arrivals[26] >= need
    at = {row.days: row for row in found.detectable}
    assert set(at) == {7, 14, 21, 28}
    assert at[28].effect == pytest.approx(0.1, rel=1e-3)
    effects = [row.effect for row in found.detectable]
    assert effects == sorted(effects, reverse=True)
    assert plan(_experiment(), BASE, arrivals[:5]).days is None


def test_an_mde_shown_for_some_days_needs_just_those_units() -> None:
    rule = {"rule": "group_sequential", "looks": 3, "days": 28}
    arrivals = [900.0 * day for day in range(1, 60)]
    for row in plan(_experiment(stopping=rule), BASE, arrivals).detectable:
        again: Planned = plan(_experiment(stopping=rule, mde=row.effect, scale="absolute"), BASE)
        assert again.units == pytest.approx(row.units, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "baseline", "arrivals", "said"),
    [
        ({}, {"skips": BASE}, None, "baseline of saves"),
        ({}, Baseline(mean=0.0, sd=1.0), None, "relative to a mean of zero"),
        ({}, BASE, [10.0, 9.0], "cannot fall"),
        ({"weights": (1.0, 0.0)}, BASE, None, "weight 0"),
    ],
)
def test_plans_without_an_answer_are_refused(
    change: dict[str, Any], baseline: Any, arrivals: list[float] | None, said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        plan(_experiment(**change), baseline, arrivals)


def test_a_flag_has_no_plan_and_a_quantile_no_correlation() -> None:
    flag = Experiment.model_validate({"name": "f", "salt": "s", "arms": [{"name": "on", "weight": 1.0}]})
    with pytest.raises(BadInput, match="asks nothing"):
        plan(flag, BASE)
    with pytest.raises(ValidationError, match="leave out rho"):
        Metric.model_validate(
            {"name": "p99", "kind": "quantile", "direction": "decrease", "quantile": 0.99}
            | {"baseline": {"mean": 100.0, "sd": 900.0, "rho": 0.5}}
        )


def test_a_plan_counts_with_the_looks_that_are_taken_after_the_first_week() -> None:
    rule = {"rule": "group_sequential", "looks": 4, "spending": "pocock", "days": 14}
    all_looks, late = (plan(_experiment(min_days=days, stopping=rule), BASE) for days in (0, 7))
    design = Design(Spending("pocock"), 0.05, 2)
    assert all_looks.price == pytest.approx(inflation(design, [0.25, 0.5, 0.75, 1.0], 0.8))
    assert late.price == pytest.approx(inflation(design, [0.5, 0.75, 1.0], 0.8))
    assert late.price < all_looks.price
    assert "no look before 7 days are over" in late.rule
    always = {"rule": "always_valid"}
    dates = {"start": "2026-12-01", "stop": "2026-12-15"}
    daily, weekly = (
        plan(_experiment(min_days=days, stopping=always).model_copy(update=_times(**dates)), BASE).price
        for days in (0, 7)
    )
    assert weekly == pytest.approx(daily, rel=0.02)  # early looks hardly ever stop it


def _times(**dates: str) -> dict[str, datetime]:
    return {name: datetime.fromisoformat(f"{day}T00:00:00+00:00") for name, day in dates.items()}


def test_plans_and_reports_say_the_rule_in_the_same_words() -> None:
    experiment = _experiment(stopping={"rule": "group_sequential", "looks": 4, "days": 28})
    assert experiment.question is not None
    assert (
        plan(experiment, BASE).rule
        == experiment.question.rule_words
        == (
            "group sequential, 4 planned looks, O'Brien-Fleming spending by calendar time, "
            "no look before 7 days are over (alpha 0.05)"
        )
    )


def test_a_test_runs_until_its_rule_or_its_dates_end_it_whichever_is_first() -> None:
    short = _experiment(stopping={"rule": "fixed", "days": 28}).model_copy(
        update=_times(start="2026-12-01", stop="2026-12-15")
    )
    assert planned_days(short) == 14
