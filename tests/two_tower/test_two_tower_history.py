"""Histories: decayed counts against a direct sum, padding, point-in-time behaviour."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.two_tower.history import HALF_LIVES_H, MS_PER_HOUR, Queries, gather, trace
from recsys.dataset import Dataset
from recsys.plays import Outcome, Plays

KIN = np.arange(60)[:, None] // [2, 2, 3]


def log_of(track: list[int], hours: list[float], outcome: list[int]) -> Plays:
    """One listener's plays."""
    n = len(track)
    return replace(
        Plays.empty(1),
        offsets=np.array([0, n]),
        track=np.array(track, np.int32),
        start=(np.array(hours, np.float64) * MS_PER_HOUR).astype(np.int64),
        outcome=np.array(outcome, np.int8),
        ms_played=np.zeros(n, np.int32),
        session=np.zeros(n, np.int32),
        hour=np.zeros(n, np.int8),
        device=np.zeros(n, np.int8),
        surface=np.zeros(n, np.int8),
    )


def at(plays: Plays, now_h: float, stop: int | None = None) -> Queries:
    end = plays.rows if stop is None else stop
    zero = np.zeros(1, np.int8)
    return Queries(
        np.array([0]),
        np.array([end]),
        np.array([int(now_h * MS_PER_HOUR)]),
        zero,
        zero,
        zero.astype(np.int16),
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 4), st.floats(0, 30), st.integers(0, 2)), min_size=1, max_size=40))
def test_decayed_counts_equal_the_direct_sum(rows: list[tuple[int, float, int]]) -> None:
    track, gaps, outcome = (list(column) for column in zip(*rows, strict=True))
    hours = np.cumsum(gaps)
    plays = log_of(track, list(hours), outcome)
    now = float(hours[-1]) + 5
    history = gather(plays, trace(plays), at(plays, now), KIN, max_length=10)
    assert set(history.track[history.track >= 0]) == {t for t in track if t >= 0}
    start = plays.start / MS_PER_HOUR
    for place, one in enumerate(history.track[0]):
        streams = [i for i in range(len(track)) if track[i] == one >= 0 and outcome[i] != Outcome.SKIP]
        for column, half_life in enumerate(HALF_LIVES_H):
            direct = np.exp2(-(now - start[streams]) / half_life).sum()
            if one >= 0:
                got = history.features[0, place, column]
                assert got == pytest.approx(np.log(direct + 0.02) / 2, abs=1e-4)


def test_a_history_is_each_known_track_once_most_recent_first() -> None:
    plays = log_of([2, 3, -1, 2, 5], [0, 1, 2, 3, 4], [2, 2, 2, 2, 2])
    history = gather(plays, trace(plays), at(plays, 5), KIN, max_length=2)
    assert history.track.tolist() == [[5, 2]]


def test_later_plays_do_not_change_a_history(checkerboard: Dataset) -> None:
    plays = checkerboard.plays
    traces, stop = trace(plays), 50
    whole = gather(plays, traces, at(plays, 1e6, stop), KIN, max_length=30)
    short = plays.slices(np.array([0]), np.array([stop]))
    cut = gather(short, trace(short), at(short, 1e6), KIN, max_length=30)
    np.testing.assert_array_equal(whole.track, cut.track)
    np.testing.assert_allclose(whole.features, cut.features, atol=1e-6)
    np.testing.assert_array_equal(whole.listener, cut.listener)


def test_a_listener_without_plays_has_an_empty_history() -> None:
    plays = Plays.empty(1)
    history = gather(plays, trace(plays), at(plays, 5), KIN, max_length=4)
    assert history.track.tolist() == [[-1]]
    assert np.isfinite(history.listener).all()
