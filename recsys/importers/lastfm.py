"""A Last.fm scrobble CSV: artist, album, track, date ("31 Oct 2026 10:11", UTC), with or without a header.

The date is the start of a play; a scrobble does not say how long it lasted: see recsys.importers.durations.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import polars as pl

from recsys.errors import BadInput
from recsys.importers.csvfile import csv_rows, table_parts
from recsys.importers.listens import LISTENS, Tally, checked, expand
from recsys.importers.times import parse_times

_PLAIN = ["artist", "album", "track", "date"]
_NAMES = {"track": "title", "name": "title", "title": "title", "artist": "artist", "album": "album"}
_TIMES = ("uts", "timestamp", "date", "utc_time", "time")
_MBID = "track_mbid"


def read_lastfm(paths: list[Path], tally: Tally, user: str) -> Iterator[pl.DataFrame]:
    """Frames of LISTENS of one person.

    Raises:
        BadInput: a file that cannot be opened, or that is not a scrobble CSV.
    """
    for path in expand(paths, (".csv", ".csv.gz")):
        rows = csv_rows(path, tally)
        first = next(rows, None)
        if first is None:
            tally.problems.append(f"{path.name} is empty")
            continue
        header = [name.strip().lower() for name in first]
        if not {"artist"} < set(header):
            header, rows = _PLAIN, chain([first], rows)
            if len(first) != len(header):
                raise BadInput(f"{path} is not a scrobble CSV: its columns should be {', '.join(_PLAIN)}")
        for part in table_parts(header, rows, tally):
            tally.read += part.height
            yield checked(_listens(part, user), tally)


def _listens(part: pl.DataFrame, user: str) -> pl.DataFrame:
    time = next((name for name in _TIMES if name in part.columns), None)
    if time is None:
        raise BadInput(
            f"a scrobble CSV without a time column ({', '.join(part.columns)}): one of {_TIMES} is needed"
        )
    columns = {_NAMES[name]: part[name] for name in reversed(part.columns) if name in _NAMES}
    columns["at"] = parse_times(part[time])
    if _MBID in part.columns:
        columns["source_id"] = part[_MBID]
    frame = pl.DataFrame(columns).with_columns(user=pl.lit(user), at_end=pl.lit(False))
    return frame.select(
        pl.col(name).cast(kind) if name in frame.columns else pl.lit(None, kind).alias(name)
        for name, kind in LISTENS.items()
    )
