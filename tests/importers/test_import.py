"""Imports as a whole: idempotent, matched to the catalog, bounded, and fit for the same training as any log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from music.catalog.service import Catalog
from recsys.dataset import load
from recsys.features.state import decode
from recsys.home import Home
from recsys.ids import is_event_id, public_id
from recsys.importers import ImportSummary, import_logs, staging
from recsys.importers.durations import LONGEST_GAP_MS, USUAL_MS, fill_durations
from recsys.importers.match import plain
from recsys.importers.times import parse_times
from recsys.lake import Lake
from recsys.plays import Outcome
from recsys.schemas import STREAM_MS
from recsys.state_store import LocalStore

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "thirtymusic_slices.parquet"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.of(tmp_path / "home")


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    pl.DataFrame(rows).write_parquet(path)
    return path


def log(listeners: int = 7, plays: int = 20) -> list[dict[str, Any]]:
    return [
        {
            "user": f"u{u}",
            "track": f"t{(u * 3 + p) % 11}",
            "artist": f"a{p % 4}",
            "ts": 1_700_000_000 + p * 240 + u,
        }
        for u in range(listeners)
        for p in range(plays)
    ]


def counts(home: Home) -> dict[str, int]:
    lake = Lake(home.lake)
    return {t: lake.scan(t).collect().height for t in ("events", "tracks", "artists", "aliases", "listeners")}


def test_a_log_of_many_listeners_becomes_a_dataset(tmp_path: Path, home: Home) -> None:
    seen: list[tuple[int, int]] = []
    path = write(tmp_path / "log.parquet", log())
    summary = import_logs("parquet", [path], home, None, progress=lambda *at: seen.append(at))
    assert (summary.read, summary.kept, summary.listeners, summary.tracks) == (140, 140, 7, {"new": 11})
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)
    data = load(Lake(home.lake))
    assert (data.plays.rows, len(data.items), len(data.user_ids)) == (140, 11, 7)
    assert public_id("user:log", "u0") in data.user_ids
    assert (data.plays.track >= 0).all()
    assert not (data.plays.outcome == Outcome.SKIP).any(), "skips are never invented"
    ids = Lake(home.lake).scan("events").select("event_id").collect()["event_id"]
    assert ids.n_unique() == 140
    assert all(map(is_event_id, ids))


def test_importing_again_or_an_overlapping_log_adds_only_what_is_new(tmp_path: Path, home: Home) -> None:
    rows = log()
    first = write(tmp_path / "a.parquet", rows[:100])
    import_logs("parquet", [first], home, None)
    before = counts(home)
    again = import_logs("parquet", [first], home, None)
    assert (again.kept, again.duplicates, again.match_rate) == (0, 100, 1.0)
    assert counts(home) == before
    whole = import_logs("parquet", [write(tmp_path / "b.parquet", rows)], home, None)
    assert (whole.kept, whole.duplicates) == (40, 100)
    assert counts(home)["events"] == 140


def test_parts_give_the_same_rows_as_one_piece(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "log.parquet", log())
    import_logs("parquet", [path], home, None)
    monkeypatch.setattr(staging, "_PART_BYTES", 1000)
    parted = Home.of(tmp_path / "parted")
    assert staging.parts_for([path]) > 3
    import_logs("parquet", [path], parted, None)
    one, many = (Lake(h.lake).scan("events").collect().sort("event_id") for h in (home, parted))
    assert one.equals(many)


def spotify(path: Path, tracks: list[tuple[str, str, str | None]]) -> Path:
    rows = [
        {
            "ts": f"2026-03-01T{10 + i // 60:02d}:{i % 60:02d}:00Z",
            "ms_played": 100_000,
            "master_metadata_track_name": title,
            "master_metadata_album_artist_name": artist,
            "spotify_track_uri": uri,
            "reason_end": "trackdone",
        }
        for i, (artist, title, uri) in enumerate(tracks)
    ]
    path.write_text(json.dumps(rows))
    return path


def catalog_tables() -> dict[str, pl.DataFrame]:
    artist, tracks = public_id("sim", "artist"), [public_id("sim", f"track {i}") for i in range(3)]
    titles = ["Déjà Vu", "Second Song", "Third"]
    return {
        "artists": pl.DataFrame({"artist_id": [artist], "name": ["Beyoncé"]}),
        "tracks": pl.DataFrame({"track_id": tracks, "title": titles, "artist_id": artist, "isrc": None}),
        "aliases": pl.DataFrame(
            {"entity": ["track"], "id": tracks[2:], "source": ["spotify"], "foreign_id": ["spotify:track:3"]}
        ),
    }


def test_a_persons_export_joins_a_home_by_uri_then_name_and_keeps_unknown_tracks(
    tmp_path: Path, home: Home
) -> None:
    lake, catalog = Lake(home.make().lake), Catalog.open(home.catalog_url)
    for table, rows in catalog_tables().items():
        lake.append(table, rows)
    catalog.write(catalog_tables())
    plays = [
        ("BEYONCE", "Deja Vu (feat. Jay-Z) [Remastered 2010]", "spotify:track:1"),
        ("Beyoncé", "Another Title", "spotify:track:3"),
        ("Beyoncé", "Never Heard Here", "spotify:track:4"),
        ("Beyoncé", "Never Heard Here - 2011 Remaster", "spotify:track:5"),
    ]
    path = spotify(tmp_path / "endsong.json", plays)
    summary = import_logs("spotify", [path], home, catalog, user="me")
    assert summary.tracks == {"id": 1, "name": 1, "new": 1}
    assert summary.match_rate == pytest.approx(2 / 3)
    assert summary.play_match_rate == pytest.approx(1 / 2)
    assert "known here 66.7%" in str(summary)
    known = catalog.resolve("spotify", ["spotify:track:1", "spotify:track:3", "spotify:track:5"])
    assert known["spotify:track:1"] == public_id("sim", "track 0"), "the match is remembered as an alias"
    assert catalog.track(known["spotify:track:5"])["title"] in (
        "Never Heard Here",
        "Never Heard Here - 2011 Remaster",
    )
    again = import_logs("spotify", [path], home, catalog, user="me")
    assert (again.kept, again.match_rate) == (0, 1.0)
    assert lake.scan("artists").collect().height == 1, "the known artist is not made anew"
    catalog.close()


def test_after_an_import_the_person_has_a_listener_state(tmp_path: Path, home: Home) -> None:
    summary = import_logs("spotify", [spotify(tmp_path / "endsong.json", [("A", "B", None)])], home, None)
    state = decode(LocalStore(home.state_db).get(summary.user_ids[0]) or b"")
    assert len(state.track_id) == 1
    account = public_id("account", "1")
    joined = import_logs("spotify", [tmp_path / "endsong.json"], home, None, user=account)
    assert joined.user_ids == [account]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3_000_000),
            st.none() | st.integers(30_000, 400_000),
            st.none() | st.integers(0, 400_000),
        ),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=60, deadline=None)
def test_estimated_plays_have_sane_lengths_and_known_ones_stay(
    plays: list[tuple[int, int | None, int | None]],
) -> None:
    frame = pl.DataFrame(
        [
            {"user": "u", "start": s, "duration_ms": d, "ms_played": m, "reason_end": None}
            for s, d, m in plays
        ],
        schema={
            "user": pl.String,
            "start": pl.Int64,
            "duration_ms": pl.Int64,
            "ms_played": pl.Int64,
            "reason_end": pl.String,
        },
    ).sort("start")
    out = fill_durations(frame)
    said = frame["ms_played"].is_not_null()
    assert out.filter(said)["ms_played"].to_list() == frame.filter(said)["ms_played"].to_list()
    guessed = out.filter(~said)["ms_played"]
    assert guessed.null_count() == 0
    assert guessed.is_between(STREAM_MS, max(LONGEST_GAP_MS, USUAL_MS)).all()


def test_names_are_compared_without_case_accents_and_editions() -> None:
    assert plain("Señorita (feat. X) - 2011 Remaster") == plain("SENORITA") == "senorita"
    assert plain("Live and Let Die") == "live and let die"
    assert plain("!!!") == "!!!"
    assert plain("群青") != plain("夜に駆ける")


def test_times_are_read_in_every_usual_form() -> None:
    texts = [
        "2026-10-31T10:11:00Z",
        "2026-10-31 12:11:00+02:00",
        "2026-10-31 10:11",
        "31 Oct 2026 10:11",
        "31 Oct 2026, 10:11",
        "1793441460",
        "1793441460000",
    ]
    assert parse_times(pl.Series(texts)).dt.epoch("s").to_list() == [1_793_441_460] * len(texts)
    assert parse_times(pl.Series(["", "soon", None, "2026-13-45"])).null_count() == 4
    assert parse_times(pl.Series([1_793_441_460, 1_793_441_460_000])).dt.epoch("s").n_unique() == 1


def test_real_music_goes_from_import_to_a_dataset(home: Home) -> None:
    if not REAL.exists():
        pytest.skip("shared/data is not here: the import of real music is not shown")
    part = home.make().work / "slice.parquet"
    pl.read_parquet(REAL).filter(pl.col("slice") == 0).write_parquet(part)
    summary: ImportSummary = import_logs("parquet", [part], home, None)
    data = load(Lake(home.lake))
    assert summary.refused == {}
    assert data.plays.rows == summary.kept == summary.read - summary.duplicates
    assert len(data.user_ids) == summary.listeners
    assert data.items.duration_ms.max() == 0, "a log without lengths leaves them unknown"
