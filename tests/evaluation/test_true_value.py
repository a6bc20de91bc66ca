"""The scale of true value: a random slate is worth 0, the best one 1, and equal policies differ by 0."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.dataset import load
from recsys.errors import BadInput
from recsys.evaluation.baselines import BASELINES
from recsys.evaluation.table import render
from recsys.evaluation.true_value import LONG_TERM, true_value_rows
from recsys.home import Home
from recsys.lake import Lake
from recsys.simulation import PROFILES, simulate
from recsys.simulation.truth import World, oracle_slates

PROBES, K = 120, 6


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    profile = PROFILES["tiny"].model_copy(
        update={"listeners": 150, "tracks": 400, "artists": 60, "days": 10, "seed": 11}
    )
    home = Home.of(tmp_path_factory.mktemp("world")).make()
    simulate(profile, home, workers=1)
    return home


@pytest.fixture(scope="module")
def world(home):
    return World.load(home)


@pytest.fixture(scope="module")
def dataset(home):
    return load(Lake(home.lake), test_share=0.2)


class _Best:
    """Knows the truth: the oracle's slates for the probes, block after block."""

    def __init__(self, world):
        self.sample, self.world, self.done = world.probes(PROBES, 0), world, 0

    def __call__(self, batch, k):
        rows = np.arange(self.done, self.done + len(batch))
        self.done += len(batch)
        np.testing.assert_array_equal(self.sample.now[rows], batch.now)
        utility, eligible = self.world.utilities(self.sample, rows), self.world.eligible(self.sample, rows)
        return oracle_slates(utility, eligible, self.world.artist, k)


class _Random(_Best):
    def __call__(self, batch, k):
        rows = np.arange(self.done, self.done + len(batch))
        self.done += len(batch)
        noise = np.random.default_rng(self.done).random((len(rows), len(self.world.artist)))
        return np.argsort(-noise * self.world.eligible(self.sample, rows), axis=1)[:, :k]


@pytest.fixture(scope="module")
def rows(home, world, dataset):
    models = {"popularity": BASELINES["popularity"](dataset, dataset.split.test)}
    producers = {"best": _Best(world), "random": _Random(world), "same": _Best(world)}
    return true_value_rows(home, dataset, models, producers, probes=PROBES, k=K)


def _value(rows, model, metric="true_value", cohort="all"):
    return next(r for r in rows if (r.model, r.metric, r.cohort) == (model, metric, cohort))


def test_the_oracle_is_worth_1_and_a_random_slate_0(rows):
    best, random = _value(rows, "best"), _value(rows, "random")
    assert best.value == pytest.approx(1)
    assert random.low < 0 < random.high
    assert (best.task, best.k) == ("home", K)


def test_knowing_long_term_taste_only_lies_between(rows):
    assert _value(rows, "popularity").value < _value(rows, LONG_TERM).low
    assert _value(rows, LONG_TERM).high < 1


def test_differences_are_paired(rows):
    same = _value(rows, "best", "true_value_difference", "over_same")
    assert (same.value, same.low, same.high) == (0, 0, 0)
    better = _value(rows, "best", "true_value_difference", "over_popularity")
    assert better.value == pytest.approx(1 - _value(rows, "popularity").value)
    assert 0 < better.low < better.value < better.high


def test_the_text_table_tells_the_differences(rows):
    text = render(rows)
    assert "true value of best over popularity: +" in text
    assert LONG_TERM in text


def test_a_slate_that_repeats_a_track_is_refused(home, dataset):
    def stuck(batch, k):
        return np.zeros((len(batch), k), np.int64)

    with pytest.raises(BadInput, match="stuck"):
        true_value_rows(home, dataset, {}, {"stuck": stuck}, probes=20, k=K)


def test_another_catalog_is_refused(home, checkerboard):
    with pytest.raises(BadInput, match="simulate this home again"):
        true_value_rows(home, checkerboard, {}, probes=5)
