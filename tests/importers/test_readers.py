"""Each kind of log, good and hostile: what is kept, what is refused and why."""

from __future__ import annotations

import gzip
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys.dataset import load
from recsys.errors import BadInput
from recsys.home import Home
from recsys.importers import ImportSummary, import_logs
from recsys.lake import Lake


def run(home: Home, kind: str, *paths: Path, **options: Any) -> ImportSummary:
    return import_logs(kind, list(paths), home, None, **options)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.of(tmp_path / "home")


def events(home: Home) -> pl.DataFrame:
    return Lake(home.lake).scan("events").collect().sort("user_id", "ts")


def spotify_row(minute: int, **changes: Any) -> dict[str, Any]:
    row = {
        "ts": f"2024-03-01T10:{minute:02d}:00Z",
        "platform": "Android OS 13 API 33 (samsung)",
        "ms_played": 180_000,
        "conn_country": "SE",
        "ip_addr": "203.0.113.7",
        "master_metadata_track_name": f"Song {minute % 3}",
        "master_metadata_album_artist_name": "The Band",
        "master_metadata_album_album_name": "The Album",
        "spotify_track_uri": f"spotify:track:{minute % 3:022d}",
        "episode_name": None,
        "spotify_episode_uri": None,
        "reason_start": "trackdone",
        "reason_end": "trackdone",
        "shuffle": False,
        "skipped": False,
        "offline": False,
        "incognito_mode": False,
    }
    return {**row, **changes}


HOSTILE_SPOTIFY = [
    spotify_row(10, master_metadata_track_name=None, spotify_episode_uri="spotify:episode:1"),
    spotify_row(11, ts="yesterday"),
    spotify_row(12, ms_played="a lot"),
    spotify_row(13, ms_played=-5),
    spotify_row(14, ts="1969-01-01T00:00:00Z"),
    {"endTime": "2024-03-01 10:00", "artistName": "A", "trackName": "B", "msPlayed": 1},
    "not an object",
    17,
]


def test_a_spotify_zip_is_read_with_its_words_and_its_podcasts_refused(tmp_path: Path, home: Home) -> None:
    path = tmp_path / "my_spotify_data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        rows = [spotify_row(i) for i in range(6)]
        rows[4] |= {"ms_played": 4_000, "reason_end": "fwdbtn", "incognito_mode": True}
        archive.writestr("Spotify/Streaming_History_Audio_2024_0.json", json.dumps(rows[:3]))
        archive.writestr(
            "Spotify/Streaming_History_Audio_2024_1.json", json.dumps([*rows[3:], *HOSTILE_SPOTIFY])
        )
        archive.writestr("Spotify/Streaming_History_Video_2024.json", json.dumps([spotify_row(9)]))
        archive.writestr("Spotify/ReadMeFirst.pdf", b"%PDF")
    summary = run(home, "spotify", path)
    assert (summary.read, summary.kept, summary.listeners) == (14, 6, 1)
    assert summary.refused == {
        "podcast episode": 1,
        "no readable time": 1,
        "end of play without ms_played": 1,
        "play longer than a day or negative": 1,
        "time outside 2000 to 2099": 1,
        "not a row of an extended streaming history": 1,
        "not a JSON object": 2,
    }
    rows_out = events(home)
    assert rows_out["ts"][0] == datetime(2024, 3, 1, 10, tzinfo=UTC), "ts is the end of the play"
    assert rows_out["reason_end"].to_list().count("fwdbtn") == 1
    assert rows_out["incognito_mode"].sum() == 1
    assert set(rows_out["device"]) == {"mobile"}
    assert "203.0.113.7" not in str(rows_out.to_dicts()), "no address is kept"
    data = load(Lake(home.lake))
    assert data.plays.rows == 5, "incognito plays train nothing"
    assert data.plays.start[0] == 1_709_287_200_000 - 180_000


