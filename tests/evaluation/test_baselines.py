"""One contract that every baseline keeps, and the answers they must give on a checkerboard."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.evaluation.baselines import BASELINES
from recsys.evaluation.baselines.als import AlsSettings
from recsys.evaluation.baselines.als import fit as fit_als
from recsys.evaluation.evaluate import evaluate
from recsys.evaluation.tasks import build_tasks
from recsys.plays import Plays

PERSONAL = [name for name in BASELINES if name != "popularity"]


@pytest.fixture(scope="module", params=list(BASELINES))
def fitted(request, checkerboard):
    fit = BASELINES[request.param]
    return request.param, fit, fit(checkerboard, checkerboard.split.test)


@pytest.fixture(scope="module")
def batch(checkerboard, toy):
    now = checkerboard.split.test
    return toy.batch(checkerboard.plays.before(now).last(12), now)


class TestContract:
    def test_scores_cover_the_catalog_and_are_never_nan(self, fitted, batch, checkerboard):
        scores = fitted[2].score(batch)
        assert scores.shape == (len(batch), len(checkerboard.items))
        assert scores.dtype == np.float32
        assert not np.isnan(scores).any()
        assert (scores < np.inf).all()

    def test_the_name_is_the_one_in_the_table(self, fitted):
        assert fitted[2].name == fitted[0]

    def test_a_second_fit_gives_the_same_scores(self, fitted, batch, checkerboard):
        again = fitted[1](checkerboard, checkerboard.split.test)
        np.testing.assert_array_equal(again.score(batch), fitted[2].score(batch))

    def test_a_score_does_not_depend_on_the_rest_of_the_batch(self, fitted, batch):
        rows = np.array([7, 3, 3, 0])
        np.testing.assert_allclose(
            fitted[2].score(batch.take(rows)), fitted[2].score(batch)[rows], rtol=1e-6, atol=1e-6
        )

    def test_unknown_tracks_in_a_history_are_passed_over(self, fitted, toy):
        known = toy.plays_of(np.array([2]), np.array([4, 6]), np.array([1000, 2000]))
        mixed = toy.plays_of(np.array([4]), np.array([4, -1, 6, -1]), np.array([1000, 1500, 2000, 2500]))
        a, b = (fitted[2].score(toy.batch(h, 10**8)) for h in (known, mixed))
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        only_unknown = toy.plays_of(np.array([1]), np.array([-1]), np.array([1000]))
        assert np.isfinite(fitted[2].score(toy.batch(only_unknown, 10**8))).all()

    def test_an_empty_history_is_answered_by_popularity(self, fitted, toy, checkerboard):
        popular = BASELINES["popularity"](checkerboard, checkerboard.split.test)
        empty = toy.batch(Plays.empty(2), 10**8)
        np.testing.assert_array_equal(
            np.argsort(-fitted[2].score(empty), axis=1, kind="stable")[:, :5],
            np.argsort(-popular.score(empty), axis=1, kind="stable")[:, :5],
        )

    def test_what_comes_after_the_split_changes_nothing(self, fitted, batch, checkerboard, toy):
        until = checkerboard.split.test
        past = toy.dataset(checkerboard.plays.before(until), checkerboard.items)
        np.testing.assert_array_equal(fitted[1](past, until).score(batch), fitted[2].score(batch))


@pytest.mark.parametrize("name", PERSONAL)
def test_a_listener_of_even_tracks_is_offered_even_tracks(name, checkerboard, batch):
    scores = BASELINES[name](checkerboard, checkerboard.split.test).score(batch)
    shown = 1 if name == "markov" else 6  # of one track the chain knows one successor
    parity = np.argsort(-scores, axis=1)[:, :shown] % 2
    assert (parity == (np.arange(len(batch)) % 2)[:, None]).mean() > 0.95


@pytest.mark.parametrize("name", ["markov", "rules", "rules_artist"])
def test_the_successor_in_the_cycle_comes_first(name, checkerboard):
    task = build_tasks(checkerboard, checkerboard.split.test, checkerboard.split.end, names=("next_track",))
    model = BASELINES[name](checkerboard, checkerboard.split.test)
    rows = evaluate({name: model}, task, ks=(1,), bootstrap=50)
    assert next(r.value for r in rows if r.metric == "recall" and r.cohort == "all") > 0.95


def test_als_solves_the_normal_equations_of_the_fold_in(checkerboard, toy):
    settings = AlsSettings(embedding_dim=4, alpha=3.0, regularization=0.2, half_life_days=5.0)
    model = fit_als(checkerboard, checkerboard.split.test, settings)
    now = 86_400_000
    history = toy.plays_of(np.array([3]), np.array([2, 4, 2]), np.array([now - 5 * now, now - 10, now - 5]))
    plays = np.zeros(len(checkerboard.items))
    plays[2], plays[4] = 0.5 + 1, 1
    y, confidence = model.factors.astype(float), 1 + 3.0 * plays
    left = y.T @ (confidence[:, None] * y) + 0.2 * np.eye(4)
    expected = y @ np.linalg.solve(left, y.T @ (confidence * (plays > 0)))
    np.testing.assert_allclose(model.score(toy.batch(history, now))[0], expected, rtol=2e-3, atol=1e-4)


def test_popularity_is_by_country(checkerboard, toy):
    model = BASELINES["popularity"](checkerboard, checkerboard.split.test)
    empty = Plays.empty(1)
    even = model.score(toy.batch(empty, 0, country=0))[0]  # even listeners live in country 0
    odd = model.score(toy.batch(empty, 0, country=1))[0]
    assert even[0::2].min() > even[1::2].max()
    assert odd[1::2].min() > odd[0::2].max()
