"""Choosing the largest, and membership, without a sort."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.topk import largest, members


@given(st.integers(0, 5000), st.integers(0, 400), st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 10**9]))
def test_the_largest_are_those_of_a_full_sort(n: int, k: int, seed: int, distinct: int) -> None:
    scores = np.random.default_rng(seed).integers(0, distinct, n).astype(np.float32)
    found = largest(scores, k)
    assert len(set(found.tolist())) == len(found) == min(k, n)
    assert np.array_equal(np.sort(scores[found]), np.sort(scores)[n - min(k, n) :])


@pytest.mark.parametrize("order", [np.sort, lambda x: np.sort(x)[::-1], lambda x: np.roll(np.sort(x), 900)])
def test_scores_in_some_order_change_nothing(order: object) -> None:
    scores = order(np.random.default_rng(0).normal(size=20_000)).astype(np.float32)  # type: ignore[operator]
    scores[:500] = -np.inf
    assert np.array_equal(np.sort(scores[largest(scores, 300)]), np.sort(scores)[-300:])


ints = st.lists(st.integers(-1, 60), max_size=40)


@given(ints, ints)
def test_members_are_those_of_a_set_and_the_unknown_never(ids: list[int], among: list[int]) -> None:
    found = members(np.array(ids, np.int64), np.array(among, np.int32))
    assert found.tolist() == [i >= 0 and i in among for i in ids]