def test_a_truncated_spotify_file_gives_its_whole_rows_and_a_note(tmp_path: Path, home: Home) -> None:
    text = json.dumps([spotify_row(i) for i in range(5)])
    (tmp_path / "endsong_0.json").write_text(text[:-30])
    summary = run(home, "spotify", tmp_path / "endsong_0.json")
    assert summary.kept == 4
    assert "ends early" in summary.problems[0]


def test_files_that_are_not_what_they_claim_are_refused_in_one_line(tmp_path: Path, home: Home) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 nothing")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("photo.jpg", b"")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nothing")
    for kind, name, words in (
        ("spotify", "broken.zip", "not a whole zip"),
        ("spotify", "other.zip", "no listening history"),
        ("parquet", "broken.parquet", "not a whole Parquet file"),
        ("csv", "absent.csv", "no file to import"),
        ("tape", "absent.csv", "unknown kind"),
    ):
        with pytest.raises(BadInput, match=words) as caught:
            run(home, kind, tmp_path / name, user="me")
        assert "\n" not in str(caught.value)


def listen(minute: int, **changes: Any) -> dict[str, Any]:
    row = {
        "listened_at": 1_700_000_000 + 60 * minute,
        "track_metadata": {
            "track_name": f"Song {minute}",
            "artist_name": "The Band",
            "additional_info": {"duration_ms": 200_000, "isrc": "SE-ABC-24-00001"},
            "mbid_mapping": {"recording_mbid": f"0000-{minute}"},
        },
    }
    return {**row, **changes}


def test_listenbrainz_lines_are_read_and_broken_ones_counted(tmp_path: Path, home: Home) -> None:
    lines = [json.dumps(listen(i)) for i in (0, 4, 8)]
    hostile = [
        "{not json",
        "[1]",
        json.dumps({"listened_at": 1}),
        json.dumps(listen(9, listened_at="soon")),
        "",
    ]
    (tmp_path / "listens.jsonl").write_text("\n".join([*lines, *hostile]))
    summary = run(home, "listenbrainz", tmp_path / "listens.jsonl", user="ann")
    assert (summary.read, summary.kept) == (7, 3)
    assert summary.refused == {
        "not JSON": 1,
        "not a JSON object": 1,
        "not a listen (no track_metadata)": 1,
        "no readable time": 1,
    }
    rows = events(home)
    assert rows["ms_played"].to_list() == [200_000] * 3, "four minutes to the next: played to the end"
    assert set(rows["reason_end"]) == {"trackdone"}


def test_a_listenbrainz_zip_holds_several_listeners_only_if_it_says_so(tmp_path: Path, home: Home) -> None:
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        rows = [listen(0, user_name="ann"), listen(4, user_name="bob"), listen(8)]
        archive.writestr("listens/2023/11.jsonl", "\n".join(map(json.dumps, rows)))
        archive.writestr("feedback.jsonl", "{}")
    assert run(home, "listenbrainz", tmp_path / "export.zip").listeners == 3


LASTFM = '''The Band,The Album,Song 1,31 Oct 2026 10:11
"Band, The",,"Song ""2""",31 Oct 2026 10:15
The Band,The Album,Song 3,
The Band,The Album,31 Oct 2026 10:20
The Band,The Album,,31 Oct 2026 10:21
Motörhead,"Ace of Spades (Remastered)",Fire,"31 Oct 2026, 10:25"
'''


def test_lastfm_scrobbles_without_header_are_read_as_starts_of_plays(tmp_path: Path, home: Home) -> None:
    (tmp_path / "scrobbles.csv").write_text(LASTFM)
    summary = run(home, "lastfm", tmp_path / "scrobbles.csv")
    assert (summary.read, summary.kept) == (6, 3)
    assert summary.refused == {"no readable time": 1, "no track": 1, "wrong number of columns": 1}
    first = events(home).row(0, named=True)
    assert first["ts"] == datetime(2026, 10, 31, 10, 15, tzinfo=UTC), "four minutes until the next play"
    titles = Lake(home.lake).scan("tracks").collect()["title"].to_list()
    assert 'Song "2"' in titles


