"""Queries are cut by time: a history ends strictly before the query, and the target comes from it."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.errors import NotReady
from recsys.evaluation.tasks import REST, build_tasks

MINUTE = 60_000
DAY = 86_400_000


def _tasks(dataset, **kwargs):
    return {t.name: t for t in build_tasks(dataset, dataset.split.test, dataset.split.end, **kwargs)}


def test_no_history_reaches_the_time_of_its_query(checkerboard):
    for task in _tasks(checkerboard).values():
        histories = task.batch.histories
        assert (histories.start < task.batch.now[histories.owner]).all()
        assert ((task.batch.now >= checkerboard.split.test) & (task.batch.now < checkerboard.split.end)).all()


def test_next_track_asks_for_the_play_after_another_one_of_its_session(checkerboard):
    task = _tasks(checkerboard)["next_track"]
    last = task.batch.histories.last(1)
    np.testing.assert_array_equal(task.targets.tracks, (last.track + 2) % len(checkerboard.items))
    assert len(task) == len(checkerboard.plays) * 2 * 5  # two test days, five successors a session


def test_home_asks_at_the_start_of_a_session_for_all_its_distinct_tracks(checkerboard):
    task = _tasks(checkerboard)["home"]
    assert len(task) == len(checkerboard.plays) * 2
    np.testing.assert_array_equal(task.targets.counts, 6)
    assert (task.targets.tracks % 2 == task.listener[task.targets.owner] % 2).all()


def test_next_track_new_asks_only_for_first_plays_and_masks_what_was_played(toy):
    starts = np.array([0, 4 * MINUTE, 8 * DAY, 8 * DAY + 4 * MINUTE, 8 * DAY + 8 * MINUTE])
    dataset = toy.dataset(toy.plays_of(np.array([5]), np.array([1, 2, 3, 2, 9]), starts), toy.items())
    task = _tasks(dataset, names=("next_track_new",))["next_track_new"]
    assert task.targets.tracks.tolist() == [9]
    eligible = task.eligible(np.array([0]))[0]
    assert not eligible[[1, 2, 3]].any()
    assert eligible[9]


def test_plays_with_the_same_start_never_see_each_other(toy):
    starts = np.array([8 * DAY, 8 * DAY + MINUTE, 8 * DAY + MINUTE])
    dataset = toy.dataset(toy.plays_of(np.array([3]), np.array([1, 2, 3]), starts), toy.items())
    task = _tasks(dataset, names=("next_track",))["next_track"]
    assert task.targets.tracks.tolist() == [2, 3]
    assert task.batch.histories.track.tolist() == [1, 1]


def test_sessions_across_the_window_start_ask_nothing_for_home(toy):
    starts = np.array([8 * DAY - MINUTE, 8 * DAY + 3 * MINUTE, 9 * DAY])
    dataset = toy.dataset(toy.plays_of(np.array([3]), np.array([1, 2, 3]), starts), toy.items())
    assert _tasks(dataset, names=("home",))["home"].batch.now.tolist() == [9 * DAY]


def test_eligibility_follows_territory_and_release_date(toy):
    items = toy.items(late=4, closed=5)
    dataset = toy.dataset(toy.plays(np.random.default_rng(1), 4), items)
    task = _tasks(dataset, names=("home",))["home"]
    eligible = task.eligible(np.arange(len(task)))
    np.testing.assert_array_equal(eligible[:, 4], task.batch.now >= 9 * DAY)
    np.testing.assert_array_equal(eligible[:, 5], task.batch.country == items.country_number("AR"))


def test_cohorts_are_counted_before_the_window(toy):
    old = toy.plays_of(np.array([10]), np.arange(10), np.arange(10) * DAY)
    new = toy.plays_of(np.array([2]), np.array([20, 0]), 8 * DAY + np.array([0, 4 * MINUTE]))
    dataset = toy.dataset(type(old).concat([old, new]), toy.items())
    task = _tasks(dataset, names=("home",))["home"]
    assert task.listener[task.cohorts["new_listeners"].rows].tolist() == [1]
    assert set(task.listener[task.cohorts["heavy"].rows].tolist()) == {0}
    assert task.cohorts["new_tracks"].targets.tracks.tolist() == [8, 9, 20]
    assert task.cohorts["known_tracks"].targets.tracks.tolist() == [0]


def test_sampling_is_seeded_and_capped(checkerboard):
    a, b, c = (_tasks(checkerboard, cap=50, seed=s)["next_track"] for s in (1, 1, 2))
    assert len(a) == 50
    np.testing.assert_array_equal(a.batch.now, b.batch.now)
    assert not np.array_equal(a.batch.now, c.batch.now)


def test_a_window_without_plays_is_refused(checkerboard):
    with pytest.raises(NotReady, match="longer log"):
        build_tasks(checkerboard, 50 * DAY, 60 * DAY)


def test_rest_of_session_asks_at_every_next_track_for_all_that_is_left_of_the_session(checkerboard):
    rest, following = (_tasks(checkerboard, names=(name,))[name] for name in (REST, "next_track"))
    np.testing.assert_array_equal(rest.batch.now, following.batch.now)
    np.testing.assert_array_equal(rest.targets.counts, np.tile([5, 4, 3, 2, 1], len(rest) // 5))
    assert all(track in rest.targets.row(j) for j, track in enumerate(following.targets.tracks))


def test_rest_of_session_parts_targets_by_whether_they_were_played_before_the_window(toy):
    starts = np.array(
        [0, 4 * MINUTE, 8 * DAY, 8 * DAY + 4 * MINUTE, 8 * DAY + 8 * MINUTE, 8 * DAY + 12 * MINUTE]
    )
    dataset = toy.dataset(toy.plays_of(np.array([6]), np.array([1, 2, 3, 2, 9, 2]), starts), toy.items())
    task = _tasks(dataset, names=(REST,))[REST]
    assert [task.targets.row(j).tolist() for j in range(3)] == [[2, 9], [2, 9], [2]]
    known, new = task.cohorts["known_tracks"], task.cohorts["new_tracks"]
    assert (known.rows.tolist(), known.targets.tracks.tolist()) == ([0, 1, 2], [2, 2, 2])
    assert (new.rows.tolist(), new.targets.tracks.tolist()) == ([0, 1], [9, 9])
