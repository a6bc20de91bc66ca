"""The trained model on a world whose right answer is known: parity of tracks and listeners."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.two_tower import TwoTower, TwoTowerConfig
from models.two_tower.model import merge
from models.two_tower.train import train
from recsys import index
from recsys.dataset import Dataset
from recsys.errors import NotReady, ReleaseRefused
from recsys.plays import Plays
from recsys.types import QueryBatch

CONFIG = TwoTowerConfig(
    embedding_dim=16,
    hidden_dim=32,
    num_heads=2,
    batch_size=64,
    uniform_negatives=64,
    epochs=6,
    half_life_days=1000,
    id_dropout=0.3,
)
N, B = 60, 120
COLD = [56, 57, 58, 59]


@pytest.fixture(scope="module")
def model(checkerboard: Dataset) -> TwoTower:
    return train(checkerboard, checkerboard.split.valid, CONFIG)


@pytest.fixture(scope="module")
def batch(checkerboard: Dataset) -> QueryBatch:
    return asking(checkerboard.plays.before(checkerboard.split.valid), checkerboard.split.valid)


def asking(histories: Plays, now: int) -> QueryBatch:
    b = len(histories)
    zero = np.zeros(b, np.int8)
    return QueryBatch(histories, np.full(b, now), zero, np.zeros(b, np.int16), zero)


def test_every_listener_gets_tracks_of_their_own_side(model: TwoTower, batch: QueryBatch) -> None:
    ids, _ = model.candidates(batch, 28)
    assert (ids % 2 == (np.arange(B) % 2)[:, None]).mean() > 0.99


def test_a_track_without_plays_lies_near_its_genre(model: TwoTower, batch: QueryBatch) -> None:
    assert not set(COLD) & set(model.vocabulary.tracks)
    unit = model.unit_vectors
    for cold in COLD:
        near = unit[:56] @ unit[cold]
        assert near[cold % 2 :: 2].mean() > near[1 - cold % 2 :: 2].mean() + 0.5
    scores = model.score(batch)[:, COLD]
    own = (np.arange(B)[:, None] % 2) == (np.array(COLD)[None] % 2)
    assert scores[own].mean() > scores[~own].mean() + 1


def test_a_new_catalog_is_encoded_from_content_alone(model: TwoTower, checkerboard: Dataset) -> None:
    items = checkerboard.items
    renamed = items.frame["track_id"].str.replace("^0", "9")
    strangers = replace(items, frame=items.frame.with_columns(track_id=renamed))
    vectors = model.encode_items(strangers)
    own = vectors[:, :-1] / np.linalg.norm(vectors[:, :-1], axis=1, keepdims=True)
    assert (own * model.unit_vectors).sum(1)[:56].mean() > 0.8
    assert not np.array_equal(vectors[:56], model.item_vectors[:56])
    np.testing.assert_allclose(vectors[COLD], model.item_vectors[COLD], atol=1e-6)


def test_an_answer_does_not_depend_on_the_batch(model: TwoTower, batch: QueryBatch) -> None:
    whole = model.score(batch)
    for row in (0, 7, 119):
        one = model.score(batch.take(np.array([row])))
        np.testing.assert_allclose(one[0], whole[row], rtol=1e-5, atol=1e-5)
        vector = model.encode(batch.take(np.array([row])))[0]
        np.testing.assert_allclose(vector, model.encode(batch)[row], rtol=1e-5, atol=2e-6)


def test_unknown_tracks_and_empty_histories_are_tolerated(model: TwoTower, batch: QueryBatch) -> None:
    unknown = replace(batch.histories, track=np.full_like(batch.histories.track, -1))
    empty = asking(batch.histories.before(0), int(batch.now[0]))
    for odd in (replace(batch, histories=unknown, memo={}), empty):
        scores = model.score(odd)
        assert scores.shape == (B, N)
        assert np.isfinite(scores).all()
        assert (model.candidates(odd, 10)[0] >= 0).all()
    assert model.score(asking(Plays.empty(0), 0)).shape == (0, N)


def test_scores_of_candidates_equal_the_full_scores(model: TwoTower, batch: QueryBatch) -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 30, B)
    ids = rng.integers(0, N, counts.sum())
    offsets = np.concatenate([[0], np.cumsum(counts)])
    full = model.score(batch)[np.repeat(np.arange(B), counts), ids]
    np.testing.assert_allclose(model.score_candidates(batch, ids, offsets), full, rtol=1e-5, atol=1e-5)


def test_candidates_through_the_index_are_the_best_allowed_scores(model: TwoTower, batch: QueryBatch) -> None:
    built = index.build(model.item_vectors, model.encode(batch))
    allowed = np.random.default_rng(1).random((B, N)) < 0.6
    for mask in (None, allowed, allowed[0]):
        ids, scores = model.candidates(batch, 20, mask, built)
        exact_ids, exact = model.candidates(batch, 20, mask)
        np.testing.assert_allclose(scores, exact, rtol=1e-5, atol=1e-5)
        assert (ids == exact_ids).mean() > 0.99
    few = np.zeros(N, bool)
    few[[2, 5]] = True
    ids, scores = model.candidates(batch, 20, few, built)
    assert set(ids[0]) == {2, 5, -1}
    assert np.isneginf(scores[0, 2:]).all()


def test_a_track_in_both_lists_keeps_its_own_score() -> None:
    ids, scores = merge(
        np.array([[4, 7, -1]]),
        np.array([[3.0, 2.0, -np.inf]], np.float32),
        np.array([[4, 9, -1]]),
        np.array([[1.0, 5.0, -np.inf]], np.float32),
        4,
    )
    assert ids.tolist() == [[9, 7, 4, -1]]
    assert scores[0, :3].tolist() == [5.0, 2.0, 1.0]


def test_saved_and_loaded_models_answer_alike(
    model: TwoTower, batch: QueryBatch, checkerboard: Dataset, tmp_path: Path
) -> None:
    model.save(tmp_path)
    again = TwoTower.load(tmp_path, checkerboard.items)
    np.testing.assert_array_equal(again.score(replace(batch, memo={})), model.score(batch))
    assert again.config == model.config


@pytest.mark.parametrize("name", ["weights.npz", "vocabulary.json", "settings.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["truncated", "missing", "swapped"])
def test_damaged_files_are_refused(
    model: TwoTower, checkerboard: Dataset, tmp_path: Path, name: str, damage: str
) -> None:
    model.save(tmp_path)
    path = tmp_path / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-20] if damage == "truncated" else b"{}")
    with pytest.raises(ReleaseRefused):
        TwoTower.load(tmp_path, checkerboard.items)


def test_the_same_seed_gives_the_same_model(checkerboard: Dataset) -> None:
    short = CONFIG.model_copy(update={"epochs": 1})
    once, twice = (train(checkerboard, checkerboard.split.valid, short) for _ in range(2))
    other = train(checkerboard, checkerboard.split.valid, short.model_copy(update={"seed": 1}))
    np.testing.assert_array_equal(once.item_vectors, twice.item_vectors)
    assert not np.array_equal(once.item_vectors, other.item_vectors)


def test_nothing_after_the_cut_changes_the_model(checkerboard: Dataset) -> None:
    short = CONFIG.model_copy(update={"epochs": 1})
    until = checkerboard.split.valid
    known = replace(checkerboard, plays=checkerboard.plays.before(until))
    whole, cut = train(checkerboard, until, short), train(known, until, short)
    np.testing.assert_array_equal(whole.item_vectors, cut.item_vectors)


def test_training_tells_its_loss_and_progress(checkerboard: Dataset) -> None:
    told: list[dict[str, float]] = []
    steps: list[tuple[int, int]] = []
    train(
        checkerboard,
        checkerboard.split.valid,
        CONFIG.model_copy(update={"epochs": 2}),
        log=lambda _, row: told.append(row),
        progress=lambda done, total: steps.append((done, total)),
    )
    assert told[-1]["loss"] < told[0]["loss"]
    assert steps[-1][0] == steps[-1][1]


def test_a_budget_stops_the_training(checkerboard: Dataset) -> None:
    steps: list[int] = []
    config = CONFIG.model_copy(update={"epochs": 10_000, "budget_s": 0.5})
    train(checkerboard, checkerboard.split.valid, config, progress=lambda done, _: steps.append(done))
    assert 0 < len(steps) < 5000


def test_a_log_without_plays_is_not_trained_on(checkerboard: Dataset) -> None:
    with pytest.raises(NotReady):
        train(checkerboard, 0, CONFIG)


def test_unknown_settings_are_rejected() -> None:
    with pytest.raises(ValueError, match="embedding_dims"):
        TwoTowerConfig(embedding_dims=3)  # type: ignore[call-arg]
