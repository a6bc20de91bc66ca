"""A planted leak is caught: in training, at query time, and in the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from recsys.errors import Leak
from recsys.evaluation.baselines import BASELINES, popularity
from recsys.evaluation.leak import check_before, check_queries, check_training, scrambled

DAY = 86_400_000


@pytest.fixture(scope="module")
def batch(checkerboard, toy):
    now = checkerboard.split.test
    return toy.batch(checkerboard.plays.before(now).last(12).take(np.arange(8)), now)


@pytest.mark.parametrize("name", list(BASELINES))
def test_no_baseline_learns_from_the_future(name, checkerboard, batch):
    check_training(BASELINES[name], checkerboard, checkerboard.split.test, batch)


def test_a_popularity_fitted_on_everything_is_caught(checkerboard, batch):
    def leaky(dataset, until_ms):
        return popularity.fit(dataset, dataset.split.end)

    with pytest.raises(Leak, match="training"):
        check_training(leaky, checkerboard, checkerboard.split.test, batch)


@dataclass
class Peeking:
    """Scores a track by the listener's plays of it in the hour after the query."""

    dataset: object
    ahead_ms: int
    name: str = "peeking"

    def score(self, batch):
        plays = self.dataset.plays
        near = (plays.start < batch.now[0] + self.ahead_ms) & (plays.track >= 0)
        counts = np.bincount(plays.track[near], minlength=len(self.dataset.items))
        return counts[None].astype(np.float32)


def test_a_model_that_reads_an_hour_ahead_is_caught_and_one_that_reads_only_back_is_not(checkerboard):
    listeners, times = np.array([0, 1]), np.array([8 * DAY + DAY // 2, 9 * DAY])
    check_queries(lambda data: Peeking(data, 0), checkerboard, listeners, times)
    with pytest.raises(Leak, match="listener 0"):
        check_queries(lambda data: Peeking(data, 3_600_000), checkerboard, listeners, times)


def test_training_data_past_the_split_are_refused(checkerboard):
    check_before(checkerboard.plays.before(checkerboard.split.test), checkerboard.split.test)
    with pytest.raises(Leak, match="480 plays"):
        check_before(checkerboard.plays, checkerboard.split.test)


def test_scrambling_leaves_the_past_alone(checkerboard):
    cut = checkerboard.split.test
    other = scrambled(checkerboard, cut).plays
    past = checkerboard.plays.start < cut
    np.testing.assert_array_equal(other.track[past], checkerboard.plays.track[past])
    assert (other.track[~past] != checkerboard.plays.track[~past]).mean() > 0.9
