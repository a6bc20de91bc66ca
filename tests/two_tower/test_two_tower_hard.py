"""Hard negatives of the trainer: what is drawn, with which probability, and what the mixture says of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.two_tower import TwoTowerConfig
from models.two_tower.content import Content, Vocabulary
from models.two_tower.hard import Frozen, Hard, corrections, log_weights
from models.two_tower.history import trace
from models.two_tower.sampling import Batch, Sampler
from models.two_tower.towers import Network
from models.two_tower.train import train
from recsys.dataset import Dataset
from recsys.items import MS_PER_DAY

CONFIG = TwoTowerConfig(
    embedding_dim=16,
    hidden_dim=32,
    num_heads=2,
    batch_size=64,
    max_length=12,
    uniform_negatives=32,
    epochs=2,
    hard_negatives=3000,
    hard_top=8,
    hard_temperature=0.02,
)
UPCOMING = [10, 11]


@pytest.fixture(scope="module")
def world(checkerboard: Dataset) -> Dataset:
    """Two tracks come out after the last day."""
    release_day = checkerboard.items.release_day.copy()
    release_day[UPCOMING] = checkerboard.split.end // MS_PER_DAY + 1
    return replace(checkerboard, items=replace(checkerboard.items, release_day=release_day))


@pytest.fixture(scope="module")
def batch(world: Dataset) -> Batch:
    plays = world.plays.before(world.split.valid)
    return next(Sampler(plays, trace(plays), world.country, world.items, CONFIG).epoch(0))


@pytest.fixture(scope="module")
def frozen(world: Dataset, batch: Batch) -> Frozen:
    torch.manual_seed(0)
    content = Content.of(world.items, Vocabulary.of(world.items, np.ones(len(world.items), np.int64), 1))
    network = Network(Vocabulary.of(world.items, np.ones(len(world.items), np.int64), 1).sizes, 0, CONFIG)
    return Frozen(network, content, batch.now)


def test_draws_come_from_the_softmax_over_the_best_unknown_released_tracks(
    frozen: Frozen, batch: Batch
) -> None:
    hard = frozen.draw(batch, CONFIG, torch.Generator().manual_seed(3))
    scores = frozen._scores(batch)
    for row in (0, 5, 40):
        known = {*batch.history.track[row], *batch.positive[row], *UPCOMING}
        assert not known & set(hard.top[row].tolist())
        free = [t for t in range(60) if t not in known]
        best = sorted(free, key=lambda t: -float(scores[row, t]))[:8]
        assert set(hard.top[row].tolist()) == set(best)
        wanted = torch.softmax(scores[row, best] / CONFIG.hard_temperature, dim=0)
        often = np.bincount(hard.track[row].numpy(), minlength=60)[best] / 3000
        np.testing.assert_allclose(often, wanted, atol=0.04)
        for track, probability in zip(best, wanted, strict=True):
            found = hard.drawn[row][hard.track[row] == track]
            np.testing.assert_allclose(found, float(probability), rtol=1e-5)


def test_a_row_that_knows_every_track_draws_nothing(frozen: Frozen, batch: Batch) -> None:
    everything = np.tile(np.arange(60), (len(batch.positive), 1))
    hard = frozen.draw(replace(batch, positive=everything), CONFIG, torch.Generator().manual_seed(0))
    assert torch.isneginf(log_weights(hard, torch.from_numpy(batch.expected))).all()
    assert len(corrections(hard, torch.from_numpy(batch.expected), batch.columns)[0]) == 0


def test_expected_counts_of_shared_and_own_draws_add_up(frozen: Frozen, batch: Batch) -> None:
    hard = frozen.draw(batch, CONFIG, torch.Generator().manual_seed(0))
    expected = torch.from_numpy(batch.expected)
    place, amount = corrections(hard, expected, batch.columns)
    weight = log_weights(hard, expected)
    of_draw = {(r, int(t)): float(w) for r in (0, 7) for t, w in zip(hard.track[r], weight[r], strict=True)}
    for flat, change in zip(place.tolist(), amount.tolist(), strict=True):
        row, track = flat // len(batch.columns), int(batch.columns[flat % len(batch.columns)])
        if (row, track) in of_draw:  # one expected count, whichever sampler drew it
            np.testing.assert_allclose(change - np.log(batch.expected[track]), of_draw[row, track], rtol=1e-4)


def test_copies_are_taken_at_the_stated_steps(world: Dataset, batch: Batch, frozen: Frozen) -> None:
    content = Content.of(world.items, Vocabulary.of(world.items, np.ones(60, np.int64), 1))
    network = Network(Vocabulary.of(world.items, np.ones(60, np.int64), 1).sizes, 0, CONFIG)
    few = CONFIG.model_copy(update={"hard_negatives": 4, "hard_from": 0.5, "hard_refresh": 10})
    hard, copies = Hard(content, few), []
    for step in range(40):
        drawn = hard.draw(network, batch, step, step / 40)
        assert (drawn is None) == (step < 20)
        copies.append(hard.frozen)
    assert [step for step in range(21, 40) if copies[step] is not copies[step - 1]] == [30]


def test_training_with_hard_negatives_is_reproducible_and_learns(world: Dataset) -> None:
    config = CONFIG.model_copy(
        update={"hard_negatives": 8, "hard_temperature": 1.0, "epochs": 3, "half_life_days": 1000.0}
    )
    one, two = (train(world, world.split.valid, config) for _ in range(2))
    np.testing.assert_array_equal(one.item_vectors, two.item_vectors)
    unit = one.unit_vectors
    assert (unit[:56:2] @ unit[:56:2].T).mean() > (unit[:56:2] @ unit[1:56:2].T).mean() + 0.5
