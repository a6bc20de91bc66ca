"""What was published and withdrawn while serving, carried into the lake's tables: the next release learns from those.

carry(catalog, lake)      # the names of the tables that were replaced, none where nothing differs
"""

from __future__ import annotations

import polars as pl

from music.catalog.service import Catalog
from recsys.lake import Lake
from recsys.schemas import conform

KEYS = {"artists": "artist_id", "albums": "album_id", "tracks": "track_id", "availability": "track_id"}


def carry(catalog: Catalog, lake: Lake) -> list[str]:
    """Rows of the catalog take the place of the lake's by key; what the lake alone has stays."""
    if not lake.has("tracks") or not catalog.revision():
        return []
    replaced, tables = [], catalog.tables()
    for name in KEYS:
        new, old = (
            tables[name],
            conform(lake.scan(name).collect(), name) if lake.has(name) else tables[name][:0],
        )
        known = (
            tables["tracks"] if name == "availability" else new
        )  # also of tracks that have no window any more
        other = old.filter(~pl.col(KEYS[name]).is_in(known[KEYS[name]].implode()))
        merged = pl.concat([other, new]).sort(new.columns)
        if not merged.equals(old.sort(new.columns)):
            lake.replace(name, merged)
            replaced.append(name)
    return replaced
