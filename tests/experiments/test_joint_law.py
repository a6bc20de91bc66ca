"""Bounds under any known correlation of the looks: the recursive ones where increments are independent, and the error
that is promised where they are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from experiments.sequential import bounds as recursive
from experiments.sequential import joint, stagewise
from experiments.sequential.bounds import Design
from experiments.sequential.brownian import exits
from experiments.sequential.looks import Look
from experiments.sequential.rule import parse, trail
from experiments.sequential.spending import Spending
from recsys.errors import BadInput

TIME = np.array([0.2, 0.5, 0.6, 1.0])
FADING = np.array([[1.0, 0.7, 0.5, 0.2], [0.7, 1.0, 0.8, 0.5], [0.5, 0.8, 1.0, 0.8], [0.2, 0.5, 0.8, 1.0]])
"""Looks that forget the earlier ones sooner than their standard errors, which hardly fall, say."""


def _independent(time: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.minimum.outer(time, time) / np.maximum.outer(time, time)))


def _looks(effects: np.ndarray, se: np.ndarray, correlation: np.ndarray | None) -> list[Look]:
    return [
        Look(9000, float(e), float(s), time=float(t))
        if correlation is None
        else Look(9000, float(e), float(s), time=float(t), correlations=tuple(correlation[i, :i].tolist()))
        for i, (e, s, t) in enumerate(zip(effects, se, TIME, strict=True))
    ]


@pytest.mark.parametrize("spending", [Spending(), Spending("pocock")])
@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("looks", [1, 4, 14])
def test_independent_increments_get_the_recursive_bounds(spending: Spending, sides: int, looks: int) -> None:
    time, design = np.arange(1, looks + 1) / looks, Design(spending, 0.05, sides)
    high = joint.upper_bounds(design, _independent(time), time)
    wanted = recursive.bounds(design, time)
    low = -high if sides == 2 else np.full(looks, -np.inf)
    spent = exits(time, low, high, 0.0)
    assert np.cumsum(spent.upper + spent.lower) == pytest.approx(wanted.spent, abs=1e-3)
    assert spent.total == pytest.approx(0.05, abs=1e-4 if looks < 5 else 1e-3)


def test_p_and_report_are_those_of_independent_increments_too() -> None:
    design, law = Design(Spending("pocock")), _independent(TIME)
    assert joint.repeated_p(design, law, 2.1, TIME) == pytest.approx(
        recursive.repeated_p(design, TIME, 2.1), abs=2e-3
    )
    high = recursive.bounds(design, TIME).upper
    here, there = joint.adjusted(law, TIME**-0.5, high, 2.6), stagewise.adjusted(TIME, high, 2.6)
    for key in ("p", "estimate", "low", "high"):
        assert getattr(here, key) == pytest.approx(getattr(there, key), abs=5e-3)


@pytest.mark.parametrize("kind", ["obrien_fleming", "pocock"])
def test_looks_that_forget_keep_their_error_only_under_their_own_law(kind: Any) -> None:
    """200,000 A/A tests of four looks."""
    rule = parse({"kind": "group_sequential", "calendar": True, "spending": kind})
    se = np.array([1.0, 0.95, 0.93, 0.9])
    z = np.random.default_rng(3).multivariate_normal(np.zeros(4), FADING, 200_000)
    errors = {}
    for name, law in (("its own", FADING), ("independent increments", None)):
        high = np.array([v.bound for v in trail(rule, _looks(np.zeros(4), se, law))], float)
        errors[name] = float((np.abs(z) >= high).any(axis=1).mean())
    assert errors["its own"] == pytest.approx(0.05, abs=0.0017)
    assert errors["independent increments"] > (0.0535 if kind == "obrien_fleming" else 0.065)


def test_the_report_after_a_stop_covers_under_that_law() -> None:
    """1,000 tests with an effect: adjusted 95% intervals of looks that forget."""
    rule, truth = parse({"kind": "group_sequential", "calendar": True, "spending": "pocock"}), 2.0
    se = np.array([1.0, 0.95, 0.93, 0.9])
    high = np.array([v.bound for v in trail(rule, _looks(np.zeros(4), se, FADING))], float)
    z = np.random.default_rng(4).multivariate_normal(truth / se, FADING, 1000)
    good = 0
    for row in z:
        over = np.flatnonzero(np.abs(row) >= high)
        k = int(over[0]) if over.size else 3
        law, errors = FADING[: k + 1, : k + 1], se[: k + 1]
        level = joint.exceedance(law, errors, high[: k + 1], float(row[k]), truth / se[k])
        good += 0.025 <= level <= 0.975
    assert good / 1000 == pytest.approx(0.95, abs=0.025)


def test_a_verdict_says_the_same_in_p_interval_and_outcome() -> None:
    rule = parse({"kind": "group_sequential", "calendar": True, "spending": "pocock"})
    se = np.array([1.0, 0.95, 0.93, 0.9])
    rng = np.random.default_rng(5)
    for _ in range(6):
        history = _looks(rng.multivariate_normal(np.full(4, 1.5), FADING) * se, se, FADING)
        for verdict in trail(rule, history):
            shown = verdict.outcome in ("higher", "lower")
            low, high = verdict.interval
            assert low is not None
            assert high is not None
            assert shown == (not low <= 0 <= high) == (verdict.p is not None and verdict.p <= 0.05)


def test_a_look_that_the_earlier_ones_foretell_does_not_count() -> None:
    rule = parse({"kind": "group_sequential", "calendar": True})
    same = np.array([[1, 0.7, 0.7, 0.5], [0.7, 1, 0.9999, 0.8], [0.7, 0.9999, 1, 0.8], [0.5, 0.8, 0.8, 1.0]])
    se = np.array([1.0, 0.95, 0.96, 0.9])
    history = _looks(np.array([0.1, 0.5, 0.5, 0.7]), se, same)
    verdict = rule.look(history[:3])
    assert verdict.look == 2
    falling = _looks(np.array([0.1, 0.5, 0.5, 0.7]), np.array([1.0, 0.95, 1.02, 0.9]), FADING)
    assert rule.look(falling[:3]).look == 3


@pytest.mark.parametrize("wrong", [(0.5,), (0.5, 0.5, 0.5)])
def test_correlations_with_some_of_the_looks_are_refused(wrong: tuple[float, ...]) -> None:
    rule = parse({"kind": "group_sequential", "calendar": True})
    history = _looks(np.zeros(4), np.ones(4), FADING)[:2]
    with pytest.raises(BadInput, match="all 2 looks before"):
        rule.look([*history, Look(9000, 0.0, 0.9, time=0.6, correlations=wrong)])


def test_correlations_that_cannot_be_are_refused() -> None:
    with pytest.raises(BadInput, match="not those of any estimates"):
        joint.upper_bounds(Design(), [[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]], [0.3, 0.6, 1.0])


def test_later_looks_do_not_move_the_bounds_of_earlier_ones() -> None:
    design = Design(Spending("pocock"))
    whole = joint.upper_bounds(design, FADING, TIME)
    for k in (1, 2, 3):
        part = joint.upper_bounds(design, FADING[:k, :k], TIME[:k])
        assert part.tolist() == pytest.approx(whole[:k].tolist(), abs=1e-8)
