"""Crowd statistics of tracks: point in time, by territory, refused when damaged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.errors import Leak, ReleaseRefused
from recsys.features.stats import ItemStats, item_stats, series
from recsys.plays import Outcome

DAY = 86_400_000


@pytest.fixture
def log(make_plays, items):
    return make_plays(40, 80, len(items), seed=3)


@pytest.fixture
def country():
    return np.zeros(40, np.int16)


def test_plays_after_the_cut_change_nothing(log, country, items):
    cut = int(np.median(log.start))
    later = log.start >= cut
    changed = replace(
        log,
        track=np.where(later, 0, log.track),
        outcome=np.where(later, Outcome.SKIP, log.outcome).astype(np.int8),
    )
    a, b = (item_stats(plays, country, items, cut) for plays in (log, changed))
    for name in ("popularity", "territory", "skip_rate", "finish_rate"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_a_play_that_has_not_ended_yet_is_not_counted(log, country, items):
    last = int(np.argmax(log.start))
    log.track[last] = 7
    during = int(log.start[last]) + int(log.ms_played[last]) - 1
    assert (
        item_stats(log, country, items, during).popularity[7, 0]
        < (item_stats(log, country, items, during + 1).popularity[7, 0])
    )


def test_a_row_older_than_every_cut_is_a_leak(log, country, items):
    cuts = series(log, country, items, [10 * DAY, 20 * DAY])
    assert cuts.number(np.array([10 * DAY, 15 * DAY, 30 * DAY])).tolist() == [0, 0, 1]
    with pytest.raises(Leak, match="newer"):
        cuts.number(np.array([9 * DAY]))


def test_popularity_windows_nest_and_count_plays_per_million(log, country, items):
    stats = item_stats(log, country, items, int(log.start.max()) + DAY // 2)
    share = np.expm1(stats.popularity)
    np.testing.assert_allclose(share.sum(axis=0), 1e6, rtol=1e-3)
    np.testing.assert_allclose(stats.territory[:, -1], stats.popularity[:, 2])


def test_rates_shrink_to_the_mean_where_there_are_few_plays(log, country, items):
    stats = item_stats(log, country, items, int(log.start.max()) + DAY)
    seen = log.track[(log.track >= 0) & (log.start > log.start.max() - 27 * DAY)]
    rare = np.flatnonzero(np.bincount(seen, minlength=len(items)) == 0)
    overall = stats.skip_rate.mean()
    assert np.all(np.abs(stats.skip_rate[rare] - overall) < 0.1)
    assert np.all((stats.finish_rate > 0) & (stats.finish_rate < 1))


def test_saved_statistics_load_equal_and_truncated_ones_are_refused(log, country, items, tmp_path):
    stats = item_stats(log, country, items, int(log.start.max()))
    stats.save(tmp_path)
    loaded = ItemStats.load(tmp_path)
    assert loaded.as_of == stats.as_of
    np.testing.assert_array_equal(loaded.territory, stats.territory)
    path = tmp_path / "item_stats.npz"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ReleaseRefused, match="rebuild"):
        ItemStats.load(tmp_path)
