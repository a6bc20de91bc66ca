"""One contract that every baseline keeps, and the answers they must give on a checkerboard."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.evaluation.baselines import BASELINES, MORE
from recsys.evaluation.baselines.als import AlsSettings
from recsys.evaluation.baselines.als import fit as fit_als
from recsys.evaluation.baselines.ease import EaseSettings
from recsys.evaluation.baselines.ease import fit as fit_ease
from recsys.evaluation.baselines.session_knn import SessionKnnSettings
from recsys.evaluation.baselines.session_knn import fit as fit_session_knn
from recsys.evaluation.baselines.session_knn import fit_weighted as fit_session_knn_weighted
from recsys.evaluation.baselines.sparse import baskets
from recsys.evaluation.evaluate import evaluate
from recsys.evaluation.tasks import build_tasks
from recsys.plays import Plays

EVERY = BASELINES | MORE
PERSONAL = [name for name in EVERY if name != "popularity"]


@pytest.fixture(scope="module", params=list(EVERY))
def fitted(request, checkerboard):
    fit = EVERY[request.param]
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
    scores = EVERY[name](checkerboard, checkerboard.split.test).score(batch)
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


def test_ease_is_the_ridge_regression_of_each_track_on_the_others(checkerboard, toy):
    settings = EaseSettings(l2=3.0, rows="sessions")
    model = fit_ease(checkerboard, checkerboard.split.test, settings)
    x = baskets(checkerboard.plays.before(checkerboard.split.test), len(checkerboard.items), by_session=True)
    dense = x.toarray().astype(float)
    target = 5
    others = np.delete(np.arange(dense.shape[1]), target)
    left = dense[:, others].T @ dense[:, others] + 3.0 * np.eye(len(others))
    expected = np.linalg.solve(left, dense[:, others].T @ dense[:, target])
    np.testing.assert_allclose(model.weights[others, target], expected, atol=1e-4)
    assert model.weights[target, target] == 0


def test_ease_leaves_out_the_rarely_played_and_still_answers_them(checkerboard, toy):
    model = fit_ease(checkerboard, checkerboard.split.test, EaseSettings(max_tracks=3))
    assert len(model.tracks) == 3
    left_out = int(np.setdiff1d(np.arange(len(checkerboard.items)), model.tracks)[0])
    history = toy.plays_of(np.array([1]), np.array([left_out]), np.array([1000]))
    scores = model.score(toy.batch(history, 10**8))
    np.testing.assert_allclose(scores, 1e-6 * model.popularity.scaled(toy.batch(history, 10**8)), rtol=1e-6)


class TestSessionKnn:
    """Three earlier sessions: (0, 1, 2), (0, 3), (4, 5); all others of the catalog unplayed."""

    @pytest.fixture
    def earlier(self, toy):
        track = np.array([0, 1, 2, 0, 3, 4, 5])
        minutes = np.array([0, 4, 8, 0, 4, 0, 4]) * 60_000
        return toy.dataset(toy.plays_of(np.array([3, 2, 2]), track, minutes), toy.items())

    def answer(self, fit, earlier, toy, tracks, **settings):
        model = fit(earlier, earlier.split.test, SessionKnnSettings(**settings))
        start = np.arange(len(tracks)) * 240_000 + 10**9
        return model.score(
            toy.batch(toy.plays_of(np.array([len(tracks)]), np.array(tracks), start), 2 * 10**9)
        )[0]

    def test_the_set_based_one_adds_cosines_of_sessions(self, earlier, toy):
        scores = self.answer(fit_session_knn, earlier, toy, [0, 1])
        first, second = 2 / np.sqrt(2 * 3), 1 / np.sqrt(2 * 2)
        np.testing.assert_allclose(
            scores[[0, 1, 2, 3, 4]], [first + second, first, first, second, 0], atol=1e-5
        )

    def test_only_the_nearest_vote(self, earlier, toy):
        scores = self.answer(fit_session_knn, earlier, toy, [0, 1], neighbors=1)
        assert scores[2] > 0.1
        assert scores[3] < 1e-5

    def test_the_weighted_one_prefers_what_shares_the_newest_play(self, earlier, toy):
        scores = self.answer(fit_session_knn_weighted, earlier, toy, [1, 3])
        rare = np.log(3 / 1)
        np.testing.assert_allclose(scores[2], 0.5 * 0.5 * rare, atol=1e-5)  # shares 1, half as recent
        np.testing.assert_allclose(scores[3], 1.0 * 1.0 * rare, atol=1e-5)  # shares 3, the newest
