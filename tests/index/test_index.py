"""The index: what it chooses, that filters cost no recall, and its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import BadInput, ReleaseRefused
from recsys.index import Index, build


def clustered(n: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(64, dim))
    return (centers[rng.integers(0, 64, n)] + 0.4 * rng.normal(size=(n, dim))).astype(np.float32)


VECTORS, QUERIES = clustered(8000), clustered(60, seed=1)


@pytest.fixture(scope="module")
def approximate() -> Index:
    """Above `flat_up_to`, so that IVF and HNSW are tried."""
    return build(VECTORS, QUERIES, target_recall=0.9, flat_up_to=100)


def exact(queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> np.ndarray:
    scores = queries @ VECTORS.T
    if allowed is not None:
        scores = np.where(allowed, scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, truth, strict=True)]))


def test_a_small_catalog_is_searched_exactly() -> None:
    index = build(VECTORS, QUERIES)
    scores, ids = index.search(QUERIES, 50)
    assert index.report.chosen.kind == "flat"
    assert (ids == exact(QUERIES, 50)).mean() > 0.999
    np.testing.assert_allclose(scores, np.take_along_axis(QUERIES @ VECTORS.T, ids, 1), rtol=1e-4, atol=1e-4)


def test_the_choice_is_the_fastest_that_reached_the_target(approximate: Index) -> None:
    report = approximate.report
    good = [one for one in report.tried if one.recall >= report.target_recall]
    assert report.chosen.ms == min(one.ms for one in good)
    assert {one.kind for one in report.tried} == {"flat", "ivf", "hnsw"}
    measured = recall(approximate.search(QUERIES, 100)[1], exact(QUERIES, 100))
    assert measured == pytest.approx(report.chosen.recall, abs=0.01)


def test_an_unreachable_target_falls_back_to_exact_search() -> None:
    index = build(VECTORS[:500], QUERIES, target_recall=1.01, flat_up_to=100)
    assert index.report.chosen.kind == "flat"


@pytest.mark.parametrize("share", [0.9, 0.5, 0.05, 0.005])
@pytest.mark.parametrize("correlated", [False, True])
def test_a_filter_costs_no_recall(approximate: Index, share: float, correlated: bool) -> None:
    rng = np.random.default_rng(2)
    key = VECTORS[:, 0] if correlated else rng.random(len(VECTORS))
    allowed = key <= np.quantile(key, share)
    found = approximate.search(QUERIES, 30, allowed)[1]
    assert allowed[found[found >= 0]].all()
    assert recall(found, exact(QUERIES, 30, allowed)) >= 0.9


def test_each_query_may_have_a_filter_of_its_own(approximate: Index) -> None:
    allowed = np.random.default_rng(3).random((len(QUERIES), len(VECTORS))) < 0.02
    found = approximate.search(QUERIES, 10, allowed)[1]
    assert recall(found, exact(QUERIES, 10, allowed)) > 0.999


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(0, 25), st.integers(0, 2**31 - 1))
def test_answers_are_allowed_distinct_and_best_first(k: int, eligible: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(25, 4)).astype(np.float32)
    allowed = np.zeros(25, bool)
    allowed[rng.permutation(25)[:eligible]] = True
    index = build(vectors, vectors[:2])
    scores, ids = index.search(rng.normal(size=(3, 4)).astype(np.float32), k, allowed)
    assert scores.shape == ids.shape == (3, k)
    for best, found in zip(scores, ids, strict=True):
        known = found[found >= 0]
        assert len(known) == min(k, eligible) == len(set(known))
        assert allowed[known].all()
        assert (np.diff(best[: len(known)]) <= 0).all()
        assert np.isneginf(best[len(known) :]).all()


def test_more_asked_than_there_is_comes_padded() -> None:
    scores, ids = build(VECTORS[:5], QUERIES).search(QUERIES[:1], 8)
    assert sorted(ids[0]) == [-1, -1, -1, 0, 1, 2, 3, 4]
    assert np.isneginf(scores[0, 5:]).all()


def test_the_same_seed_builds_the_same_index(approximate: Index) -> None:
    again = build(VECTORS, QUERIES, target_recall=0.9, flat_up_to=100)
    assert [(t.kind, t.parameters, t.recall) for t in again.report.tried] == [
        (t.kind, t.parameters, t.recall) for t in approximate.report.tried
    ]


def test_a_saved_index_answers_alike(approximate: Index, tmp_path: Path) -> None:
    approximate.save(tmp_path)
    again = Index.load(tmp_path)
    np.testing.assert_array_equal(again.search(QUERIES, 20)[1], approximate.search(QUERIES, 20)[1])
    assert again.report == approximate.report


@pytest.mark.parametrize("name", ["vectors.npy", "index.faiss", "report.json"])
def test_a_damaged_index_is_refused(tmp_path: Path, name: str) -> None:
    build(VECTORS[:50], QUERIES).save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ReleaseRefused):
        Index.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ReleaseRefused):
        Index.load(tmp_path)


def test_wrong_shapes_and_values_are_refused() -> None:
    index = build(VECTORS[:50], QUERIES)
    with pytest.raises(BadInput):
        index.search(QUERIES[:, :3], 5)
    with pytest.raises(BadInput):
        index.search(QUERIES, 5, np.ones(49, bool))
    with pytest.raises(BadInput):
        build(VECTORS, QUERIES[:0])
    with pytest.raises(BadInput):
        build(np.full((4, 16), np.nan, np.float32), QUERIES)
