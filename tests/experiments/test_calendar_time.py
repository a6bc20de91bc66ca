"""Looks in calendar time: units that are all there on the first day, and information that nobody knew in advance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.sequential.bounds import Design, bounds
from experiments.sequential.brownian import exits
from experiments.sequential.looks import Look, Verdict
from experiments.sequential.rule import parse, trail
from experiments.sequential.spending import Spending
from recsys.errors import BadInput

OUTCOME = ("stop", "outcome", "look", "at", "fraction", "z", "bound", "p", "interval", "estimate")
FOURTHS = np.arange(1, 5) / 4


def _same(one: Verdict, other: Verdict) -> None:
    for key in OUTCOME:
        a, b = getattr(one, key), getattr(other, key)
        assert a == (pytest.approx(b, rel=1e-8, abs=1e-10) if isinstance(b, float) else b), key


def _canonical(
    information: np.ndarray, rng: np.random.Generator, runs: int, drift: float = 0.0
) -> np.ndarray:
    """Estimates (runs, looks) of an effect with independent increments, variance 1 / information."""
    steps = np.diff(information, prepend=0.0)
    score = np.cumsum(drift * steps + rng.normal(size=(runs, len(steps))) * np.sqrt(steps), axis=1)
    return score / information


def _looks(effects: np.ndarray, information: np.ndarray, time: np.ndarray) -> list[Look]:
    return [
        Look(20_000.0, float(e), float(i**-0.5), at=f"{t:.3f}", time=float(t))
        for e, i, t in zip(effects, information, time, strict=True)
    ]


@given(
    seed=st.integers(0, 10_000),
    effect=st.sampled_from([0.0, 0.1, 0.3]),
    scale=st.floats(1e-4, 1e4),
    spending=st.sampled_from(["obrien_fleming", "pocock"]),
    alternative=st.sampled_from(["two-sided", "greater", "less"]),
)
@settings(max_examples=25, deadline=None)
def test_where_time_is_information_calendar_says_what_units_say(
    seed: int, effect: float, scale: float, spending: str, alternative: str
) -> None:
    rng, common = np.random.default_rng(seed), {"spending": spending, "alternative": alternative}
    effects = _canonical(FOURTHS * 200, rng, 1, effect)[0]
    history = [
        Look(4000 * t, float(e * scale), scale * (200 * t) ** -0.5, time=float(t))
        for e, t in zip(effects, FOURTHS, strict=True)
    ]
    by_units = trail(parse({"kind": "group_sequential", "units": 4000, **common}), history)
    by_time = trail(parse({"kind": "group_sequential", "calendar": True, **common}), history)
    for one, other in zip(by_time, by_units, strict=True):
        for key in ("interval", "estimate"):
            value = np.array(getattr(other, key), np.float64) / scale
            assert np.array(getattr(one, key), np.float64) / scale == pytest.approx(
                value, rel=1e-6, nan_ok=True
            )
        _same(replace(one, interval=(0, 0), estimate=0.0), replace(other, interval=(0, 0), estimate=0.0))


def test_bounds_spend_by_time_and_follow_the_information() -> None:
    """Three quarters of the information after a quarter of the time: the error of a quarter is spent there."""
    rule = parse({"kind": "group_sequential", "calendar": True})
    information = np.array([75.0, 88.0, 95.0, 100.0])
    verdicts = trail(rule, _looks(np.zeros(4), information, FOURTHS))
    design = Design(Spending())
    wanted = bounds(design, information / 100, FOURTHS).upper
    assert [v.bound for v in verdicts] == pytest.approx(list(wanted), abs=1e-8)
    assert exits(information, -wanted, wanted, 0.0).total == pytest.approx(0.05, abs=1e-9)
    assert [v.fraction for v in verdicts] == list(FOURTHS)
    assert "100% of the planned time" in verdicts[-1].reason
    assert verdicts[-1].stop


@pytest.mark.parametrize("kind", ["obrien_fleming", "pocock"])
def test_only_ratios_of_the_information_matter(kind: str) -> None:
    rule = parse({"kind": "group_sequential", "calendar": True, "spending": kind})
    information = np.array([1.0, 1.3, 1.4, 1.45])
    effects = np.array([0.5, 1.6, 1.2, 1.9])
    here = trail(rule, _looks(effects, information, FOURTHS))
    there = trail(rule, _looks(effects * 1e-6, information * 1e12, FOURTHS))
    for a, b in zip(here, there, strict=True):
        assert (a.outcome, a.look) == (b.outcome, b.look)
        assert a.p == pytest.approx(b.p, rel=1e-6)
        assert a.interval[0] == pytest.approx(1e6 * b.interval[0], rel=1e-6)  # type: ignore[operator]


def test_a_look_whose_information_falls_does_not_count() -> None:
    rule = parse({"kind": "group_sequential", "calendar": True})
    history = _looks(np.array([0.1, 0.4, 0.1, 0.2]), np.array([1.0, 1.5, 1.49, 1.8]), FOURTHS)
    assert rule.look(history[:3]) == rule.look(history[:2])
    for part in (history[:3], history):
        left = [look for look in part if look.time != 0.75]
        one, other = rule.look(part), rule.look(left)
        assert (one.stop, one.p, one.bound, one.interval) == (
            other.stop,
            other.p,
            other.bound,
            other.interval,
        )


def test_an_end_without_new_information_spends_the_rest_on_the_look_before() -> None:
    rule = parse({"kind": "group_sequential", "calendar": True})
    information = np.array([1.0, 1.5, 1.8, 1.79])
    history = _looks(np.array([0.1, 0.4, 1.5, 0.2]), information, FOURTHS)
    before, end = rule.look(history[:3]), rule.look(history)
    assert not before.stop
    assert (end.stop, end.outcome, end.look) == (True, "higher", 3)
    wanted = bounds(Design(Spending()), information[:3], FOURTHS[:3], final=True).upper[-1]
    assert end.bound == pytest.approx(wanted, abs=1e-9)


def test_a_test_ends_with_its_planned_time_under_every_rule() -> None:
    for data in (
        {"kind": "fixed", "calendar": True},
        {"kind": "group_sequential", "calendar": True},
        {"kind": "always_valid", "best_se": 0.1},
        {"kind": "msprt", "mixing_sd": 0.1},
    ):
        history = [Look(9000, 0.01, 0.1, time=0.5), Look(9000, 0.01, 0.08, time=29 / 28)]
        verdicts = trail(parse(data), history)
        assert [v.stop for v in verdicts] == [False, True]
        assert verdicts[1].outcome == "no difference shown"


@pytest.mark.parametrize("kind", ["fixed", "group_sequential"])
def test_a_rule_in_calendar_time_refuses_looks_that_do_not_say_when(kind: str) -> None:
    with pytest.raises(BadInput, match="time of each look"):
        parse({"kind": kind, "calendar": True}).look([Look(100, 0.0, 1.0)])


def test_tuning_by_the_standard_error_is_tuning_by_units_where_units_bring_the_information() -> None:
    looks = [Look(1000.0 * k, 0.05, 2 / np.sqrt(1000 * k)) for k in range(1, 8)]
    by_units, by_se = (
        parse({"kind": "always_valid", **how}) for how in ({"best_at": 4000}, {"best_se": 2 / np.sqrt(4000)})
    )
    for one, other in zip(trail(by_se, looks), trail(by_units, looks), strict=True):
        _same(one, other)


def _runs(rule: Any, runs: int, seed: int, noise: float) -> float:
    """How often a rule shows a difference where there is none: information that rises ever more slowly, looks on
    random days, standard errors off by `noise` (so that some information falls), each run ending on time."""
    rng, shown = np.random.default_rng(seed), 0
    for _ in range(runs):
        days = np.unique(np.append(rng.integers(1, 28, rng.integers(1, 9)), 28))
        information = 100 / (0.8 + 0.2 * 28 / days)
        effects = _canonical(information, rng, 1)[0]
        told = information * np.exp(rng.normal(size=len(days)) * noise)
        z = effects * np.sqrt(information)  # the noise is in the information only: z is standard normal
        shown += rule.look(_looks(z / np.sqrt(told), told, days / 28)).outcome in ("higher", "lower")
    return shown / runs


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["obrien_fleming", "pocock"])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_the_error_is_kept_on_random_days_with_information_that_saturates(kind: str, noise: float) -> None:
    rule = parse({"kind": "group_sequential", "calendar": True, "spending": kind})
    found = _runs(rule, 4000, 60, noise)
    limit = 3.5 * np.sqrt(0.05 * 0.95 / 4000)
    assert found <= 0.05 + limit
    assert found >= 0.05 - limit - (0.01 if noise else 0.0)
