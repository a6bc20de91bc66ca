"""The laws that bucketing must keep; GrowthBook's published cases are in test_growthbook_cases."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.bucketing import bucket, bucket_ranges, choose, fnv1a32

USERS = [f"listener-{i}" for i in range(20_000)]


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
