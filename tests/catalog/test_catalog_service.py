"""What the catalog keeps, refuses, withdraws and publishes."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from catalog_world import ALBUM, ARTIST, AUGUST, EVERYWHERE, FREE, LICENSED, MAY, SINCE, UNTIL, tables
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from music.catalog import Catalog
from music.catalog.model import CatalogUpdated, Fact, Track, TrackRestored, TrackWithdrawn, Window
from music.catalog.service import _in_force
from recsys.errors import BadInput, UnknownId
from recsys.ids import public_id
from recsys.items import Items
from recsys.ports import CatalogReader, CatalogWriter
from recsys.schemas import AVAILABILITY, conform

NOWHERE = public_id("test", "nowhere")


def test_the_catalog_is_a_reader_and_a_writer(catalog: Catalog) -> None:
    reader: CatalogReader = catalog
    writer: CatalogWriter = catalog
    writer.write({})
    assert reader.track(FREE)["title"] == "Free"


def test_what_is_written_is_read_back_exactly(catalog: Catalog) -> None:
    read = catalog.tables()
    for name, frame in tables().items():
        assert_frame_equal(read[name], frame, check_row_order=False)


def test_writing_again_changes_nothing_but_the_revision(catalog: Catalog) -> None:
    before, revision = catalog.tables(), catalog.revision()
    catalog.write(tables())
    for name, frame in catalog.tables().items():
        assert_frame_equal(frame, before[name])
    assert catalog.revision() == revision + 1


def test_a_track_is_updated_and_its_windows_are_replaced(catalog: Catalog) -> None:
    catalog.write(
        {
            "tracks": pl.DataFrame({"track_id": [LICENSED], "title": ["Renamed"]}),
            "availability": pl.DataFrame({"track_id": [LICENSED], "country": ["FR"]}),
        }
    )
    assert catalog.track(LICENSED)["title"] == "Renamed"
    assert [w["country"] for w in catalog.track(LICENSED)["availability"]] == ["FR"]
    assert [w["country"] for w in catalog.track(EVERYWHERE)["availability"]] == [None]


def test_one_track_tells_everything(catalog: Catalog) -> None:
    track = catalog.track(FREE)
    assert track["artist"] == {"artist_id": ARTIST, "name": "Sløw Dive"}
    assert track["album"]["album_id"] == ALBUM
    assert track["release_date"] == "1991-11-04"
    assert track["audio"]["energy"] == pytest.approx(0.1)
    assert track["aliases"] == [{"source": "spotify", "foreign_id": "spotify:track:abc"}]
    assert track["availability"] == []


def test_an_artist_lists_the_newest_tracks_first(catalog: Catalog) -> None:
    assert [t["track_id"] for t in catalog.artist(ARTIST)["tracks"]] == [LICENSED, FREE]


@pytest.mark.parametrize("what", ["track", "artist"])
def test_unknown_and_malformed_ids_are_told_apart(catalog: Catalog, what: str) -> None:
    with pytest.raises(UnknownId, match="unknown"):
        getattr(catalog, what)(NOWHERE)
    with pytest.raises(BadInput, match="22 characters"):
        getattr(catalog, what)("../etc")


@pytest.mark.parametrize(
    ("table", "row", "says"),
    [
        ("tracks", {"track_id": "short"}, "22 characters"),
        ("tracks", {"track_id": None}, "22 characters"),
        ("tracks", {"track_id": NOWHERE, "duration_ms": -1}, "negative"),
        ("tracks", {"track_id": NOWHERE, "duration_ms": "long"}, "tracks"),
        ("tracks", {"track_id": NOWHERE, "artist_id": NOWHERE}, "write artists first"),
        ("tracks", {"track_id": NOWHERE, "album_id": NOWHERE}, "write albums first"),
        ("albums", {"album_id": NOWHERE, "artist_id": NOWHERE}, "write artists first"),
        ("availability", {"track_id": NOWHERE, "country": "DE"}, "write tracks first"),
        ("availability", {"track_id": FREE, "country": "de"}, "3166"),
        ("availability", {"track_id": FREE, "available_from": UNTIL, "available_until": SINCE}, "before"),
        ("aliases", {"entity": "song", "id": FREE, "source": "sim", "foreign_id": "1"}, "one of track"),
        ("aliases", {"entity": "track", "id": FREE, "source": "sim", "foreign_id": ""}, "must be given"),
        ("people", {"name": "somebody"}, "no table"),
    ],
)
def test_a_row_that_breaks_a_rule_is_refused_and_nothing_is_written(
    catalog: Catalog, table: str, row: dict[str, object], says: str
) -> None:
    before = catalog.revision()
    good = pl.DataFrame({"artist_id": [public_id("test", "new")], "name": ["New"]})
    with pytest.raises(BadInput, match=says) as error:
        catalog.write({"artists": good, table: pl.DataFrame([row])})
    assert "\n" not in str(error.value)
    assert catalog.revision() == before
    assert catalog.tables()["artists"].height == 1


def test_of_two_rows_with_one_key_the_last_wins(catalog: Catalog) -> None:
    catalog.write({"artists": pl.DataFrame({"artist_id": [ARTIST, ARTIST], "name": ["first", "last"]})})
    assert catalog.artist(ARTIST)["name"] == "last"


def test_aliases_resolve_and_unknown_ones_are_left_out(catalog: Catalog) -> None:
    assert catalog.resolve("sim", ["17", "18"]) == {"17": LICENSED}
    assert catalog.resolve("musicbrainz", ["f3b8e107-abe8-4743-b6a3-4a4ee995e71f"], "artist") == {
        "f3b8e107-abe8-4743-b6a3-4a4ee995e71f": ARTIST
    }
    assert catalog.resolve("sim", []) == {}
    with pytest.raises(BadInput, match="no entity"):
        catalog.resolve("sim", ["17"], "song")


def test_an_isrc_resolves_however_it_is_spelt(catalog: Catalog) -> None:
    assert catalog.resolve("isrc", ["GB-ARL-93-00135", "gbarl9300135"]) == {
        "GB-ARL-93-00135": FREE,
        "gbarl9300135": FREE,
    }


def test_a_withdrawn_track_is_available_nowhere_and_stays_withdrawn(
    catalog: Catalog, facts: list[Fact]
) -> None:
    for track_id in (FREE, LICENSED, EVERYWHERE):
        catalog.withdraw(track_id, MAY)
    catalog.write(tables())
    read = catalog.tables()
    items = Items.of(read["tracks"], read["artists"], read["availability"])
    for country in ("DE", "JP", "FR", None):
        assert not items.available(items.country_number(country), ms(MAY)).any()
    assert items.available(items.country_number("JP"), ms(MAY) - 1).all()
    assert catalog.withdrawn() == dict.fromkeys((FREE, LICENSED, EVERYWHERE), MAY)
    assert facts[1:4] == [TrackWithdrawn(i + 2, t, MAY) for i, t in enumerate((FREE, LICENSED, EVERYWHERE))]


def test_an_earlier_withdrawal_stands_and_can_be_taken_back(catalog: Catalog, facts: list[Fact]) -> None:
    catalog.withdraw(FREE, MAY)
    catalog.withdraw(FREE, AUGUST)
    assert catalog.withdrawn() == {FREE: MAY}
    catalog.restore(FREE)
    catalog.restore(FREE)
    assert catalog.entity(FREE).available(None, AUGUST)
    assert [type(f) for f in facts] == [CatalogUpdated, TrackWithdrawn, TrackRestored]


def test_withdrawing_needs_a_known_track_and_a_zone(catalog: Catalog) -> None:
    with pytest.raises(UnknownId):
        catalog.withdraw(NOWHERE, MAY)
    with pytest.raises(BadInput, match="zone"):
        catalog.withdraw(FREE, datetime(2026, 1, 1))


def test_a_fact_is_published_once_the_change_is_there(catalog: Catalog, facts: list[Fact]) -> None:
    assert facts == [
        CatalogUpdated(1, {"artists": 1, "albums": 1, "tracks": 3, "availability": 3, "aliases": 3})
    ]


def ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


TIMES = st.integers(0, 50).map(lambda day: SINCE + timedelta(days=day))
WINDOWS = st.lists(
    st.builds(
        Window,
        st.sampled_from(["DE", "JP", None]),
        st.none() | TIMES,
        st.none() | TIMES,
    ).filter(lambda w: w.since is None or w.until is None or w.since <= w.until),
    max_size=2,
    unique_by=lambda w: w.country,
)


def overlap(a: Window, b: Window) -> bool:
    since = max(w.since or datetime.min.replace(tzinfo=UTC) for w in (a, b))
    return since <= min(w.until or datetime.max.replace(tzinfo=UTC) for w in (a, b))


@given(WINDOWS, st.none() | TIMES, TIMES, st.sampled_from(["DE", "JP", "FR"]))
@settings(max_examples=100, deadline=None)
def test_the_domain_s_rights_are_those_that_serving_applies(
    windows: list[Window], withdrawn_at: datetime | None, at: datetime, country: str
) -> None:
    """Track.available and the rights matrix of recsys.items, reached through the tables, agree at every time.

    The matrix holds one window a country, so windows that meet in one country must overlap here.
    """
    assume(all(overlap(w, v) for w in windows for v in windows if v.country is None))
    rows = [
        {"track_id": FREE, "country": w.country, "available_from": w.since, "available_until": w.until}
        for w in windows
    ]
    frame = conform(pl.DataFrame(rows, schema=AVAILABILITY), "availability")
    in_force = _in_force(frame, {FREE: withdrawn_at} if withdrawn_at else {})
    track = conform(pl.DataFrame({"track_id": [FREE]}), "tracks")
    artists = conform(pl.DataFrame({"artist_id": [ARTIST]}), "artists")
    items = Items.of(track, artists, in_force)
    served = bool(items.available(items.country_number(country), ms(at))[0])
    assert (
        Track(FREE, None, windows=tuple(windows), withdrawn_at=withdrawn_at).available(country, at) == served
    )


def test_twenty_thousand_tracks_are_written_in_seconds(catalog: Catalog) -> None:
    ids = [public_id("bulk", str(i)) for i in range(20_000)]
    rng = np.random.default_rng(0)
    begun = time.process_time()
    catalog.write(
        {
            "tracks": pl.DataFrame({"track_id": ids, "title": ids, "energy": rng.random(len(ids))}),
            "availability": pl.DataFrame({"track_id": ids, "country": ["DE"] * len(ids)}),
            "aliases": pl.DataFrame({"id": ids, "foreign_id": ids}).with_columns(
                entity=pl.lit("track"), source=pl.lit("bulk")
            ),
        }
    )
    assert time.process_time() - begun < 5
    assert catalog.resolve("bulk", ids) == {i: i for i in ids}


def test_times_keep_their_microseconds_and_zone(catalog: Catalog) -> None:
    window = catalog.entity(LICENSED).windows[0]
    assert (window.since, window.until) == (SINCE, UNTIL)
    assert window.until is not None
    assert window.until.tzinfo is UTC
