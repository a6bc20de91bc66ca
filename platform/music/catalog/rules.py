"""Rules that whole tables must keep before they are written; vectorised: 300,000 tracks take a second.

Every refusal names the table, the row and the value, as one line.
"""

from __future__ import annotations

import polars as pl

from music.catalog.model import Entity
from recsys.errors import BadInput
from recsys.schemas import conform

TABLES = ("artists", "albums", "tracks", "availability", "aliases")
"""Tables of the catalog in an order in which every row's references come before it."""

KEYS = {
    "artists": ["artist_id"],
    "albums": ["album_id"],
    "tracks": ["track_id"],
    "aliases": ["entity", "source", "foreign_id"],
}
_IDS = {
    "artists": ["artist_id"],
    "albums": ["album_id"],
    "tracks": ["track_id"],
    "availability": ["track_id"],
    "aliases": ["id"],
}
_REFERENCES = {"albums": ["artist_id"], "tracks": ["artist_id", "album_id"]}


def checked(tables: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The tables in the columns of recsys.schemas, each key once (the last row wins), all rules kept.

    Raises:
        BadInput: an unknown table, a value of the wrong type, or a row that breaks a rule.
    """
    unknown = set(tables) - set(TABLES)
    if unknown:
        raise BadInput(f"the catalog has no table {sorted(unknown)[0]!r}; it has {', '.join(TABLES)}")
    return {name: _checked(name, tables[name]) for name in TABLES if name in tables}


def _checked(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    try:
        rows = conform(frame, name)
    except pl.exceptions.PolarsError as error:
        raise BadInput(f"{name}: {str(error).splitlines()[0]}") from error
    rows = _canonical(name, rows)
    for message, broken in _rules(name).items():
        bad = rows.with_row_index("row").filter(broken)
        if bad.height:
            number, *values = bad.row(0)
            raise BadInput(f"{name} row {number}: {message} ({bad.height} such rows; first {values[:4]})")
    return rows.unique(KEYS[name], keep="last", maintain_order=True) if name in KEYS else rows


def _canonical(name: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Vectorised model.canonical; and an audio feature that is not a number is an absent one."""

    def plain(column: str) -> pl.Expr:
        return pl.col(column).str.replace_all("-", "").str.strip_chars().str.to_uppercase()

    if name == "tracks":
        return rows.with_columns(plain("isrc"), pl.col(pl.Float32).fill_nan(None))
    if name == "aliases":
        isrc = pl.when(pl.col("source") == "isrc").then(plain("foreign_id"))
        return rows.with_columns(foreign_id=isrc.otherwise(pl.col("foreign_id")))
    return rows


def _rules(name: str) -> dict[str, pl.Expr]:
    """Message -> expression that is true where a row breaks the rule."""
    rules = {f"{c} must be 22 characters of 0-9A-Za-z": ~_public(c).fill_null(False) for c in _IDS[name]}
    rules |= {
        f"{c} must be 22 characters of 0-9A-Za-z or null": ~_public(c).fill_null(True)
        for c in _REFERENCES.get(name, [])
    }
    if name == "tracks":
        rules["duration_ms must not be negative"] = (pl.col("duration_ms") < 0).fill_null(False)
    if name == "availability":
        code = pl.col("country").str.contains(r"^[A-Z]{2}$").fill_null(True)
        backward = pl.col("available_until") < pl.col("available_from")
        rules["country must be two capitals (ISO 3166-1 alpha-2) or null"] = ~code
        rules["available_until must not be before available_from"] = backward.fill_null(False)
    if name == "aliases":
        entities = [e.value for e in Entity]
        rules[f"entity must be one of {', '.join(entities)}"] = ~pl.col("entity").fill_null("").is_in(
            entities
        )
        rules["source and foreign_id must be given"] = pl.any_horizontal(
            pl.col("source", "foreign_id").fill_null("") == ""
        )
    return rules


def _public(column: str) -> pl.Expr:
    return pl.col(column).str.contains(r"^[0-9A-Za-z]{22}$")
