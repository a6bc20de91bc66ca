"""Training examples: labels as they happened, features as they were known, samples that keep their weight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from ranking.config import RankerConfig
from ranking.examples import concat, impression_examples, session_examples
from ranking.labels import load_saves, owner_of, saves_of, session_starts, sessions_from
from ranking.shown import load_shown
from recsys.errors import Leak
from recsys.features.stats import series
from recsys.plays import Outcome
from recsys.types import SURFACES

CONFIG = RankerConfig(queries=60, negatives_per_query=20, impressions=400)


@pytest.fixture
def until(world):
    return world.data.split.test


@pytest.fixture
def sessions(world, until):
    inputs = world.inputs(CONFIG)
    return session_examples(inputs, load_saves(world.lake, world.data), world.since, until)


def test_session_labels_are_the_outcomes_of_the_session(world, until):
    data = world.data
    rows = session_starts(data, world.since, until)[:40]
    found = sessions_from(data, rows)
    for j, first in enumerate(rows):
        user = owner_of(data, rows)[j]
        mine = [
            i
            for i in range(first, data.plays.offsets[user + 1])
            if data.plays.session[i] == data.plays.session[first]
        ]
        expected = {}
        for i in mine:
            track, outcome = int(data.plays.track[i]), int(data.plays.outcome[i])
            if track >= 0 and expected.get(track) != Outcome.FINISH:
                expected[track] = outcome
        got = found.pair >> 32 == j
        assert dict(
            zip((found.pair[got] & 0xFFFFFFFF).tolist(), found.outcome[got].tolist(), strict=True)
        ) == (expected)


def test_a_kept_row_stands_for_all_that_were_not_kept(world, until, sessions):
    everything = world.inputs(CONFIG.model_copy(update={"negatives_per_query": 10_000}))
    full = session_examples(everything, load_saves(world.lake, world.data), world.since, until)
    assert full.weight.max() == 1
    assert sessions.played.sum() == full.played.sum()
    assert sessions.weight.sum() == pytest.approx(len(full), rel=0.1)


def test_all_that_was_played_is_there_retrieved_or_not(sessions):
    assert (sessions.played & ~sessions.retrieved).sum() > 0
    assert np.all(sessions.played | sessions.retrieved)
    assert np.all(sessions.surface[~sessions.played] == -1)


def test_rows_of_a_query_are_consecutive_and_outcomes_exclude_each_other(sessions):
    assert np.all(np.diff(sessions.query) >= 0)
    assert np.all(sessions.labels["finish"] + sessions.labels["skip"] <= sessions.labels["play"])
    assert np.all(np.isnan(sessions.features[:, -1]))


def test_logged_slots_that_were_played_carry_their_outcome(world, until):
    shown = load_shown(world.lake, world.data, world.since, until)
    examples = impression_examples(world.inputs(CONFIG), shown)
    assert 0 < len(examples) <= 400
    assert examples.played.all()
    assert examples.slot.all()
    assert 0 < examples.labels["finish"].mean() < 1
    assert set(examples.surface.tolist()) == {SURFACES.index("home")}


def test_nothing_after_the_query_reaches_its_features(world, until):
    """The planted leak: the whole log after the window's first day is rewritten; earlier rows must not move."""
    data = world.data
    cut = world.since + 86_400_000
    later = data.plays.start >= cut
    forged = replace(data.plays, track=np.where(later, 0, data.plays.track).astype(np.int32))
    inputs = world.inputs(CONFIG)
    stats = series(forged, data.country, data.items, range(world.since, until, 86_400_000))
    other = replace(inputs, data=replace(data, plays=forged), stats=stats)
    shown = load_shown(world.lake, data, world.since, cut)
    a, b = (impression_examples(i, shown) for i in (inputs, other))
    np.testing.assert_array_equal(a.features, b.features)


def test_statistics_newer_than_the_rows_are_caught(world, until):
    inputs = world.inputs(CONFIG)
    leaky = series(world.data.plays, world.data.country, world.data.items, [until])
    with pytest.raises(Leak):
        session_examples(replace(inputs, stats=leaky), saves_of(_no_saves()), world.since, until)


def _no_saves() -> pl.DataFrame:
    return pl.DataFrame(
        {"user": [], "track": [], "ts": []}, schema=dict.fromkeys(("user", "track", "ts"), pl.Int64)
    )


def test_a_save_counts_within_its_session_only():
    saves = saves_of(pl.DataFrame({"user": [1, 0], "track": [7, 3], "ts": [500, 100]}))
    pairs = np.array([1 << 32 | 7, 1 << 32 | 7, 3, 4])
    since, until = np.array([400, 501, 0, 0]), np.array([600, 600, 101, 101])
    assert saves.between(pairs, since, until).tolist() == [True, False, True, False]


def test_joined_examples_keep_their_queries_apart(sessions):
    both = concat([sessions, sessions])
    assert len(both) == 2 * len(sessions)
    assert len(np.unique(both.query)) == 2 * len(np.unique(sessions.query))
