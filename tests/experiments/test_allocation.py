"""A change of weights moves as few units as any rule could; the least is what the shrinking parts lose."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.allocation import OUT, changed, fewest, moved, ranged
from experiments.bucketing import bucket_ranges, choose


def weights(arms: int) -> st.SearchStrategy[list[float]]:
    numbers = st.lists(st.integers(0, 50), min_size=arms, max_size=arms).filter(lambda w: sum(w) > 0)
    return numbers.map(lambda w: [x / sum(w) for x in w])


HISTORY = st.integers(2, 6).flatmap(
    lambda arms: st.lists(st.tuples(weights(arms), st.floats(0, 1)), min_size=2, max_size=6)
)


@given(HISTORY, st.sampled_from([1_000, 10_000]))
@settings(max_examples=150)
def test_every_change_moves_exactly_the_fewest_possible(
    history: list[tuple[list[float], float]], steps: int
) -> None:
    table = ranged(*history[0], steps)
    for shares, coverage in history[1:]:
        after = changed(table, shares, coverage)
        plain = ranged(shares, coverage, steps)
        labels = range(OUT, len(shares))
        sizes = [(int((table == i).sum()), int((after == i).sum()), int((plain == i).sum())) for i in labels]
        assert [new for _, new, _ in sizes] == [wanted for _, _, wanted in sizes], "the shares asked for"
        assert moved(table, after) == sum(max(0, old - new) for old, new, _ in sizes)
        table = after


@given(HISTORY)
@settings(max_examples=100)
def test_a_growing_coverage_only_adds_units_whatever_happened_before(
    history: list[tuple[list[float], float]],
) -> None:
    table = ranged(*history[0], 10_000)
    for shares, coverage in history[1:]:
        table = changed(table, shares, coverage)
    shares, coverage = history[-1]
    grown = changed(table, shares, min(1.0, coverage + 0.2))
    inside = table != OUT
    assert (grown[inside] == table[inside]).all()


def test_the_fewest_is_found_by_brute_force_on_small_tables() -> None:
    """All tables of six slots with the new sizes: none moves fewer than what is called the fewest."""
    for before in ([0, 0, 0, 1, 1, 2], [OUT, OUT, 0, 0, 1, 2], [0, 1, 1, 1, 1, 1]):
        old = np.array(before, np.int8)
        for sizes in ((2, 2, 2), (4, 1, 1), (1, 0, 5), (3, 3, 0)):
            after = np.repeat(np.arange(3), sizes).astype(np.int8)
            best = min(moved(old, np.array(p, np.int8)) for p in set(itertools.permutations(after.tolist())))
            assert fewest(old, after) == best


def test_growthbook_s_ranges_are_kept_as_long_as_they_move_the_fewest() -> None:
    two = changed(ranged([0.5, 0.5], 1.0, 10_000), [0.6, 0.4], 1.0)
    assert (two == ranged([0.6, 0.4], 1.0, 10_000)).all()
    thirds = ranged([1 / 3, 1 / 3, 1 / 3], 1.0, 10_000)
    plain = ranged([0.5, 0.25, 0.25], 1.0, 10_000)
    assert moved(thirds, plain) == pytest.approx(2_500, abs=2)
    assert moved(thirds, changed(thirds, [0.5, 0.25, 0.25], 1.0)) == pytest.approx(1_667, abs=2)


@given(weights(4), st.floats(0, 1))
@settings(max_examples=50)
def test_a_table_is_what_the_sdk_chooses_slot_by_slot(shares: list[float], coverage: float) -> None:
    ranges = bucket_ranges(4, coverage, shares)
    table = ranged(shares, coverage, 1_000)
    assert table.tolist() == [choose(i / 1_000, ranges) for i in range(1_000)]
