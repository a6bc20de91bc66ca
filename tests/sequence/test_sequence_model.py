"""The trained model: what it learns, what it may see, and that it survives the disk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.sequence.model import SequenceModel
from models.sequence.store import COUNTS, MANIFEST, WEIGHTS
from models.sequence.train import train
from recsys.errors import NotReady, ReleaseRefused
from recsys.plays import Outcome

TRACKS = 40


@pytest.fixture(scope="module")
def data(toy: Any) -> Any:
    return toy.dataset(toy.plays(toy.cycles(60, 30, TRACKS)), toy.items(TRACKS))


@pytest.fixture(scope="module")
def model(toy: Any, data: Any) -> SequenceModel:
    return train(data, data.split.end, toy.config)


@pytest.fixture
def batch(toy: Any) -> Any:
    rng = np.random.default_rng(3)
    histories = [rng.integers(-1, TRACKS, size) for size in (0, 1, 5, 8, 30)]
    outcomes = [rng.integers(0, 3, len(h)) for h in histories]
    return toy.batch(toy.plays(histories, outcomes))


def test_a_cycle_is_learned_by_the_network_alone(toy: Any, data: Any) -> None:
    config = toy.config.model_copy(update={"steps": 250, "mixing_steps": 0})
    alone = train(data, data.split.end, config)
    histories = toy.cycles(20, 8, TRACKS, seed=9)
    best = alone.score(toy.batch(toy.plays(histories))).argmax(1)
    expected = np.array([(h[-1] + 1) % TRACKS for h in histories])
    assert (best == expected).mean() >= 0.9


def test_a_cycle_is_learned_after_mixing(toy: Any, model: SequenceModel) -> None:
    histories = toy.cycles(20, 8, TRACKS, seed=9)
    best = model.score(toy.batch(toy.plays(histories))).argmax(1)
    assert (best == np.array([(h[-1] + 1) % TRACKS for h in histories])).mean() >= 0.9


def test_scores_are_finite_for_empty_histories_and_unknown_tracks(model: SequenceModel, batch: Any) -> None:
    scores = model.score(batch)
    assert scores.shape == (len(batch), TRACKS)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


def test_candidates_score_as_in_the_full_catalog(model: SequenceModel, batch: Any) -> None:
    rng = np.random.default_rng(0)
    sizes = np.array([3, 0, TRACKS, 7, 11])
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    ids = np.concatenate([rng.permutation(TRACKS)[:s] for s in sizes])
    full = model.score(batch)[np.repeat(np.arange(5), sizes), ids]
    assert np.abs(model.score_candidates(batch, ids, offsets) - full).max() < 1e-5


def test_many_requests_score_as_a_few(toy: Any, model: SequenceModel) -> None:
    rng = np.random.default_rng(5)
    batch = toy.batch(toy.plays([rng.integers(0, TRACKS, size) for size in rng.integers(0, 12, 150)]))
    full = model.score(batch)
    ids = np.tile(np.arange(0, TRACKS, 3), 150)
    offsets = np.arange(151, dtype=np.int64) * len(range(0, TRACKS, 3))
    found = model.score_candidates(batch, ids, offsets)
    assert np.abs(found - full[:, ::3].ravel()).max() < 1e-5
    few = model.score(batch.take(np.arange(100, 110)))
    assert np.abs(few - full[100:110]).max() < 1e-5


def test_no_candidates_give_no_scores(model: SequenceModel, batch: Any) -> None:
    none = model.score_candidates(batch, np.zeros(0, np.int64), np.zeros(len(batch) + 1, np.int64))
    assert none.shape == (0,)


def test_a_score_does_not_depend_on_the_other_requests_of_a_batch(model: SequenceModel, batch: Any) -> None:
    together = model.score(batch)
    for row in range(len(batch)):
        alone = model.score(batch.take(np.array([row])))
        assert np.abs(alone[0] - together[row]).max() < 1e-5


def test_a_skip_changes_what_comes_next(toy: Any, model: SequenceModel) -> None:
    history = [np.arange(6)]
    heard = model.score(toy.batch(toy.plays(history)))
    skipped = model.score(toy.batch(toy.plays(history, [np.full(6, Outcome.SKIP)])))
    assert np.abs(heard - skipped).max() > 0.01


def test_the_best_candidates_respect_the_mask_and_come_in_order(model: SequenceModel, batch: Any) -> None:
    allowed = np.zeros(TRACKS, bool)
    allowed[[3, 5, 8]] = True
    ids, scores = model.candidates(batch, 5, allowed)
    assert set(ids[0]) == {3, 5, 8, -1}
    assert (np.diff(scores[:, :3]) <= 0).all()
    full = model.score(batch)
    assert np.array_equal(ids[:, 0], np.where(allowed, full, -np.inf).argmax(1))


def test_a_track_unseen_in_training_scores_by_its_content(toy: Any) -> None:
    seen = [c[c != 7] for c in toy.cycles(40, 30, TRACKS)]
    data = toy.dataset(toy.plays(seen), toy.items(TRACKS))
    model = train(data, data.split.end, toy.config)
    artist = model.items.artist
    like = model.item_vectors @ model.item_vectors[7]
    near = like[(artist == artist[7]) & (np.arange(TRACKS) != 7)].mean()
    assert near > like[artist != artist[7]].mean()


def test_counting_again_sees_newer_plays_and_leaves_the_old_model(toy: Any, model: SequenceModel) -> None:
    history = toy.batch(toy.plays([np.array([1, 2, 3])]))
    before = model.score(history)
    newer = model.recounted(toy.plays([np.array([3, 20] * 10)] * 5))
    history.memo.clear()
    rise = newer.score(history)[0] - before[0]
    assert rise.argmax() == 20
    history.memo.clear()
    assert np.array_equal(model.score(history), before)


def test_the_same_seed_gives_the_same_model(toy: Any, data: Any, model: SequenceModel, batch: Any) -> None:
    again = train(data, data.split.end, toy.config)
    assert np.array_equal(again.score(batch), model.score(batch))


def test_plays_after_the_split_do_not_matter(toy: Any, data: Any, batch: Any) -> None:
    until = int(np.quantile(data.plays.start, 0.8))
    config = toy.config.model_copy(update={"steps": 10, "mixing_steps": 3})
    cut = toy.dataset(data.plays.before(until), data.items)
    assert np.array_equal(train(data, until, config).score(batch), train(cut, until, config).score(batch))


def test_nothing_to_train_on_is_refused(toy: Any, data: Any) -> None:
    with pytest.raises(NotReady, match="no plays"):
        train(data, int(data.plays.start.min()), toy.config)


def test_a_saved_model_scores_the_same(model: SequenceModel, batch: Any, tmp_path: Any) -> None:
    model.save(tmp_path)
    again = SequenceModel.load(tmp_path, model.items)
    assert np.array_equal(again.score(batch), model.score(batch))
    assert np.array_equal(again.encode(batch), model.encode(batch))


@pytest.mark.parametrize("name", [WEIGHTS, COUNTS, MANIFEST])
def test_a_truncated_file_is_refused(model: SequenceModel, tmp_path: Any, name: str) -> None:
    model.save(tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ReleaseRefused):
        SequenceModel.load(tmp_path, model.items)


@pytest.mark.parametrize("name", [WEIGHTS, COUNTS, MANIFEST])
def test_a_missing_file_is_refused(model: SequenceModel, tmp_path: Any, name: str) -> None:
    model.save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ReleaseRefused):
        SequenceModel.load(tmp_path, model.items)


def test_other_items_are_refused(toy: Any, model: SequenceModel, tmp_path: Any) -> None:
    model.save(tmp_path)
    with pytest.raises(ReleaseRefused, match="other items"):
        SequenceModel.load(tmp_path, toy.items(TRACKS + 1))
