"""Training that goes on from an earlier model: what enters, what stays, what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.two_tower import TwoTower, TwoTowerConfig
from models.two_tower.history import trace
from models.two_tower.incremental import Moments, grown, joined
from models.two_tower.model import Ancestor
from models.two_tower.sampling import Sampler
from models.two_tower.train import train
from recsys.dataset import Dataset
from recsys.errors import BadInput, NotReady
from recsys.items import MS_PER_DAY

CONFIG = TwoTowerConfig(
    embedding_dim=16,
    hidden_dim=32,
    num_heads=2,
    batch_size=128,
    max_length=12,
    uniform_negatives=32,
    epochs=3,
    half_life_days=1000,
    incremental_epochs=1,
)
LATE = 54
"""A track that nobody plays before the second cut's days."""


@pytest.fixture(scope="module")
def world(checkerboard: Dataset) -> Dataset:
    """The last played track of the even side is first heard four days before validation."""
    plays, split = checkerboard.plays, checkerboard.split
    early = plays.start < split.valid - 4 * MS_PER_DAY
    track = np.where((plays.track == LATE) & early, 0, plays.track).astype(np.int32)
    return replace(checkerboard, plays=replace(plays, track=track))


@pytest.fixture(scope="module")
def yesterday(world: Dataset) -> TwoTower:
    return train(world, world.split.valid - 4 * MS_PER_DAY, CONFIG)


@pytest.fixture(scope="module")
def today(world: Dataset, yesterday: TwoTower) -> TwoTower:
    return train(world, world.split.valid, CONFIG, start=yesterday, release="7")


def test_a_new_track_enters_and_the_others_keep_their_rows(
    world: Dataset, yesterday: TwoTower, today: TwoTower
) -> None:
    name = world.items.track_ids[LATE]
    assert name not in yesterday.vocabulary.tracks
    assert name in today.vocabulary.tracks
    assert today.vocabulary.tracks[: len(yesterday.vocabulary.tracks)] == yesterday.vocabulary.tracks
    same = (today.unit_vectors * yesterday.unit_vectors).sum(1)
    assert same[:54].mean() > 0.9
    unit = today.unit_vectors
    near = unit[:LATE] @ unit[LATE]
    assert near[0::2].mean() > near[1::2].mean() + 0.5


def test_grown_weights_place_every_track_where_it_was(world: Dataset, yesterday: TwoTower) -> None:
    played = np.bincount(world.plays.track, minlength=len(world.items))
    wider = joined(yesterday.vocabulary, yesterday.vocabulary.of(world.items, played, 1))
    network = grown(yesterday, wider, CONFIG, 0).eval()
    moved = TwoTower(network, wider, CONFIG, world.items, yesterday.until_ms)
    np.testing.assert_allclose(moved.item_vectors, yesterday.item_vectors, atol=1e-6)


def test_lineage_is_kept_in_the_files(today: TwoTower, yesterday: TwoTower, tmp_path: Path) -> None:
    assert today.lineage == (Ancestor("7", yesterday.until_ms),)
    today.save(tmp_path)
    assert TwoTower.load(tmp_path, today.items).lineage == today.lineage


def test_the_new_days_are_read_whole_and_older_ones_as_replay_says(world: Dataset) -> None:
    since = world.split.valid - 4 * MS_PER_DAY
    plays = world.plays.before(world.split.valid)
    for replay in (0.0, 1.0):
        config = CONFIG.model_copy(update={"replay": replay, "half_life_days": 5.0, "batch_size": 16})
        sampler = Sampler(plays, trace(plays), world.country, world.items, config, since)
        days = np.concatenate([[b.now] * len(b.positive) for b in sampler.epoch(0)])
        new = (plays.start[sampler.sessions.start] >= since).sum()
        assert (days >= since).sum() == new
        assert abs((days < since).sum() - replay * new) < 4 * np.sqrt(new) * replay + 1e-9


def test_what_the_old_model_cannot_be_started_for_is_refused(world: Dataset, yesterday: TwoTower) -> None:
    other = CONFIG.model_copy(update={"embedding_dim": 8})
    with pytest.raises(BadInput, match="embedding_dim"):
        train(world, world.split.valid, other, start=yesterday)
    with pytest.raises(NotReady, match="as new as the log"):
        train(world, yesterday.until_ms, CONFIG, start=yesterday)
    abroad = replace(world, items=replace(world.items, countries=["SE"]))
    with pytest.raises(BadInput, match="territories"):
        train(abroad, world.split.valid, CONFIG, start=yesterday)


def test_the_optimizers_state_goes_on_where_it_was(world: Dataset, yesterday: TwoTower) -> None:
    kept: Moments = {}
    train(world, world.split.valid - 4 * MS_PER_DAY, CONFIG.model_copy(update={"epochs": 1}), keep=kept)
    before = {name: state["exp_avg_sq"].clone() for name, state in kept.items()}
    steps = float(kept["user.how.weight"]["step"])
    assert steps > 0
    kept_run = train(world, world.split.valid, CONFIG, start=yesterday, keep=kept)
    assert float(kept["user.how.weight"]["step"]) > steps
    assert len(kept["item.tables.0.weight"]["exp_avg"]) == len(before["item.tables.0.weight"]) + 1
    fresh_run = train(world, world.split.valid, CONFIG, start=yesterday)
    assert not np.array_equal(kept_run.item_vectors, fresh_run.item_vectors)
