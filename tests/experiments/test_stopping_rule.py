"""Stopping rules: what they say at each look, that they say it again, and what they refuse."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.sequential.looks import Look
from experiments.sequential.rule import parse, trail
from recsys.errors import BadInput

RULES: list[dict[str, Any]] = [
    {"kind": "fixed", "units": 5000},
    {"kind": "group_sequential", "units": 5000},
    {"kind": "group_sequential", "units": 5000, "spending": "pocock", "alternative": "greater"},
    {"kind": "group_sequential", "se": 0.03, "alternative": "less", "null": 0.02, "futility": "power"},
    {"kind": "always_valid", "best_at": 2500, "max_units": 8000},
    {"kind": "always_valid", "best_at": 2500, "alternative": "greater", "null": -0.05},
    {"kind": "msprt", "mixing_sd": 0.1},
    {"kind": "fixed", "calendar": True},
    {"kind": "group_sequential", "calendar": True},
    {
        "kind": "group_sequential",
        "calendar": True,
        "spending": "pocock",
        "alternative": "greater",
        "null": -0.02,
    },
    {"kind": "always_valid", "best_se": 0.03},
]
rules = st.sampled_from(RULES).map(parse)


def _history(effect: float, seed: int, looks: int = 6) -> list[Look]:
    """Cumulative looks of a difference of means with sd 1, 1,000 units each."""
    rng, units = np.random.default_rng(seed), 1000.0 * np.arange(1, looks + 1)
    means = np.cumsum(rng.normal(effect * 1000, 2 * np.sqrt(1000), looks)) / units
    return [
        Look(float(n), float(m), float(2 / np.sqrt(n)), at=f"day {i}", time=(i + 1) / looks)
        for i, (n, m) in enumerate(zip(units, means, strict=True))
    ]


histories = st.builds(_history, st.sampled_from([-0.3, 0.0, 0.05, 0.1, 0.3]), st.integers(0, 10_000))


@given(rule=rules, history=histories)
@settings(max_examples=80, deadline=None)
def test_a_verdict_is_json_and_its_rule_gives_it_again(rule: Any, history: list[Look]) -> None:
    verdict = rule.look(history)
    plain = json.loads(json.dumps(asdict(verdict), allow_nan=False))
    again = parse(plain["rule"]).look([Look(**json.loads(json.dumps(asdict(look)))) for look in history])
    assert again == verdict


@given(rule=rules, history=histories)
@settings(max_examples=60, deadline=None)
def test_once_stopped_later_looks_change_nothing(rule: Any, history: list[Look]) -> None:
    verdicts = trail(rule, history)
    first = next((i for i, verdict in enumerate(verdicts) if verdict.stop), None)
    if first is not None:
        assert all(verdict == verdicts[first] for verdict in verdicts[first:])
        assert verdicts[first].at == history[first].at


@given(rule=rules, history=histories)
@settings(max_examples=100, deadline=None)
def test_p_interval_and_outcome_say_the_same(rule: Any, history: list[Look]) -> None:
    verdict = rule.look(history)
    if verdict.p is None or verdict.interval_kind == "none":
        return
    low, high = (x if x is not None else s * np.inf for x, s in zip(verdict.interval, (-1, 1), strict=True))
    shown = verdict.outcome in ("higher", "lower")
    assert shown == (not low <= rule.null <= high)
    assert shown == (verdict.p <= rule.alpha)
    if verdict.outcome == "higher":
        assert verdict.estimate > rule.null


@given(history=histories, kind=st.sampled_from([0, 1, 4]))
@settings(max_examples=30, deadline=None)
def test_swapping_the_arms_mirrors_the_verdict(history: list[Look], kind: int) -> None:
    rule = parse(RULES[kind])
    here, there = rule.look(history), rule.look([replace(look, effect=-look.effect) for look in history])
    mirror = {"higher": "lower", "lower": "higher"}
    assert there.outcome == mirror.get(here.outcome, here.outcome)
    assert there.estimate == pytest.approx(-here.estimate, abs=1e-6)
    for a, b in zip(here.interval, reversed(there.interval), strict=True):
        assert (a is None and b is None) or a == pytest.approx(-b, abs=1e-6)


@given(history=histories, factor=st.floats(0.01, 100))
@settings(max_examples=30, deadline=None)
def test_less_is_greater_of_the_negative(history: list[Look], factor: float) -> None:
    less = parse({"kind": "group_sequential", "units": 5000, "alternative": "less", "null": 0.02 * factor})
    greater = parse({"kind": "group_sequential", "units": 5000, "alternative": "greater", "null": -0.02})
    scaled = [replace(k, effect=k.effect * factor, se=k.se * factor) for k in history]
    here, there = less.look(scaled), greater.look([replace(k, effect=-k.effect) for k in history])
    assert here.stop == there.stop
    assert here.p == pytest.approx(there.p, abs=1e-9)
    assert here.estimate == pytest.approx(-there.estimate * factor, abs=1e-6 * factor)


def test_a_futile_test_ends_early_and_a_promising_one_does_not() -> None:
    rule = parse(
        {
            "kind": "group_sequential",
            "units": 5000,
            "alternative": "greater",
            "futility": "pocock",
            "power": 0.9,
        }
    )
    flat = rule.look([Look(2500, -0.03, 0.04)])
    assert (flat.stop, flat.outcome) == (True, "futile")
    assert "futility" in flat.reason
    assert not rule.look([Look(2500, 0.07, 0.04)]).stop


def test_overrunning_and_underrunning_ends_use_up_the_error() -> None:
    rule = parse({"kind": "group_sequential", "units": 5000})
    early = rule.look([Look(2000, 0.0, 0.045), Look(3000, 0.08, 0.0365, final=True)])
    assert early.stop
    assert early.bound is not None
    assert early.bound < 2.0
    over = rule.look([Look(2000, 0.0, 0.045), Look(6500, 0.02, 0.025)])
    assert (over.stop, over.outcome) == (True, "no difference shown")


def test_a_look_with_nothing_new_does_not_count() -> None:
    rule = parse({"kind": "group_sequential", "units": 5000})
    history = [Look(2000, 0.1, 0.045), Look(2001, 0.1, 0.045)]
    assert rule.look(history) == rule.look(history[:1])
    ended = rule.look([Look(4998, 0.01, 0.03), Look(5000, 0.2, 0.03)])
    assert (ended.stop, ended.look) == (True, 1)


def test_nothing_is_decided_before_the_least_number_of_units() -> None:
    for data in (
        {"kind": "always_valid", "best_at": 2500},
        {"kind": "group_sequential", "units": 5000, "min_units": 400},
    ):
        verdict = parse(data).look([Look(300, 5.0, 0.1)])
        ended = parse(data).look([Look(300, 0.0, 0.1, final=True)])
        assert (ended.stop, ended.outcome) == (True, "no difference shown")
        assert (verdict.stop, verdict.p, verdict.interval) == (False, None, (None, None))


def test_looks_that_contradict_each_other_are_named() -> None:
    """Running limits can pass each other only if the effect changes; then no interval is shown."""
    rule = parse({"kind": "always_valid", "best_at": 2000, "null": 0.5})
    verdict = rule.look([Look(1000, 0.45, 0.05), Look(50_000, 0.75, 0.005)])
    assert verdict.interval_kind == "none"
    assert "contradict" in verdict.reason


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "peeking"},
        {"kind": "fixed"},
        {"kind": "fixed", "units": -1},
        {"kind": "fixed", "units": 10, "colour": "red"},
        {"kind": "group_sequential"},
        {"kind": "group_sequential", "units": 10, "se": 1.0},
        {"kind": "group_sequential", "units": 10, "futility": "pocock"},
        {"kind": "group_sequential", "units": 10, "spending": "power", "parameter": -1},
        {"kind": "always_valid", "best_at": 10, "alpha": 0.7},
        {"kind": "msprt", "mixing_sd": float("inf")},
        {"kind": "fixed", "units": 10, "calendar": True},
        {"kind": "group_sequential", "units": 10, "calendar": True},
        {"kind": "group_sequential", "calendar": True, "futility": "pocock", "alternative": "greater"},
        {"kind": "always_valid"},
        {"kind": "always_valid", "best_at": 10, "best_se": 1.0},
        {"units": 10},
        "fixed",
    ],
)
def test_rules_that_make_no_sense_are_refused_in_one_line(data: Any) -> None:
    with pytest.raises(BadInput) as caught:
        parse(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "history",
    [
        [],
        [Look(10, 0.0, 0.0)],
        [Look(0, 0.0, 1.0)],
        [Look(10, np.nan, 1.0)],
        [Look(10, 0.0, 1.0), Look(9, 0.0, 1.0)],
        [Look(10, 0.0, 1.0, time=0.0)],
        [Look(10, 0.0, 1.0, time=0.5), Look(11, 0.0, 0.9, time=0.4)],
    ],
)
def test_histories_that_cannot_be_are_refused(history: list[Look]) -> None:
    for data in RULES:
        with pytest.raises(BadInput):
            parse(data).look(history)
