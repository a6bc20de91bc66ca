"""A small catalog for the tests of this folder."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl

from recsys.ids import public_id
from recsys.schemas import AUDIO, conform

ARTIST = public_id("test", "artist")
ALBUM = public_id("test", "album")
FREE, LICENSED, EVERYWHERE = (public_id("test", name) for name in ("free", "licensed", "everywhere"))
SINCE, UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, 12, 30, 0, 123456, tzinfo=UTC)
MAY, AUGUST = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 8, 1, tzinfo=UTC)


def tables() -> dict[str, pl.DataFrame]:
    """One artist, one album, three tracks: free, licensed in Germany and Japan, and licensed everywhere."""
    tracks = pl.DataFrame(
        {
            "track_id": [FREE, LICENSED, EVERYWHERE],
            "title": ["Free", "Licensed", None],
            "artist_id": [ARTIST, ARTIST, None],
            "album_id": [ALBUM, None, None],
            "genre": ["rock/shoegaze", None, None],
            "release_date": [date(1991, 11, 4), date(2026, 2, 1), None],
            "duration_ms": [251_000, 0, None],
            "explicit": [True, False, None],
            "isrc": ["GBARL9300135", None, None],
            "key": [7, None, None],
            **{name: [0.1, None, None] for name in AUDIO},
        }
    )
    frames = {
        "artists": pl.DataFrame({"artist_id": [ARTIST], "name": ["Sløw Dive"], "genre": ["rock/shoegaze"]}),
        "albums": pl.DataFrame(
            {
                "album_id": [ALBUM],
                "title": ["Just for a Day"],
                "artist_id": [ARTIST],
                "release_date": [date(1991, 9, 2)],
            }
        ),
        "tracks": tracks,
        "availability": pl.DataFrame(
            {
                "track_id": [LICENSED, LICENSED, EVERYWHERE],
                "country": ["DE", "JP", None],
                "available_from": [SINCE, None, SINCE],
                "available_until": [UNTIL, None, None],
            }
        ),
        "aliases": pl.DataFrame(
            {
                "entity": ["track", "track", "artist"],
                "id": [FREE, LICENSED, ARTIST],
                "source": ["spotify", "sim", "musicbrainz"],
                "foreign_id": ["spotify:track:abc", "17", "f3b8e107-abe8-4743-b6a3-4a4ee995e71f"],
            }
        ),
    }
    return {name: conform(frame, name) for name, frame in frames.items()}
