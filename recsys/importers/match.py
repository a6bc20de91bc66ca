"""Which known track each imported one is: by foreign id, by ISRC, by normalised artist and title; else a new one.

A new track enters the catalog with what the log says of it and no features, so that no play of a person's history
is lost: a release trained before does not know it, the next one does.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import polars as pl

from recsys.ids import public_id
from recsys.lake import Lake
from recsys.schemas import TABLES, conform

TRACK_KEY = ["source_id", "isrc", "title", "artist", "album"]
"""Columns of LISTENS that together name a track."""
WAYS = ("id", "isrc", "name")
_EDITION = "feat|ft|with|remaster(ed)?|live|mono|stereo|deluxe|version|edit"
_ASIDE = re.compile(
    rf"\s*[(\[][^)\]]*\b({_EDITION})\b[^)\]]*[)\]]|\s+-\s+.*\b({_EDITION}|mix)\b.*$|\s+\b(feat|ft)\b\.?\s.*$",
    re.IGNORECASE,
)
_ISRC = r"^[A-Z]{2}[A-Z0-9]{3}[0-9]{7}$"


@dataclass(frozen=True)
class Matched:
    """Each distinct imported track with its public id, and the catalog rows that are new."""

    tracks: pl.DataFrame  # TRACK_KEY, track_id, way (id, isrc, name or new), length_ms (null if unknown)
    new: dict[str, pl.DataFrame]  # lake table -> rows


def plain(name: str | None) -> str:
    """A name without case, accents, punctuation, featured artists and notes on the edition."""
    if not name:
        return ""
    cut = _ASIDE.sub("", name) or name
    letters = unicodedata.normalize("NFKD", cut.casefold())
    kept = "".join(c if c.isalnum() else " " for c in letters if not unicodedata.combining(c))
    return " ".join(kept.split()) or name.casefold().strip()


def match(keys: pl.DataFrame, lake: Lake, source: str, ids_decide: bool) -> Matched:
    """Finds every distinct track of `keys` (TRACK_KEY, duration_ms) in the lake's catalog, or makes it new.

    Args:
        source: name of the namespace that `source_id` belongs to.
        ids_decide: new tracks with different ids are different; otherwise those of one artist and title are one.
    """
    code = pl.col("isrc").str.replace_all("-", "").str.to_uppercase()
    by_isrc = pl.when(code.str.contains(_ISRC)).then(code)
    rows = keys.with_columns(by_isrc=by_isrc, by_name=_name_keys(keys["artist"], keys["title"]))
    known = {"id": _aliases(lake, source), "isrc": _isrcs(lake), "name": _names(lake)}
    for way, column in zip(WAYS, ("source_id", "by_isrc", "by_name"), strict=True):
        rows = rows.join(
            known[way].select(pl.col("key").alias(column), f"{way}_match"), on=column, how="left"
        )
    apart = pl.col("by_name").is_null() | (pl.lit(ids_decide) & pl.col("source_id").is_not_null())
    mark = (
        pl.when(apart)
        .then(f"{source}:" + pl.coalesce("source_id", "title"))
        .otherwise("name:" + pl.col("by_name"))
    )
    matches = [f"{way}_match" for way in WAYS]
    rows = rows.with_columns(
        way=pl.coalesce(pl.when(pl.col(f"{w}_match").is_not_null()).then(pl.lit(w)) for w in WAYS).fill_null(
            "new"
        ),
        track_id=pl.coalesce(*matches, _public_ids(rows.select(mark=mark)["mark"], "track")),
    )
    lengths = _table(lake, "tracks").select("track_id", known_ms="duration_ms")
    rows = rows.join(lengths, on="track_id", how="left").with_columns(
        length_ms=pl.coalesce("duration_ms", pl.col("known_ms").cast(pl.Int64))
    )
    return Matched(rows.select(*TRACK_KEY, "track_id", "way", "length_ms"), _new_rows(rows, lake, source))


def _new_rows(rows: pl.DataFrame, lake: Lake, source: str) -> dict[str, pl.DataFrame]:
    """Rows of tracks, artists, albums and aliases that the lake lacks."""
    rows = rows.sort("track_id", "way", "source_id", "title", "album", nulls_last=True)
    rows = rows.with_columns(
        artist_key=_plain_keys(rows["artist"]), album_key=_name_keys(rows["artist"], rows["album"])
    )
    known = _table(lake, "artists").select("artist_id", key=_plain_keys(_table(lake, "artists")["name"]))
    known = known.drop_nulls().sort("artist_id").unique("key", keep="first")
    rows = rows.join(known.rename({"key": "artist_key"}), on="artist_key", how="left", maintain_order="left")
    rows = rows.with_columns(
        artist_id=pl.coalesce("artist_id", _public_ids(rows["artist_key"], "artist")),
        album_id=_public_ids(rows["album_key"], "album"),
    )
    made = rows.filter(pl.col("way") == "new")
    aliases = [
        rows.select(id="track_id", source=pl.lit(name), foreign_id=column).drop_nulls()
        for name, column in ((source, "source_id"), ("isrc", "by_isrc"))
    ]
    tables = {
        "artists": made.select("artist_id", name="artist"),
        "albums": made.select("album_id", "artist_id", title="album"),
        "tracks": made.select(
            "track_id", "artist_id", "album_id", "title", isrc="by_isrc", duration_ms="length_ms"
        ),
        "aliases": pl.concat(aliases).with_columns(entity=pl.lit("track")),
    }
    return {name: _lacking(frame, name, lake) for name, frame in tables.items()}


_KEYS = {
    "artists": ["artist_id"],
    "albums": ["album_id"],
    "tracks": ["track_id"],
    "aliases": ["entity", "source", "foreign_id"],
}


def _lacking(frame: pl.DataFrame, table: str, lake: Lake) -> pl.DataFrame:
    keys = _KEYS[table]
    rows = conform(frame, table).drop_nulls(keys).unique(keys, keep="first", maintain_order=True)
    return rows.join(_table(lake, table).select(keys), on=keys, how="anti", maintain_order="left")


def _table(lake: Lake, name: str) -> pl.DataFrame:
    return lake.scan(name).collect() if lake.has(name) else pl.DataFrame(schema=TABLES[name])


def _aliases(lake: Lake, source: str) -> pl.DataFrame:
    aliases = _table(lake, "aliases").filter(pl.col("entity") == "track", pl.col("source") == source)
    return aliases.select(key="foreign_id", id_match="id").unique("key", keep="first")


def _isrcs(lake: Lake) -> pl.DataFrame:
    aliases = _table(lake, "aliases").filter(pl.col("entity") == "track", pl.col("source") == "isrc")
    tracks = _table(lake, "tracks").select(key="isrc", isrc_match="track_id").drop_nulls()
    both = pl.concat([aliases.select(key="foreign_id", isrc_match="id"), tracks])
    return both.sort("isrc_match").unique("key", keep="first")


def _names(lake: Lake) -> pl.DataFrame:
    """Normalised artist and title of every known track; of tracks that share them, the first by id."""
    artists = _table(lake, "artists").select("artist_id", "name").unique("artist_id", keep="first")
    tracks = _table(lake, "tracks").join(artists, on="artist_id", how="left")
    keys = tracks.select(name_match="track_id", key=_name_keys(tracks["name"], tracks["title"]))
    return keys.drop_nulls().sort("name_match").unique("key", keep="first")


def _name_keys(artists: pl.Series, names: pl.Series) -> pl.Series:
    """One text for artist and name, both normalised; null where either is absent."""
    both = zip(_plain_keys(artists), _plain_keys(names), strict=True)
    return pl.Series([f"{a}\x1f{n}" if a and n else None for a, n in both], dtype=pl.String)


def _plain_keys(names: pl.Series) -> pl.Series:
    once = {name: plain(name) or None for name in names.unique()}
    return pl.Series([once[name] for name in names], dtype=pl.String)


def _public_ids(keys: pl.Series, entity: str) -> pl.Series:
    ids = {key: None if key is None else public_id(f"import:{entity}", key) for key in keys.unique()}
    return pl.Series([ids[key] for key in keys], dtype=pl.String)