def test_lastfm_scrobbles_with_a_header_are_the_same(tmp_path: Path, home: Home) -> None:
    text = '"uts","utc_time","artist","artist_mbid","album","album_mbid","track","track_mbid"\n'
    text += '"1793441460","31 Oct 2026, 10:11","The Band","","The Album","","Song 1",""\n'
    (tmp_path / "scrobbles.csv").write_text(text)
    assert run(home, "lastfm", tmp_path / "scrobbles.csv").kept == 1
    (tmp_path / "plain.csv").write_text(LASTFM.splitlines()[0])
    assert run(home, "lastfm", tmp_path / "plain.csv").duplicates == 1


def test_a_csv_with_a_column_map_keeps_what_it_says(tmp_path: Path, home: Home) -> None:
    text = "WHO;SONG;AT;LONG;END\nann;s1;2024-01-02 03:04:05;5000;fwdbtn\nann;s2;1704164700;60000;\n"
    with gzip.open(tmp_path / "log.csv.gz", "wt") as file:
        file.write(text)
    columns = {"user": "WHO", "track": "SONG", "ts": "AT", "ms_played": "LONG", "reason_end": "END"}
    summary = run(home, "csv", tmp_path / "log.csv.gz", column_map=columns)
    assert summary.kept == 2
    rows = events(home)
    assert rows["ts"][0] == datetime(2024, 1, 2, 3, 4, 10, tzinfo=UTC)
    assert rows["reason_end"].to_list() == ["fwdbtn", None]
    data = load(Lake(home.lake))
    assert data.plays.outcome.tolist() == [0, 1]


def test_hostile_csv_rows_are_refused_one_by_one(tmp_path: Path, home: Home) -> None:
    rows = [
        "user,track,ts,ms_played",
        "ann,s1,1704164700,1000",
        ",s1,1704164700,1000",
        "ann,,1704164700,1000",
        "ann,s1,never,1000",
        "ann,s1,1704164700,99999999999",
        "ann,s1,1704164700,NaN",
        "ann,s1,nan,1000",
        "ann,s1,1704164700,1000,surplus",
        '"ann"x,s1,1704164700,1000',
        "ann,s\x002,1704165700,1000",
        "ann,s3,1704166700",
        'ann,"open quote,1704164700,1000',
    ]
    (tmp_path / "log.csv").write_bytes("\n".join(rows).encode() + b"\xff\xfe,\n")
    summary = run(home, "csv", tmp_path / "log.csv")
    assert summary.kept == 2
    assert summary.read == len(rows) - 1
    assert summary.refused == {
        "no listener": 1,
        "no track": 1,
        "no readable time": 2,
        "play longer than a day or negative": 1,
        "a number or truth value that cannot be read": 1,
        "wrong number of columns": 2,
        "broken quoting or an oversized field": 2,
    }


def test_a_truncated_gz_gives_what_came_before_and_a_note(tmp_path: Path, home: Home) -> None:
    text = "user,track,ts\n" + "".join(
        f"ann,s{i * 7919 % 9973},{1_704_000_000 + i * 300}\n" for i in range(20_000)
    )
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(text.encode())[:-2000])
    summary = run(home, "csv", tmp_path / "log.csv.gz")
    assert 10_000 < summary.kept < 20_000
    assert "ends early" in summary.problems[0]


def test_columns_that_cannot_be_guessed_are_asked_for(tmp_path: Path, home: Home) -> None:
    (tmp_path / "log.csv").write_text("who,tune,at\nann,s1,1704164700\n")
    with pytest.raises(BadInput, match=r"which columns are ts, track, user.*who, tune, at"):
        run(home, "csv", tmp_path / "log.csv")
    with pytest.raises(BadInput, match="no column nobody"):
        run(home, "csv", tmp_path / "log.csv", column_map={"user": "nobody", "track": "tune", "ts": "at"})
    with pytest.raises(BadInput, match="column map names usr"):
        run(home, "csv", tmp_path / "log.csv", column_map={"usr": "who", "track": "tune", "ts": "at"})
