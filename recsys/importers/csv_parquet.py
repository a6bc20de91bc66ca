"""Logs in CSV (plain or .gz) or Parquet, with a map from our column names to the file's.

import_logs("csv", [path], home, catalog, column_map={"user": "USER_ID", "track": "SONG", "ts": "PLAYED_AT"})
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import polars as pl

from recsys.errors import BadInput
from recsys.importers.csvfile import csv_parts
from recsys.importers.listens import LISTENS, Tally, checked
from recsys.importers.times import parse_times

_ROWS = 100_000
SYNONYMS: dict[str, tuple[str, ...]] = {
    "user": ("user", "user_id", "userid", "user_name", "username", "listener"),
    "track": ("track_id", "trackid", "track_uri", "recording_mbid", "song_id", "track", "song", "item"),
    "ts": ("ts", "timestamp", "time", "datetime", "played_at", "listened_at", "uts", "utc_time", "date"),
    "ts_end": ("ts_end", "ended_at", "end_time"),
    "title": ("title", "track_name", "track_title", "song_title"),
    "artist": ("artist", "artist_name", "artist_id"),
    "album": ("album", "album_name", "release_name"),
    **{
        name: (name,)
        for name in LISTENS
        if name not in ("user", "at", "at_end", "source_id", "title", "artist", "album")
    },
}
"""Our column names, and the names under which they are looked for when no map is given."""


def read_tables(
    paths: Iterable[Path], tally: Tally, column_map: Mapping[str, str] | None, user: str | None
) -> Iterator[pl.DataFrame]:
    """Frames of LISTENS from CSV and Parquet files; `user` stands in for a missing listener column.

    Raises:
        BadInput: a file that cannot be opened or lacks a column.
    """
    for path in paths:
        parts = (
            parquet_parts(path, tally)
            if path.suffix.lower() in (".parquet", ".pq")
            else csv_parts(path, tally)
        )
        columns: dict[str, str] | None = None
        for part in parts:
            if columns is None:
                columns = resolve_map(part.columns, column_map, user, path)
            yield to_listens(part, columns, user, tally)


def resolve_map(
    present: list[str], wanted: Mapping[str, str] | None, user: str | None, path: Path
) -> dict[str, str]:
    """Our names -> the file's columns: the given map, or a guess by usual names."""
    if wanted is not None:
        unknown = sorted(set(wanted) - set(SYNONYMS))
        missing = sorted(set(wanted.values()) - set(present))
        if unknown:
            raise BadInput(f"column map names {', '.join(unknown)}; known are {', '.join(SYNONYMS)}")
        if missing:
            raise BadInput(f"{path} has no column {', '.join(missing)}; it has {', '.join(present)}")
        columns = dict(wanted)
    else:
        lower = {column.strip().lower(): column for column in reversed(present)}
        guesses = {name: [lower[u] for u in usual if u in lower] for name, usual in SYNONYMS.items()}
        columns = {name: found[0] for name, found in guesses.items() if found}
    lacking = [] if "ts" in columns or "ts_end" in columns else ["ts"]
    lacking += [] if "track" in columns or "title" in columns else ["track"]
    lacking += [] if "user" in columns or user else ["user"]
    if lacking:
        raise BadInput(
            f"{path}: which columns are {', '.join(lacking)}? Map them (--map user=...,track=...,ts=...); "
            f"the file has {', '.join(present)}"
        )
    return columns


def to_listens(
    part: pl.DataFrame, columns: Mapping[str, str], user: str | None, tally: Tally
) -> pl.DataFrame:
    """Rows of a file as LISTENS; counts what is refused."""
    tally.read += part.height
    at_end = "ts_end" in columns
    names = {"source_id": "track", "at": "ts_end" if at_end else "ts"}
    series: dict[str, pl.Series] = {}
    unreadable = pl.repeat(False, part.height, eager=True)
    for name, kind in LISTENS.items():
        column = columns.get(names.get(name, name))
        if column is None:
            series[name] = pl.repeat(None, part.height, dtype=kind, eager=True)
        elif name == "at":
            series[name] = parse_times(part[column])
        else:
            series[name], bad = _cast(part[column], kind)
            unreadable |= bad
    if "user" not in columns:
        series["user"] = pl.repeat(user, part.height, dtype=pl.String(), eager=True)
    series["at_end"] = pl.repeat(at_end, part.height, eager=True)
    if "title" not in columns:
        series["title"] = series["source_id"]
    tally.refuse("a number or truth value that cannot be read", int(unreadable.sum()))
    return checked(pl.DataFrame(series, schema=LISTENS).filter(~unreadable), tally)


def _cast(values: pl.Series, kind: pl.DataType) -> tuple[pl.Series, pl.Series]:
    """Values as `kind`, and the mask of those that say something else."""
    if kind == pl.String():
        return values.cast(pl.String), pl.repeat(False, len(values), eager=True)
    given = values.is_not_null()
    if values.dtype == pl.String:
        text = values.str.strip_chars().str.to_lowercase()
        given &= text.fill_null("") != ""
        if kind == pl.Boolean():
            truth = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
            cast = text.replace_strict(truth, default=None, return_dtype=pl.Boolean)
        else:
            cast = text.cast(pl.Float64, strict=False).round().cast(kind, strict=False)
    else:
        cast = values.cast(kind, strict=False)
    return cast, given & cast.is_null()


def parquet_parts(path: Path, tally: Tally) -> Iterator[pl.DataFrame]:
    """A Parquet file in bounded parts."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            size, rows = path.stat().st_size, max(file.metadata.num_rows, 1)
            for batch in file.iter_batches(_ROWS):
                tally.progress(size * batch.num_rows // rows)
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)
                yield frame
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"{path} is not a whole Parquet file ({reason}): get it again") from None
