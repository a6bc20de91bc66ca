"""A listener leaves every table with its versions and its log, and nobody else's row or position changes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from recsys.errors import BadInput
from recsys.events import to_frame
from recsys.ids import public_id
from recsys.lake import Lake
from recsys.lake_erase import count_rows, erase_rows
from serving.privacy.residue import encodings, residue
from tests.eventlog.samples import NOW, play

GONE = public_id("test", "user 1")


def filled(folder: Path) -> Lake:
    lake = Lake(folder)
    for day in range(3):
        rows = to_frame([play(10 * day + i, at=NOW + timedelta(days=day)) for i in range(10)])
        cursor = lake.cursor("events", "lake@x")
        lake.append_through(cursor, rows, 10 * (day + 1))
    people = pl.DataFrame({"user_id": [GONE, public_id("test", "user 2")], "country": ["SE", "DE"]})
    lake.append("listeners", people)
    lake.replace("listeners", people.filter(pl.col("user_id") != GONE))  # only an older version has them
    lake.append("tracks", pl.DataFrame({"track_id": ["t"], "title": ["x"]}))
    return lake


def test_no_file_version_or_statistic_keeps_an_erased_listener(tmp_path: Path) -> None:
    lake = filled(tmp_path)
    kept = lake.scan("events").filter(pl.col("user_id") != GONE).collect().sort("event_id")
    assert residue(tmp_path, [GONE])
    done = erase_rows(lake, GONE)
    assert residue(tmp_path, [GONE]) == []
    assert lake.scan("events").collect().sort("event_id").equals(kept)
    assert done["events"].rows == 10
    assert done["listeners"].rows == 0
    assert done["listeners"].removed >= 1
    assert "tracks" not in done
    assert lake.version("tracks") == 0
    assert lake.cursor("events", "lake@x").position == 30  # a mover goes on where it was
    with pytest.raises(Exception, match="No files in log segment"):
        lake.scan("events", 1).collect()
    assert erase_rows(lake, GONE) == {}
    lake.append("events", to_frame([play(99)]))
    assert lake.scan("events").collect().height == kept.height + 1


def test_a_file_that_no_version_names_goes_too(tmp_path: Path) -> None:
    lake = filled(tmp_path)
    erase_rows(lake, GONE)
    orphan = tmp_path / "events" / "day=2026-05-01" / "part-never-committed.parquet"
    to_frame([play(1)]).drop("day").write_parquet(orphan)
    assert count_rows(lake, GONE)["events"] == 1
    erase_rows(lake, GONE)
    assert not orphan.exists()


def test_what_is_no_id_never_reaches_a_predicate(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        erase_rows(filled(tmp_path), "x' OR 'a' = 'a")


@pytest.mark.parametrize("before", ["", "a", "ab"])
def test_the_search_finds_an_id_in_usual_encodings(tmp_path: Path, before: str) -> None:
    import base64

    whole = (before + GONE + "tail").encode()
    for name, body in {"b64": base64.b64encode(whole), "hex": whole.hex().encode(), "raw": whole}.items():
        (tmp_path / name).write_bytes(b"..." + body)
    to_frame([play(1)]).write_parquet(tmp_path / "x.parquet", compression="zstd")
    assert residue(tmp_path, [GONE]) == ["b64", "hex", "raw", "x.parquet"]
    assert residue(tmp_path, [public_id("test", "nobody")]) == []
    assert all(len(form) > 20 for form in encodings(GONE))
