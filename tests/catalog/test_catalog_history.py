"""Any revision reads again: later changes are undone from what was kept before each."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from catalog_world import ALBUM, ARTIST, FREE, LICENSED, MAY, tables

from music.catalog import Catalog
from music.catalog.service import Changes
from music.catalog.watch import Watch
from recsys.errors import BadInput, StoreUnavailable
from recsys.ids import public_id
from recsys.schemas import conform

NEW = public_id("test", "new")


def test_every_revision_reads_as_it_was(catalog: Catalog) -> None:
    before = [catalog.snapshot()]
    steps = (
        lambda: catalog.withdraw(FREE, MAY),
        lambda: catalog.write(new_track("first")),
        lambda: catalog.write(new_track("second")),
        lambda: catalog.write({"artists": pl.DataFrame({"artist_id": [ARTIST], "name": ["Renamed"]})}),
        lambda: catalog.write({"availability": pl.DataFrame({"track_id": [LICENSED], "country": ["SE"]})}),
        lambda: catalog.restore(FREE),
        lambda: catalog.write({}, windows_of=[LICENSED]),
    )
    for step in steps:
        step()
        before.append(catalog.snapshot())
    assert [at.revision for at in before] == list(range(1, len(steps) + 2))
    for at in before:
        assert_same(catalog.snapshot(at.revision), at)
    assert before[3].tracks.filter(track_id=NEW)["title"].to_list() == ["second"]
    assert before[-1].availability.filter(track_id=LICENSED).is_empty()


def assert_same(a: Changes, b: Changes) -> None:
    assert a.revision == b.revision
    assert a.tracks.equals(b.tracks)
    assert a.availability.sort("track_id", "country").equals(b.availability.sort("track_id", "country"))


def new_track(title: str) -> dict[str, pl.DataFrame]:
    rows = {"track_id": [NEW], "title": [title], "artist_id": [ARTIST], "album_id": [ALBUM]}
    return {"tracks": conform(pl.DataFrame(rows), "tracks")}


def test_changes_since_a_revision_are_the_tracks_that_differ(catalog: Catalog) -> None:
    start = catalog.revision()
    assert catalog.changes(start).tracks.is_empty()
    catalog.write(tables())  # the same again
    assert catalog.changes(start).tracks.is_empty()
    catalog.withdraw(LICENSED, MAY)
    changed = catalog.changes(start)
    assert changed.tracks["track_id"].to_list() == [LICENSED]
    assert changed.availability["available_until"].max() == MAY
    catalog.write({"artists": pl.DataFrame({"artist_id": [ARTIST], "name": ["Renamed"]})})
    assert FREE in catalog.changes(changed.revision).tracks["track_id"]


def test_a_revision_that_has_not_been_is_refused(catalog: Catalog) -> None:
    with pytest.raises(BadInput, match="no revision"):
        catalog.snapshot(catalog.revision() + 1)


def test_a_watch_sees_what_another_connection_has_committed(catalog: Catalog) -> None:
    other = Catalog.open(catalog.engine.url.render_as_string(hide_password=False))
    watch = Watch(other.engine)
    seen = watch.revision()
    catalog.withdraw(FREE, datetime.now(UTC))
    assert watch.revision() == seen + 1 == catalog.revision()
    watch.close()
    other.close()


def test_a_watch_without_tables_is_an_unavailable_store(tmp_path: Path) -> None:
    from music.catalog.database import connect

    watch = Watch(connect(f"sqlite:///{tmp_path}/empty.sqlite"))
    with pytest.raises(StoreUnavailable, match="catalog"):
        watch.revision()
