"""Metrics against brute force and laws that hold for every list."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.evaluation import metrics
from recsys.evaluation.ragged import Ragged

N = 12
queries = st.lists(
    st.tuples(st.permutations(range(N)), st.sets(st.integers(0, N - 1), min_size=1, max_size=N)),
    min_size=1,
    max_size=6,
)


def _columns(cases):
    top = np.array([order for order, _ in cases], np.int32)
    counts = [len(wanted) for _, wanted in cases]
    tracks = np.array([t for _, wanted in cases for t in sorted(wanted)], np.int32)
    return top, Ragged(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), tracks)


@given(queries, st.integers(1, N))
@settings(max_examples=60, deadline=None)
def test_recall_ndcg_and_mrr_equal_brute_force(cases, k):
    top, targets = _columns(cases)
    hit = metrics.hits(top, targets)
    for j, (order, wanted) in enumerate(cases):
        ranks = [r for r, t in enumerate(order[:k], 1) if t in wanted]
        ideal = sum(1 / np.log2(r + 1) for r in range(1, min(k, len(wanted)) + 1))
        assert metrics.recall(hit, targets, k)[j] == pytest.approx(len(ranks) / len(wanted))
        assert metrics.ndcg(hit, targets, k)[j] == pytest.approx(
            sum(1 / np.log2(r + 1) for r in ranks) / ideal
        )
        assert metrics.mrr(hit, k)[j] == pytest.approx(1 / ranks[0] if ranks else 0)


@given(queries)
@settings(max_examples=40, deadline=None)
def test_figures_lie_between_0_and_1_and_recall_grows_with_k(cases):
    top, targets = _columns(cases)
    hit = metrics.hits(top, targets)
    recalls = np.array([metrics.recall(hit, targets, k) for k in range(1, N + 1)])
    assert (np.diff(recalls, axis=0) >= 0).all()
    assert recalls[-1] == pytest.approx(1)
    for k in (1, 5, N):
        for value in (metrics.ndcg(hit, targets, k), metrics.mrr(hit, k)):
            assert ((value >= 0) & (value <= 1 + 1e-12)).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_the_top_list_equals_a_full_sort(seed, k):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, (5, 30)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    top = metrics.top_k(scores, k, np.arange(5), seed=3)
    for row, listed in zip(scores, top, strict=True):
        listed = listed[listed >= 0]
        assert len(set(listed.tolist())) == len(listed) == min(k, np.isfinite(row).sum())
        np.testing.assert_array_equal(row[listed], np.sort(row[np.isfinite(row)])[::-1][: len(listed)])


def test_non_finite_scores_sink():
    scores = np.array([[np.nan, 1.0, np.inf, -np.inf, 0.5]], np.float32)
    assert metrics.top_k(scores, 4, np.array([0])).tolist() == [[1, 4, -1, -1]]


def test_ties_break_the_same_way_in_any_batch_and_fairly_over_queries():
    scores = np.zeros((200, 20), np.float32)
    top = metrics.top_k(scores, 5, np.arange(200), seed=1)
    np.testing.assert_array_equal(
        metrics.top_k(scores[:3], 5, np.array([7, 100, 9]), seed=1), top[[7, 100, 9]]
    )
    assert metrics.exposures(top, 20, 5).min() > 20


def test_novelty_is_higher_for_rarer_tracks(checkerboard):
    plays = np.array([1000, 10, 0])
    rare, common = metrics.novelty(np.array([[2, 1], [0, 1]], np.int32), plays, 2)
    assert rare > common
    assert metrics.novelty(np.array([[0, -1]], np.int32), plays, 2)[0] == pytest.approx(-np.log2(1001 / 1013))


def test_diversity_counts_artists_then_genres(toy):
    items = toy.items()  # artist = track mod 4, genre = track mod 2, two parents
    a, b, c, d = metrics.diversity(np.array([[0, 4], [0, 2], [0, 1], [0, -1]], np.int32), items, 2)
    assert (a, b, c) == (0, pytest.approx(1 / 3), 1)
    assert np.isnan(d)
    top = np.random.default_rng(0).permuted(np.tile(np.arange(24, dtype=np.int32), (4, 1)), axis=1)
    pairs = [metrics.diversity(top[:, [i, j]], items, 2) for i in range(10) for j in range(i + 1, 10)]
    np.testing.assert_allclose(metrics.diversity(top, items, 10), np.mean(pairs, axis=0))


def test_gini_is_0_for_equal_exposure_and_nearly_1_for_one_track():
    every = np.ones(50, bool)
    assert metrics.gini(np.full(50, 3), every) == pytest.approx(0)
    assert metrics.gini(np.eye(50, dtype=int)[0] * 9, every) == pytest.approx(0.98)
    assert metrics.coverage(np.eye(50, dtype=int)[0], every) == pytest.approx(0.02)


def test_calibration_error_finds_a_shift_and_forgives_noise():
    rng = np.random.default_rng(0)
    p = rng.random(200_000)
    y = rng.random(200_000) < p
    assert metrics.calibration_error(p, y) < 0.01
    assert metrics.calibration_error(np.clip(p + 0.1, 0, 1), y) == pytest.approx(0.095, abs=0.01)
