"""The decoder against an oracle: all tracks scored one by one, on a catalog small enough for that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.semantic_ids import SemanticConfig, SemanticIds
from models.semantic_ids.examples import Examples, first_times
from models.semantic_ids.train import Targets, loss_of, train
from recsys.dataset import Dataset
from recsys.errors import BadInput, NotReady, ReleaseRefused
from recsys.plays import Plays
from recsys.types import QueryBatch


def test_scores_are_log_probabilities_over_the_whole_catalog(world) -> None:
    scores = world.model.score(world.batch)
    assert np.allclose(np.exp(scores.astype(np.float64)).sum(axis=1), 1, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.02, 0.2, 0.8]))
def test_a_wide_beam_finds_what_exhaustive_scoring_finds(world, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    n = len(world.data.items)
    allowed = rng.random((len(world.batch), n)) < share
    ids, scores = world.model.candidates(world.batch, 10, allowed, beam=n)
    every = np.where(allowed, world.model.score(world.batch), -np.inf)
    best = np.sort(every, axis=1)[:, ::-1][:, :10]
    assert np.allclose(
        np.where(np.isfinite(scores), scores, -99), np.where(np.isfinite(best), best, -99), atol=1e-4
    )
    assert np.array_equal(ids >= 0, np.isfinite(best))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.01, 0.3]), st.integers(1, 8))
def test_no_beam_ever_writes_a_track_that_is_not_allowed(world, seed: int, share: float, beam: int) -> None:
    allowed = np.random.default_rng(seed).random(len(world.data.items)) < share
    ids, scores = world.model.candidates(world.batch, 4, allowed, beam=beam)
    assert allowed[ids[ids >= 0]].all()
    assert np.array_equal(ids >= 0, np.isfinite(scores))
    assert ((ids >= 0).sum(axis=1) >= min(1, allowed.sum())).all(), "an open branch is never lost"
    for row in ids:
        assert len(set(row[row >= 0])) == (row >= 0).sum()


def test_a_score_is_the_same_under_any_filter_beam_and_company(world) -> None:
    model, batch = world.model, world.batch
    every = model.score(batch)
    few = np.arange(len(world.data.items)) % 7 == 0
    for allowed, beam in ((None, 4), (None, 200), (few, 4)):
        ids, scores = model.candidates(batch, 5, allowed, beam=beam)
        assert np.allclose(scores[ids >= 0], np.take_along_axis(every, ids, 1)[ids >= 0], atol=1e-5)
    for j in (0, 17):
        alone = model.score(batch.take(np.array([j])))
        assert np.allclose(alone[0], every[j], atol=1e-5)
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 9, len(batch))
    ids = rng.integers(0, len(world.data.items), counts.sum())
    offsets = np.concatenate([[0], np.cumsum(counts)])
    found = model.score_candidates(batch, ids, offsets)
    assert np.allclose(found, every[np.repeat(np.arange(len(batch)), counts), ids], atol=1e-5)


def test_training_and_decoding_compute_the_same_probability(world) -> None:
    """-log P of the targets by the loss (torch, level by level) and by the decoder (numpy, over the tree)."""
    model, plays = world.model, world.data.plays
    step = Examples(plays, model.config).draw(5)
    targets = Targets.of(model.ids, model.books, model.vectors, np.exp(_log_plays(model)))
    with torch.inference_mode():
        loss = loss_of(model.network, targets, step).item()
        states = model.network.states(step.windows, targets.codes, targets.vectors)
        states = states[torch.from_numpy(step.row), torch.from_numpy(step.slot)]
        state = model.network.listen(states, step.moments).numpy()
    scores = model.decoder.some(state, np.arange(len(step.target)), step.target)
    assert loss == pytest.approx(-scores.mean(), abs=1e-4)


def asking(histories: Plays, now: int) -> QueryBatch:
    zero = np.zeros(len(histories), np.int8)
    return QueryBatch(histories, np.full(len(histories), now), zero, zero.astype(np.int16), zero)


def _log_plays(model: SemanticIds) -> np.ndarray:
    from models.semantic_ids.ids import expected_plays

    return np.log(expected_plays(model.items, model.ids.plays, model.config.popularity_power))


def test_listeners_get_tracks_of_their_genre_and_among_them_those_that_nobody_has_played(world) -> None:
    ids, _ = world.model.candidates(world.batch, 20, beam=60)
    mine = (np.arange(len(world.batch)) % 6)[:, None]
    assert (world.genre[ids] == mine).mean() > 0.9
    cold = np.zeros(len(world.data.items), bool)
    cold[world.unplayed] = True
    ids, _ = world.model.candidates(world.batch, 2, cold)
    assert (world.genre[ids] == mine).mean() > 0.8


def test_like_tracks_share_longer_prefixes_than_random_ones(world) -> None:
    codes, genre = world.model.codes, world.genre
    same = (codes[:, None] == codes[None]).cumprod(axis=2)[:, :, :-1].sum(axis=2).astype(float)
    other = ~np.eye(len(codes), dtype=bool)
    alike = genre[:, None] == genre[None]
    assert same[alike & other].mean() > 5 * same[~alike].mean()
    cold = world.unplayed
    assert same[cold][alike[cold] & other[cold]].mean() > 5 * same[cold][~alike[cold]].mean()


def test_new_tracks_get_codes_and_candidates_without_training_and_nothing_moves(world) -> None:
    model, items = world.model, world.grown(24)
    old = len(world.data.items)
    rows = np.arange(old, len(items))
    live = model.revised(items, rows)
    assert np.array_equal(live.codes[:old], model.codes)
    assert len(np.unique(live.codes, axis=0)) == len(items)
    step_by_step = model.revised(items.take(np.arange(old + 5)), np.arange(old, old + 5))
    assert np.array_equal(step_by_step.codes, live.codes[: old + 5])
    allowed = np.arange(len(items)) >= old
    ids, _ = live.candidates(world.batch, 4, allowed)
    assert ((ids % 6) == (np.arange(len(world.batch)) % 6)[:, None]).mean() > 0.8
    assert np.isfinite(live.score(world.batch)).all()


def test_a_saved_model_answers_the_same_also_for_a_later_catalog(world, tmp_path: Path) -> None:
    world.model.save(tmp_path)
    again = SemanticIds.load(tmp_path, world.data.items)
    assert np.array_equal(again.codes, world.model.codes)
    assert np.array_equal(again.score(world.batch), world.model.score(world.batch))
    later = world.grown(24)
    assert np.array_equal(
        SemanticIds.load(tmp_path, later).codes,
        world.model.revised(later, np.arange(len(world.data.items), len(later))).codes,
    )


@pytest.mark.parametrize(
    "name", ["semantic.json", "semantic_weights.npz", "semantic_codes.npz", "semantic_names.json"]
)
@pytest.mark.parametrize("harm", ["missing", "truncated", "swapped"])
def test_damaged_files_are_refused(world, tmp_path: Path, name: str, harm: str) -> None:
    world.model.save(tmp_path)
    path = tmp_path / name
    if harm == "missing":
        path.unlink()
    else:
        body = path.read_bytes()
        path.write_bytes(body[: len(body) // 2] if harm == "truncated" else b"{}" + body)
    with pytest.raises(ReleaseRefused, match="semantic ids"):
        SemanticIds.load(tmp_path, world.data.items)


SHORT = {"epochs": 1, "checkpoint_steps": 3}


def test_an_interrupted_training_ends_as_one_that_was_not(world, tmp_path: Path) -> None:
    config = SemanticConfig(**{**world.model.config.model_dump(), **SHORT})
    until = world.data.split.valid
    whole = train(world.data, until, config)

    class Killed(Exception):
        pass

    def kill(done: int, _steps: int) -> None:
        if done == 5:
            raise Killed

    with pytest.raises(Killed):
        train(world.data, until, config, progress=kill, checkpoint_dir=tmp_path)
    seen = list[int]()
    resumed = train(
        world.data, until, config, progress=lambda done, _: seen.append(done), checkpoint_dir=tmp_path
    )
    assert seen[0] == 4, "it goes on after the third step"
    assert np.array_equal(resumed.score(world.batch), whole.score(world.batch))
    with pytest.raises(BadInput, match="other settings"):
        train(
            world.data, until, SemanticConfig(**{**config.model_dump(), "seed": 1}), checkpoint_dir=tmp_path
        )


def test_nothing_after_the_cut_reaches_the_model(world) -> None:
    config = SemanticConfig(**{**world.model.config.model_dump(), **SHORT})
    data, cut = world.data, int(np.median(world.data.plays.start))
    past = Dataset(data.items, data.plays.before(cut), data.user_ids, data.country, data.split, {})
    assert np.array_equal(
        train(data, cut, config).score(world.batch), train(past, cut, config).score(world.batch)
    )
    with pytest.raises(NotReady):
        train(data, 0, config)


def test_targets_lie_ahead_of_what_was_seen_and_within_the_horizon(world) -> None:
    plays, config = world.data.plays, world.model.config
    numbered = replace(plays, track=np.arange(plays.rows, dtype=np.int32))
    examples = Examples(numbered, config)
    for number in range(20):
        step = examples.draw(number)
        first = step.windows.track[step.row, 0]
        seen = first + step.slot
        assert (step.target >= seen).all()
        assert (step.target < seen + config.horizon).all()
        assert (plays.owner[step.target] == plays.owner[first]).all()
        before = step.windows.earlier
        assert not len(before) or before.max() < plays.rows


def test_somebody_without_plays_gets_an_answer_the_same_alone_and_in_company(world) -> None:
    nobody = asking(Plays.empty(2), int(world.batch.now[0]))
    mixed = asking(Plays.concat([world.data.plays.take(np.array([4])), Plays.empty(1)]), int(nobody.now[0]))
    alone = world.model.score(nobody)
    assert np.isfinite(alone).all()
    assert np.allclose(world.model.score(mixed)[1], alone[0], atol=1e-5)
    ids, _ = world.model.candidates(nobody, 10)
    assert (ids >= 0).all()


def test_a_first_time_is_the_first_play_of_a_track_by_a_listener(world) -> None:
    first = first_times(world.data.plays)
    pairs = world.data.plays.owner * 1000 + world.data.plays.track
    assert first.sum() == len(np.unique(pairs))
