"""The feature row of a (listener, track) pair: against a slow definition, and its laws."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.features.pair import FEATURES, names, pair_features
from recsys.features.stats import item_stats
from recsys.plays import SESSION_GAP_MS, Outcome, Plays
from recsys.types import QueryBatch

HOUR = 3_600_000


@pytest.fixture
def stats(items, make_plays):
    plays = make_plays(30, 60, len(items), seed=5)
    return item_stats(plays, np.zeros(30, np.int16), items, int(plays.start.max()))


def all_pairs(batch, n):
    ids = np.tile(np.arange(n), len(batch)).astype(np.int64)
    return ids, np.arange(len(batch) + 1) * n


def slow_row(batch, j, track, items):
    """The definitions of some features, one play at a time."""
    rows = range(batch.histories.offsets[j], batch.histories.offsets[j + 1])
    p, now = batch.histories, int(batch.now[j])
    mine = [i for i in rows if p.track[i] == track]
    artist = [i for i in rows if p.track[i] >= 0 and items.artist[p.track[i]] == items.artist[track]]
    genre = [
        i
        for i in rows
        if p.track[i] >= 0 and items.genre[track] >= 0 and items.genre[p.track[i]] == items.genre[track]
    ]
    age = {i: (now - p.start[i]) / HOUR for i in rows}
    last = rows[-1] if len(rows) else None
    going = last is not None and now - (p.start[last] + p.ms_played[last]) <= SESSION_GAP_MS
    session = [i for i in rows if going and p.session[i] == p.session[last]]
    return {
        "track_count": len(mine),
        "track_d7": sum(0.5 ** (age[i] / 24 / 7) for i in mine),
        "track_hours_since": min((age[i] for i in mine), default=np.nan),
        "track_gap": (age[mine[0]] - age[mine[-1]]) / (len(mine) - 1) if len(mine) > 1 else np.nan,
        "track_skip_share": (sum(p.outcome[i] == Outcome.SKIP for i in mine) + 1.2) / (len(mine) + 4),
        "artist_count": len(artist),
        "artist_d1": sum(0.5 ** (age[i] / 24) for i in artist),
        "artist_session": len([i for i in session if i in artist]),
        "genre_share": len(genre) / max(len(rows), 1e-9),
        "session_plays": len(session),
        "window_plays": len(rows),
        "same_artist_as_last": float(last in artist),
        "duration_s": items.duration_ms[track] / 1000,
    }


def test_features_equal_their_slow_definition(batch, items, stats):
    ids, offsets = all_pairs(batch, len(items))
    x = pair_features(batch, ids, offsets, items, stats)
    column = {name: j for j, name in enumerate(names())}
    owner = np.repeat(np.arange(len(batch)), np.diff(offsets))
    for row in range(0, len(ids), 7):
        expected = slow_row(batch, int(owner[row]), int(ids[row]), items)
        got = {name: x[row, column[name]] for name in expected}
        np.testing.assert_allclose(list(got.values()), list(expected.values()), rtol=1e-5, err_msg=str(got))


def test_a_row_does_not_depend_on_the_other_candidates(batch, items, stats):
    ids, offsets = all_pairs(batch, len(items))
    together = pair_features(batch, ids, offsets, items, stats).reshape(len(batch), len(items), -1)
    for j in (0, 5, 11):
        one = batch.take(np.array([j]))
        for track in (3, 41):
            alone = pair_features(one, np.array([track]), np.array([0, 1]), items, stats)
            np.testing.assert_allclose(alone[0], together[j, track], rtol=1e-6)


def test_every_column_has_a_name_and_a_description(batch, items, stats):
    scores = {"two_tower": np.ones(3), "sequence": np.zeros(3)}
    x = pair_features(
        batch.take(np.array([0])), np.arange(3), np.array([0, 3]), items, stats, scores, surface=2
    )
    columns = names(tuple(scores))
    assert x.shape == (3, len(columns))
    assert len(set(columns)) == len(columns)
    assert all(f.doc for f in FEATURES)
    assert x[:, columns.index("two_tower")].tolist() == [1, 1, 1]
    assert x[:, columns.index("surface")].tolist() == [2, 2, 2]


def test_a_listener_without_plays_gets_finite_context_and_unknown_times(items, stats, make_batch):
    x = pair_features(make_batch(Plays.empty(1)), np.array([4]), np.array([0, 1]), items, stats)
    row = dict(zip(names(), x[0].tolist(), strict=True))
    assert row["track_count"] == row["window_plays"] == row["genre_share"] == 0
    assert np.isnan(row["track_hours_since"])
    assert np.isnan(row["audio_far_d7"])
    assert np.isfinite(row["popularity_28"])


def test_only_the_last_window_of_plays_counts(items, stats, make_plays, make_batch):
    long = make_plays(3, 1500, len(items), seed=8)
    batch, clipped = make_batch(long), make_batch(long.last(512))
    ids, offsets = all_pairs(batch, len(items))
    np.testing.assert_array_equal(
        pair_features(batch, ids, offsets, items, stats), pair_features(clipped, ids, offsets, items, stats)
    )


def test_a_batch_without_candidates_gives_no_rows(batch, items, stats):
    x = pair_features(batch, np.zeros(0, np.int64), np.zeros(len(batch) + 1, np.int64), items, stats)
    assert x.shape == (0, len(names()))


def test_the_stored_profile_takes_the_place_of_the_computed_one(batch, items, stats):
    from recsys.features.listener import profile

    ids, offsets = all_pairs(batch, len(items))
    stored = profile(batch.histories, batch.now, items.artist)
    fresh = QueryBatch(batch.histories, batch.now, batch.hour, batch.country, batch.device)
    np.testing.assert_array_equal(
        pair_features(batch, ids, offsets, items, stats),
        pair_features(fresh, ids, offsets, items, stats, profiles=stored),
    )
