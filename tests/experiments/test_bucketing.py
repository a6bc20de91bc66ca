"""Bucketing against GrowthBook's published cases, and the laws that assignment must keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.bucketing import bucket, bucket_ranges, choose, equal_weights, fnv1a32, in_namespace

CASES = Path(__file__).resolve().parents[3] / "shared" / "data" / "growthbook-sdk-cases-js-0.8.0.json"
SIMPLE = {"key", "variations", "weights", "coverage", "namespace", "seed", "hashVersion", "ranges"}
USERS = [f"listener-{i}" for i in range(20_000)]


@pytest.fixture(scope="module")
def cases() -> dict[str, Any]:
    if not CASES.exists():
        pytest.skip(f"no {CASES.name} beside this checkout: the SDK cases are not checked")
    return dict(json.loads(CASES.read_text()))


def test_hashes_match_the_sdk(cases: dict[str, Any]) -> None:
    for seed, value, version, expected in cases["hash"]:
        assert bucket(seed, value, version) == expected


def test_bucket_ranges_match_the_sdk(cases: dict[str, Any]) -> None:
    for name, (arms, coverage, weights), expected in cases["getBucketRange"]:
        got = bucket_ranges(arms, coverage, weights)
        assert np.array(got) == pytest.approx(np.array(expected), abs=1e-9), name


def test_choices_match_the_sdk(cases: dict[str, Any]) -> None:
    for name, place, ranges, expected in cases["chooseVariation"]:
        assert choose(place, ranges) == expected, name


def test_namespaces_match_the_sdk(cases: dict[str, Any]) -> None:
    for name, user, (namespace, start, end), expected in cases["inNamespace"]:
        assert in_namespace(user, namespace, start, end) is expected, name


def test_equal_weights_match_the_sdk(cases: dict[str, Any]) -> None:
    for arms, expected in cases["getEqualWeights"]:
        assert equal_weights(arms) == pytest.approx(expected)


def ours(context: dict[str, Any], experiment: dict[str, Any]) -> bool:
    """Whether a case names only what we have: an id, two or more arms, hash, weights, coverage, ranges, namespace."""
    user = context.get("attributes", {}).get("id")
    plain = set(context) == {"attributes"} and set(experiment) <= SIMPLE
    return plain and isinstance(user, str) and user != "" and len(experiment["variations"]) > 1


def test_whole_assignments_match_the_sdk(cases: dict[str, Any]) -> None:
    runs = [case for case in cases["run"] if ours(case[1], case[2])]
    assert len(runs) >= 40
    for name, context, experiment, variation, in_experiment, _ in runs:
        user = context["attributes"]["id"]
        place = bucket(experiment.get("seed", experiment["key"]), user, experiment.get("hashVersion", 1))
        ranges = experiment.get("ranges") or bucket_ranges(
            len(experiment["variations"]), experiment.get("coverage", 1), experiment.get("weights")
        )
        arm = choose(place, ranges) if place is not None else -1
        if "namespace" in experiment and not in_namespace(user, *experiment["namespace"]):
            arm = -1
        assert (experiment["variations"][max(arm, 0)], arm >= 0) == (variation, in_experiment), name


def test_code_units_are_hashed_and_not_utf8_bytes() -> None:
    """By hand, for one character outside ASCII and one outside the basic plane (two units)."""
    assert fnv1a32("é") == ((0x811C9DC5 ^ 0xE9) * 0x01000193) & 0xFFFFFFFF
    pair = ((0x811C9DC5 ^ 0xD83C) * 0x01000193) & 0xFFFFFFFF
    assert fnv1a32("🎵") == ((pair ^ 0xDFB5) * 0x01000193) & 0xFFFFFFFF


def test_places_are_uniform() -> None:
    counts = np.histogram([bucket("a-salt", user) for user in USERS], 100, (0, 1))[0]
    assert stats.chisquare(counts).pvalue > 0.001


def test_two_experiments_place_listeners_independently() -> None:
    places = [[int((bucket(salt, user) or 0) * 10) for user in USERS] for salt in ("salt-1", "salt-2")]
    table = np.histogram2d(places[0], places[1], 10)[0]
    assert stats.chi2_contingency(table).pvalue > 0.001


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_place_is_in_the_unit_interval_and_always_the_same(seed: str, unit: str) -> None:
    place = bucket(seed, unit)
    assert place is not None
    assert 0 <= place < 1
    assert place == bucket(seed, unit)


@given(
    st.lists(st.floats(0.01, 1), min_size=2, max_size=6),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1, exclude_max=True),
)
def test_nobody_changes_arms_when_coverage_grows(
    weights: list[float], a: float, b: float, place: float
) -> None:
    shares = [w / sum(weights) for w in weights]
    small, large = (choose(place, bucket_ranges(len(shares), c, shares)) for c in sorted((a, b)))
    assert small in (-1, large)
