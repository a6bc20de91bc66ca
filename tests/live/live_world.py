"""Rows to write into a catalog: tracks like one that is there."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl

from recsys.catalog_delta import whole
from recsys.ids import public_id
from recsys.items import Items
from recsys.schemas import TRACKS

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


def like(items: Items, track: int, *names: str, **changed: object) -> dict[str, pl.DataFrame]:
    """Tables with new tracks that resemble a known one, each by an artist of its own."""
    row = whole(items.frame)[track].drop("artist_name")
    ids = [public_id("live", name) for name in names]
    artists = [public_id("live-artist", name) for name in names]
    given = {"isrc": None, "release_date": date(2020, 1, 1)} | changed
    tracks = pl.concat([row] * len(names)).with_columns(
        track_id=pl.Series(ids),
        artist_id=pl.Series(artists),
        title=pl.Series(names),
        **{name: pl.lit(value, TRACKS[name]) for name, value in given.items()},
    )
    return {"artists": pl.DataFrame({"artist_id": artists, "name": list(names)}), "tracks": tracks}


def again(items: Items, track: int, **changed: object) -> dict[str, pl.DataFrame]:
    """Tables with one known track, some of its columns set."""
    row = whole(items.frame)[track].drop("artist_name")
    return {"tracks": row.with_columns(**{n: pl.lit(v, TRACKS[n]) for n, v in changed.items()})}


def track_id(name: str) -> str:
    return public_id("live", name)
