"""Listener profiles through Feast equal those of a request; rows that a store would drop are an error."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from recsys.dataset import Dataset, Split
from recsys.errors import BadInput, Leak, NotReady
from recsys.features.listener import PROFILE, profile
from recsys.features.store import FeatureStore, _checked
from recsys.home import Home

DAY = 86_400_000


@pytest.fixture
def data(items, make_plays) -> Dataset:
    plays = make_plays(25, 400, len(items), seed=2)
    end = int(plays.start.max()) // DAY * DAY + DAY
    users = [f"user{i:018d}" for i in range(25)]
    return Dataset(items, plays, users, np.zeros(25, np.int16), Split(end - 4 * DAY, end - 2 * DAY, end), {})


def test_profiles_joined_by_feast_equal_those_computed_from_the_window(data, tmp_path):
    store = FeatureStore(Home.of(tmp_path))
    store.backfill(data, data.split.valid - DAY, data.split.end)
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(25), 8)  # several rows share a listener, some even the time
    now = np.sort(rng.integers(data.split.valid, data.split.end, 200).reshape(25, 8), axis=1).ravel()
    now[1::8] = now[::8]
    joined = store.training_join([data.user_ids[u] for u in users], now)
    windows = data.plays.take(users).before(now).last(512)
    computed = profile(windows, now, data.items.artist)
    for j, feature in enumerate(PROFILE):
        exact = feature.name in ("profile_plays", "profile_days_since", "profile_rate")
        np.testing.assert_allclose(
            joined[:, j], computed[:, j], rtol=0 if exact else 1e-6, err_msg=feature.name
        )

    store.materialize(data.split.end)
    online = store.online([data.user_ids[0], "stranger"])
    newest = profile(data.plays.take(np.array([0])), np.array([data.split.end]), data.items.artist)
    np.testing.assert_allclose(online[0], newest[0], rtol=1e-6)
    assert np.isnan(online[1]).all()


def test_a_listener_without_any_profile_comes_back_as_an_empty_one():
    asked = pl.DataFrame({"row": [0], "event_timestamp": [10]}).with_columns(
        pl.from_epoch("event_timestamp", "ms")
    )
    joined = asked.select("row").with_columns(
        *(pl.lit(None, pl.Float64).alias(f.name) for f in PROFILE), pl.lit(None, pl.Int64).alias("as_of")
    )
    row = _checked(joined, asked)[0]
    assert row[0] == 0
    assert np.isnan(row[1])


def test_a_join_that_drops_a_row_or_looks_ahead_is_refused():
    asked = pl.DataFrame({"row": [0, 1], "event_timestamp": [10, 20]}).with_columns(
        pl.from_epoch("event_timestamp", "ms")
    )
    joined = asked.select("row").with_columns(
        *(pl.lit(1.0).alias(f.name) for f in PROFILE), as_of=pl.Series([5, 15])
    )
    assert _checked(joined, asked).shape == (2, len(PROFILE))
    with pytest.raises(BadInput, match="gave 1 rows back for 2"):
        _checked(joined.head(1), asked)
    with pytest.raises(Leak, match="newer"):
        _checked(joined.with_columns(as_of=pl.Series([5, 25])), asked)


def test_a_join_before_any_backfill_says_what_to_run(tmp_path):
    with pytest.raises(NotReady, match="recsys train ranker"):
        FeatureStore(Home.of(tmp_path)).training_join(["x"], np.array([1]))
