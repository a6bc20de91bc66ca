"""The one form into which every reader turns its log: a row a play, and a tally of what was refused and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

LISTENS: dict[str, pl.DataType] = {
    "user": pl.String(),  # as the log names the listener
    "at": pl.Datetime("us", "UTC"),  # start of the play; its end where `at_end`
    "at_end": pl.Boolean(),
    "source_id": pl.String(),  # the track's id in the log's own namespace
    "isrc": pl.String(),
    "title": pl.String(),
    "artist": pl.String(),
    "album": pl.String(),
    "duration_ms": pl.Int64(),
    "ms_played": pl.Int64(),  # null where the log does not say
    "session": pl.String(),
    "reason_start": pl.String(),
    "reason_end": pl.String(),
    "shuffle": pl.Boolean(),
    "skipped": pl.Boolean(),
    "offline": pl.Boolean(),
    "incognito_mode": pl.Boolean(),
    "platform": pl.String(),
    "device": pl.String(),
    "conn_country": pl.String(),
    "tz": pl.String(),
}
LENGTHS = {"session": 64, "reason_start": 64, "reason_end": 64, "device": 64, "tz": 64, "platform": 256}
"""Longest texts kept, in characters; other texts 300."""
_ROWS = 50_000
_DAY_MS = 86_400_000


@dataclass
class Tally:
    """What a reader met: rows read, rows refused by reason, and problems of whole files."""

    read: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    progress: Callable[[int], None] = lambda _: None  # bytes of input read since the last call

    def refuse(self, reason: str, rows: int = 1) -> None:
        if rows:
            self.refused[reason] += rows


def frames(rows: Iterable[dict[str, Any]]) -> Iterator[pl.DataFrame]:
    """Rows (canonical names, some absent) as frames of LISTENS, bounded in size."""
    part: list[dict[str, Any]] = []
    for row in rows:
        part.append(row)
        if len(part) == _ROWS:
            yield pl.DataFrame(part, schema=LISTENS)
            part = []
    if part:
        yield pl.DataFrame(part, schema=LISTENS)


def checked(listens: pl.DataFrame, tally: Tally) -> pl.DataFrame:
    """The rows that can be kept, texts cut and cleaned; counts the others by their first fault.

    `listens` has columns of LISTENS, already cast: a value that could not be cast is null.
    """
    rows = listens.with_columns(
        pl.col(name).str.replace_all("\x00", "").str.strip_chars().str.slice(0, LENGTHS.get(name, 300))
        for name, kind in LISTENS.items()
        if kind == pl.String() and name in listens.columns
    )
    rows = rows.with_columns(
        pl.when(pl.col(name) != "").then(pl.col(name))
        for name, kind in LISTENS.items()
        if kind == pl.String()
    )
    faults = {
        "no listener": pl.col("user").is_null(),
        "no track": pl.col("source_id").is_null() & pl.col("title").is_null(),
        "no readable time": pl.col("at").is_null(),
        "time outside 2000 to 2099": ~pl.col("at").dt.year().is_between(2000, 2099),
        "play longer than a day or negative": ~pl.col("ms_played").is_between(0, _DAY_MS),
        "end of play without ms_played": pl.col("at_end") & pl.col("ms_played").is_null(),
    }
    reason = pl.lit(None, pl.String)
    for name, fault in reversed(faults.items()):
        reason = pl.when(fault.fill_null(False)).then(pl.lit(name)).otherwise(reason)
    judged = rows.with_columns(reason=reason)
    for name, count in judged["reason"].drop_nulls().value_counts().iter_rows():
        tally.refuse(name, count)
    country = pl.col("conn_country").str.to_uppercase()
    return (
        judged.filter(pl.col("reason").is_null())
        .drop("reason")
        .with_columns(
            pl.when(pl.col("duration_ms").is_between(1_000, _DAY_MS)).then(pl.col("duration_ms")),
            conn_country=pl.when(country.str.contains("^[A-Z]{2}$") & (country != "ZZ")).then(country),
        )
    )


def text(value: Any) -> str | None:
    """A text cell of a JSON row; anything else is absent."""
    return value if isinstance(value, str) and value.strip() else None


def whole(value: Any) -> int | None:
    """A whole number of a JSON row (also written as text or with decimals); anything else is absent."""
    try:
        number = int(float(value)) if isinstance(value, (int, float, str)) else None
    except (ValueError, OverflowError):
        return None
    return None if isinstance(value, bool) or number is None or abs(number) >= 1 << 62 else number


def expand(paths: Iterable[Path], suffixes: tuple[str, ...]) -> list[Path]:
    """Files named, and files with one of the suffixes inside folders named; sorted within a folder."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.name.lower().endswith(suffixes) and p.is_file())
        else:
            found.append(path)
    return found
