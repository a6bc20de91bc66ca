"""The simulated log itself: same rows however it is cut, columns and rights respected, nobody before they joined."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from recsys.errors import BadInput, NotReady
from recsys.home import Home
from recsys.ids import is_event_id, is_public_id, public_id
from recsys.items import Items
from recsys.lake import Lake
from recsys.schemas import TABLES
from recsys.simulation import PROFILES, SimulationSummary, simulate
from recsys.simulation.identify import hashed_ids

MINI = PROFILES["tiny"].model_copy(update={"listeners": 90, "days": 6, "tracks": 600, "artists": 80})


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, SimulationSummary]:
    home = Home.of(tmp_path_factory.mktemp("tiny")).make()
    return home, simulate(PROFILES["tiny"], home, workers=1)


@pytest.fixture(scope="module")
def events(tiny: tuple[Home, SimulationSummary]) -> pl.DataFrame:
    return Lake(tiny[0].lake).scan("events").collect()


def sorted_digest(home: Home) -> str:
    frame = Lake(home.lake).scan("events").collect().sort("event_id")
    return hashlib.sha256(frame.write_csv().encode()).hexdigest()


def test_the_same_rows_come_from_one_two_and_three_workers_and_from_any_chunk(tmp_path: Path) -> None:
    homes = [Home.of(tmp_path / str(i)).make() for i in range(4)]
    small = MINI.model_copy(update={"chunk": 17})
    summaries = [simulate(MINI, homes[i], workers=i + 1) for i in range(3)] + [
        simulate(small, homes[3], workers=1)
    ]
    assert len({s.digest for s in summaries}) == 1
    assert len({sorted_digest(home) for home in homes}) == 1
    assert summaries[0].plays > 1_000


def test_the_tiny_world_has_not_changed_since_it_was_frozen(tiny: tuple[Home, SimulationSummary]) -> None:
    summary = tiny[1]
    assert (summary.plays, summary.digest) == (FROZEN_PLAYS, FROZEN_DIGEST), "bump WORLD_VERSION and say why"


def test_another_seed_is_another_world(tmp_path: Path) -> None:
    a = simulate(MINI, Home.of(tmp_path / "a").make(), workers=1)
    b = simulate(MINI.model_copy(update={"seed": 1}), Home.of(tmp_path / "b").make(), workers=1)
    assert a.digest != b.digest


def test_every_table_has_exactly_its_columns(tiny: tuple[Home, SimulationSummary]) -> None:
    lake = Lake(tiny[0].lake)
    for table, schema in TABLES.items():
        assert dict(lake.scan(table).collect_schema()) == schema, table


def test_ids_have_their_public_form_and_events_are_unique(events: pl.DataFrame) -> None:
    assert events["event_id"].n_unique() == len(events)
    assert all(map(is_event_id, events["event_id"][:500]))
    for name in ("user_id", "session_id", "request_id", "track_id", "artist_id"):
        assert all(map(is_public_id, events[name].drop_nulls().unique()[:500])), name
    assert hashed_ids("sim", ["0:track:7", "é"]).to_pylist() == [
        public_id("sim", x) for x in ("0:track:7", "é")
    ]


def test_the_summary_counts_what_is_in_the_lake(
    tiny: tuple[Home, SimulationSummary], events: pl.DataFrame
) -> None:
    found = dict(events["kind"].value_counts().iter_rows())
    assert found == {kind: n for kind, n in tiny[1].counts.items() if n}
    assert tiny[1].plays == found["play_end"]


def test_a_track_is_played_and_shown_only_where_and_when_it_is_available(
    tiny: tuple[Home, SimulationSummary], events: pl.DataFrame
) -> None:
    lake = Lake(tiny[0].lake)
    items = Items.of(*(lake.scan(t).collect() for t in ("tracks", "artists", "availability")))
    rows = events.filter(pl.col("kind").is_in(["play_end", "impression"]))
    number = items.numbers(rows["track_id"])
    country = rows["conn_country"].replace_strict(
        {code: items.country_number(code) for code in rows["conn_country"].unique()}, return_dtype=pl.Int64
    ).to_numpy()  # fmt: skip
    ended = rows["ts"].dt.epoch("ms").to_numpy()
    began = ended - rows["ms_played"].fill_null(0).to_numpy()
    assert (number >= 0).all()
    assert (items.available_from[number, country] <= began).all()
    assert (ended < items.available_until[number, country]).all()
    assert (began // 86_400_000 >= items.release_day[number]).all()
    assert not items.available(0, int(ended.max())).all(), "some tracks are closed somewhere"


def test_nobody_listens_before_joining_and_a_tenth_join_after_the_split(
    tiny: tuple[Home, SimulationSummary], events: pl.DataFrame
) -> None:
    accounts = Lake(tiny[0].lake).scan("listeners").collect()
    first = events.group_by("user_id").agg(pl.col("ts").min()).join(accounts, on="user_id")
    assert (first["ts"] >= first["joined_at"]).all()
    profile = PROFILES["tiny"]
    split = pl.Series([profile.start + timedelta(days=profile.split_day)]).cast(pl.Datetime("us", "UTC"))[0]
    assert 0.08 < (accounts["joined_at"] >= split).mean() < 0.2  # type: ignore[operator]


def test_new_tracks_keep_coming_after_the_split(tiny: tuple[Home, SimulationSummary]) -> None:
    profile = PROFILES["tiny"]
    dates = Lake(tiny[0].lake).scan("tracks").select("release_date").collect()["release_date"]
    assert (dates >= profile.start + timedelta(days=profile.split_day)).sum() > 10


def test_consent_incognito_and_offline_occur_as_rarely_as_stated(events: pl.DataFrame) -> None:
    plays = events.filter(kind="play_end")
    listeners = plays.unique("user_id")
    assert 0.9 < listeners["consent_personalization"].mean() < 1.0  # type: ignore[operator]
    assert 0.9 < listeners["consent_analytics"].mean() < 1.0  # type: ignore[operator]
    assert 0.003 < plays["incognito_mode"].mean() < 0.04  # type: ignore[operator]
    late = (plays["received_at"] - plays["ts"]).dt.total_seconds()
    assert (late.filter(plays["offline"]) >= 3_600).all()
    assert (late.filter(~plays["offline"]) < 10).all()
    assert 0.005 < plays["offline"].mean() < 0.08  # type: ignore[operator]


def test_plays_of_a_session_do_not_overlap(events: pl.DataFrame) -> None:
    plays = events.filter(kind="play_end").sort("user_id", "ts")
    began = plays.with_columns(began=pl.col("ts") - pl.duration(milliseconds="ms_played"))
    before = began.with_columns(previous=pl.col("ts").shift(1).over("user_id")).drop_nulls("previous")
    assert (before["began"] >= before["previous"]).all()


def test_reasons_agree_with_play_lengths(tiny: tuple[Home, SimulationSummary], events: pl.DataFrame) -> None:
    tracks = Lake(tiny[0].lake).scan("tracks").select("track_id", "duration_ms").collect()
    plays = events.filter(kind="play_end").join(tracks, on="track_id")
    done = plays["reason_end"] == "trackdone"
    assert (plays.filter(done)["ms_played"] == plays.filter(done)["duration_ms"]).all()
    assert (plays.filter(~done)["ms_played"] < plays.filter(~done)["duration_ms"]).all()
    assert plays.filter(~done)["skipped"].all()


def test_plays_that_answer_a_page_carry_its_request_and_were_shown_on_it(events: pl.DataFrame) -> None:
    shown = events.filter(kind="impression")
    answers = events.filter(pl.col("kind") == "play_end", pl.col("request_id").is_not_null())
    joined = answers.join(shown, on=["request_id", "track_id", "position"], how="left")
    assert len(answers) > 300
    assert joined["propensity_right"].null_count() == 0
    assert (joined["ts_right"] < joined["ts"]).all()
    assert shown.group_by("request_id").len()["len"].unique().to_list() == [8]


def test_a_run_that_was_cut_off_leaves_no_lake_and_the_next_starts_clean(tmp_path: Path) -> None:
    home = Home.of(tmp_path).make()

    def stop(done: int, days: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(MINI, home, workers=1, progress=stop)
    with pytest.raises(NotReady):
        Lake(home.lake).scan("events")
    again = simulate(MINI, home, workers=1)
    assert Lake(home.lake).scan("events").select(pl.len()).collect().item() == sum(again.counts.values())


def test_logs_that_no_simulation_wrote_are_not_overwritten(tmp_path: Path, events: pl.DataFrame) -> None:
    home = Home.of(tmp_path).make()
    Lake(home.lake).append("events", events.head(10))
    with pytest.raises(BadInput):
        simulate(MINI, home, workers=1)
    assert Lake(home.lake).scan("events").collect().height == 10


FROZEN_PLAYS, FROZEN_DIGEST = 119_741, "bc87f562668c9775"
