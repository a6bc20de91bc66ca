"""The cold-start head on a world whose right answer is known: parity of tracks and listeners."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.two_tower import TwoTowerConfig, cold
from models.two_tower.train import train
from recsys.dataset import Dataset
from recsys.errors import NotReady
from recsys.types import QueryBatch

CONFIG = TwoTowerConfig(
    embedding_dim=16,
    hidden_dim=32,
    num_heads=2,
    batch_size=128,
    max_length=12,
    uniform_negatives=32,
    epochs=2,
    half_life_days=1000,
    id_dropout=0.3,
)
COLD = np.array([56, 57, 58, 59])


@pytest.fixture(scope="module")
def head(checkerboard: Dataset) -> cold.ColdHead:
    model = train(checkerboard, checkerboard.split.valid, CONFIG)
    return cold.fit(model, checkerboard, checkerboard.split.valid)


def batch(world: Dataset) -> QueryBatch:
    plays = world.plays.before(world.split.valid)
    b = len(plays)
    zero = np.zeros(b, np.int8)
    return QueryBatch(plays, np.full(b, world.split.valid), zero, np.zeros(b, np.int16), zero)


def test_tracks_that_nobody_played_are_ranked_by_the_listeners_taste(
    head: cold.ColdHead, checkerboard: Dataset
) -> None:
    scores = head.score(batch(checkerboard), COLD)
    own = COLD[None] % 2 == np.arange(len(scores))[:, None] % 2
    assert scores[own].min() > scores[~own].max()


def test_a_score_depends_on_neither_the_batch_nor_the_other_tracks(
    head: cold.ColdHead, checkerboard: Dataset
) -> None:
    asked = batch(checkerboard)
    whole = head.score(asked, np.arange(60))
    alone = head.score(asked.take(np.array([5, 9])), COLD)
    np.testing.assert_allclose(alone, whole[[5, 9]][:, COLD], rtol=1e-4, atol=1e-4)
    assert head.score(asked.take(np.zeros(0, np.int64)), COLD).shape == (0, 4)


def test_hiding_a_track_takes_it_out_of_histories_and_keeps_the_rows(checkerboard: Dataset) -> None:
    hidden = np.zeros(60, bool)
    hidden[[0, 1, 2]] = True
    left = cold.without(checkerboard.plays, hidden)
    assert not np.isin(left.track, [0, 1, 2]).any()
    assert left.rows == checkerboard.plays.rows
    assert (left.track == -1).sum() == np.isin(checkerboard.plays.track, [0, 1, 2]).sum()


def test_a_log_without_plays_of_hidden_tracks_is_refused(head: cold.ColdHead, checkerboard: Dataset) -> None:
    silent = replace(checkerboard, plays=checkerboard.plays.before(0))
    with pytest.raises(NotReady, match="too short"):
        cold.fit(head.model, silent, checkerboard.split.valid)


def test_it_finds_examples_where_the_caller_hid_a_tenth_by_the_same_seed(
    head: cold.ColdHead, checkerboard: Dataset
) -> None:
    hidden = np.random.default_rng(0).random(60) < cold.HIDDEN_SHARE
    known = replace(checkerboard, plays=cold.without(checkerboard.plays, hidden))
    other = cold.fit(head.model, known, checkerboard.split.valid, seed=0)
    assert np.abs(other.weight).max() > 0


def test_what_does_not_vary_over_the_examples_gets_no_weight(
    head: cold.ColdHead, checkerboard: Dataset
) -> None:
    features = head.features(batch(checkerboard), np.arange(60))
    constant = features.std(axis=(0, 1)) < 1e-5
    assert constant.any()
    assert (head.weight[constant] == 0).all()
