"""The planner and the searches among which it chooses: exact ones are brute force, others reach their recall."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import BadInput, ReleaseRefused
from recsys.index import Index, build
from recsys.retrieval.bitmaps import Bitmaps, Layout, count, slots_of
from recsys.retrieval.calibrate import KINDS, Clusters, calibrate, plans_of, recall
from recsys.retrieval.engine import Engine, Retriever
from recsys.retrieval.plans import PLACES, CostTable, Grid, Plan

GATHER, SCAN = Plan(kind="gather", effort=0), Plan(kind="scan", effort=0)


def clustered(n: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(48, dim))
    return (centers[rng.integers(0, 48, n)] + 0.5 * rng.normal(size=(n, dim))).astype(np.float32)


VECTORS, QUERIES = clustered(20_000), clustered(30, seed=1)


@pytest.fixture(scope="module")
def retriever() -> Retriever:
    engine = Engine.build(VECTORS)
    return Retriever(engine, calibrate(engine, QUERIES[:4], ks=(100,)))


def brute(vectors: np.ndarray, query: np.ndarray, mask: np.ndarray, k: int) -> list[int]:
    """Best first, ties by id."""
    scores, ids = np.einsum("md,d->m", vectors, query), np.flatnonzero(mask)
    return ids[np.lexsort((ids, -scores[ids]))][:k].tolist()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(0, 12), st.integers(1, 320), st.integers(0, 2**31 - 1))
def test_exact_plans_are_brute_force_with_ties_by_id(n: int, distinct: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, 8)).astype(np.float32)
    vectors = vectors[rng.integers(0, min(distinct, n) or n, n)]  # many equal vectors
    query, mask = rng.normal(size=8).astype(np.float32), rng.random(n) < rng.random()
    engine = Engine.build(vectors, lists=False)
    words = engine.layout.pack(mask)
    answers = [engine.run(plan, query, k, words) for plan in (GATHER, SCAN)]
    assert answers[0][1].tolist() == answers[1][1].tolist() == brute(vectors, query, mask, k)
    np.testing.assert_array_equal(answers[0][0], answers[1][0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 1.0])
def test_recall_holds_at_every_selectivity(retriever: Retriever, share: float, kind: str) -> None:
    clusters = Clusters.of(retriever.engine, seed=9)
    shares = []
    for j, query in enumerate(QUERIES[4:]):
        mask = clusters.mask(query, kind, round(share * len(VECTORS)), seed=j)
        _, ids, _ = retriever.search(query, 100, retriever.engine.layout.pack(mask))
        assert mask[ids].all()
        assert len(set(ids.tolist())) == len(ids) == min(100, mask.sum())
        shares.append(recall(ids, np.array(brute(VECTORS, query, mask, 100))))
    assert np.mean(shares) >= 0.99


def test_every_plan_that_opens_all_lists_finds_nearly_everything(retriever: Retriever) -> None:
    mask = np.random.default_rng(2).random(len(VECTORS)) < 0.4
    words = retriever.engine.layout.pack(mask)
    for plan in (p for p in plans_of(retriever.engine) if p.effort == 0):
        found = [retriever.engine.run(plan, q, 50, words)[1] for q in QUERIES]
        truth = [np.array(brute(VECTORS, q, mask, 50)) for q in QUERIES]
        assert np.mean([recall(a, b) for a, b in zip(found, truth, strict=True)]) > 0.99


@pytest.mark.parametrize("eligible", [0, 1, 7])
def test_fewer_eligible_than_asked_for_all_come_back_whatever_the_plan(
    retriever: Retriever, eligible: int
) -> None:
    mask = np.zeros(len(VECTORS), bool)
    mask[np.random.default_rng(3).choice(len(VECTORS), eligible, replace=False)] = True
    words = retriever.engine.layout.pack(mask)
    for plan in (*plans_of(retriever.engine), Plan(kind="overfetch", effort=2000)):
        scores, ids, _ = retriever.engine.run(plan, QUERIES[0], 20, words)
        assert ids.tolist() == brute(VECTORS, QUERIES[0], mask, 20)
        assert len(scores) == eligible


def test_overfetching_that_comes_out_short_says_that_it_ended_exactly(retriever: Retriever) -> None:
    mask = Clusters.of(retriever.engine).mask(QUERIES[0], "far", 400)
    words = retriever.engine.layout.pack(mask)
    _, ids, plan = retriever.engine.run(Plan(kind="overfetch", effort=2000), QUERIES[0], 100, words)
    assert plan == GATHER
    assert ids.tolist() == brute(VECTORS, QUERIES[0], mask, 100)


def test_the_plan_is_a_function_of_count_k_placement_and_table(retriever: Retriever) -> None:
    again = CostTable.model_validate_json(retriever.table.model_dump_json())
    for eligible in (0, 1, 50, 999, 5_000, 20_000):
        for place in PLACES:
            plans = {table.choose(eligible, 100, place) for table in (retriever.table, again)}
            assert len(plans) == 1
            assert retriever.table.choose(eligible, 101, place).exact, "beyond the k that was measured"


def table(ms: tuple[tuple[float, ...], ...], found: tuple[tuple[float, ...], ...]) -> CostTable:
    plans = (GATHER, Plan(kind="index", effort=2000))
    grids = tuple(
        Grid(k=10, place=place, counts=(100, 1000), plans=plans, ms=ms, recall=found) for place in PLACES
    )
    return CostTable(vectors=1000, target=0.99, grids=grids)


def test_the_cheapest_plan_that_reached_the_target_on_both_sides_wins() -> None:
    good = table(((0.1, 9.0), (1.0, 1.0)), ((1.0, 1.0), (1.0, 1.0)))
    assert [good.choose(c, 10, "even").kind for c in (100, 150, 500, 1000)] == [
        "gather", "gather", "index", "index",
    ]  # fmt: skip
    poor = table(((0.1, 9.0), (1.0, 1.0)), ((1.0, 1.0), (1.0, 0.98)))
    assert poor.choose(500, 10, "even").exact
    assert good.choose(99, 10, "even").exact, "below what was measured only exact plans are sure"


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body["grids"][0]["ms"][0].__setitem__(0, -1.0),
        lambda body: body["grids"][0]["recall"][0].__setitem__(0, 1.5),
        lambda body: body["grids"][0]["ms"].pop(),
        lambda body: body["grids"].pop(),
        lambda body: body["grids"][0]["counts"].reverse(),
        lambda body: body["grids"][0]["plans"][0].__setitem__("kind", "guess"),
        lambda body: body.__setitem__("format", 2),
        lambda body: body.__setitem__("surprise", 1),
    ],
)
def test_a_corrupt_cost_table_is_refused(tmp_path: Path, damage: Callable[[dict], None]) -> None:
    path = tmp_path / "costs.json"
    table(((0.1, 9.0), (1.0, 1.0)), ((1.0, 1.0), (1.0, 1.0))).save(path)
    assert CostTable.load(path)
    body = json.loads(path.read_text())
    damage(body)
    path.write_text(json.dumps(body))
    with pytest.raises(ReleaseRefused):
        CostTable.load(path)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400), st.integers(1, 6), st.integers(0, 2**31 - 1))
def test_bitmaps_hold_what_was_packed(n: int, lists: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    assigned = np.unique(rng.integers(0, lists, n), return_inverse=True)[1]
    layout = Layout.of(assigned, int(assigned.max()) + 1)
    mask = rng.random(n) < 0.5
    words, gone = layout.pack(mask), rng.choice(n, min(n, 5), replace=False)
    assert sorted(layout.track[slots_of(words)]) == np.flatnonzero(mask).tolist()
    assert count(words) == mask.sum()
    assert layout.per_list(words).tolist() == np.bincount(assigned, mask, len(layout.sizes)).tolist()
    assert layout.has(words, np.arange(n)).tolist() == mask.tolist()
    left = Bitmaps(layout, (words, words)).without([gone.tolist(), []])
    assert left.has(np.tile(gone, (2, 1))).tolist() == [[False] * len(gone), mask[gone].tolist()]
    assert count(left.rows[1]) == count(words), "the shared words are left alone"


def test_a_saved_index_plans_and_answers_alike(tmp_path: Path) -> None:
    index = build(VECTORS[:5000], QUERIES[:4], target_recall=0.9, flat_up_to=100)
    index.save(tmp_path)
    again, masks = Index.load(tmp_path), np.random.default_rng(4).random((3, 5000)) < [[0.01], [0.3], [1.0]]
    told: list[list[Plan]] = [[], []]
    layout = index.layout
    assert layout is not None
    bitmaps = Bitmaps.of(layout, masks)
    found = [i.search(QUERIES[:3], 50, bitmaps, p) for i, p in zip((index, again), told, strict=True)]
    np.testing.assert_array_equal(found[0][1], found[1][1])
    assert told[0] == told[1]
    assert len(told[0]) == 3
    with pytest.raises(BadInput):
        index.search(QUERIES[:2], 50, bitmaps)


@pytest.mark.parametrize("name", ["costs.json", "lists.faiss", "layout.npz"])
def test_an_index_with_a_damaged_planner_is_refused(tmp_path: Path, name: str) -> None:
    build(VECTORS[:3000], QUERIES[:2], target_recall=0.9, flat_up_to=100).save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ReleaseRefused):
        Index.load(tmp_path)


def test_an_index_from_before_there_was_a_table_takes_masks_only(tmp_path: Path) -> None:
    build(VECTORS[:200], QUERIES).save(tmp_path)
    (tmp_path / "costs.json").unlink()
    body = json.loads((tmp_path / "report.json").read_text())
    del body["sha256"]["costs.json"]
    (tmp_path / "report.json").write_text(json.dumps(body))
    old = Index.load(tmp_path)
    assert old.layout is None
    mask = np.arange(200) % 3 == 0
    assert mask[old.search(QUERIES[:1], 10, mask)[1]].all()
    engine = Engine.build(VECTORS[:200], lists=False)
    with pytest.raises(BadInput):
        old.search(QUERIES[:1], 10, Bitmaps(engine.layout, (engine.layout.pack(mask),)))
