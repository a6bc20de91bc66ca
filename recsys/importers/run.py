"""One import from files to lake, catalog and listener states, in parts that fit in memory."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from recsys.engines import open_store
from recsys.errors import BadInput
from recsys.home import Home
from recsys.importers.csv_parquet import read_tables
from recsys.importers.lastfm import read_lastfm
from recsys.importers.listenbrainz import read_listenbrainz
from recsys.importers.listens import Tally, expand
from recsys.importers.match import Matched, match
from recsys.importers.plays import to_events
from recsys.importers.spotify import read_spotify
from recsys.importers.staging import parts_for, stage, staged
from recsys.ingest import new_rows
from recsys.lake import Lake
from recsys.ports import CatalogWriter
from recsys.schemas import TABLES
from recsys.state_store import refresh_states

SUFFIXES = {
    "csv": (".csv", ".csv.gz", ".tsv"),
    "parquet": (".parquet", ".pq"),
    "spotify": (".json", ".zip"),
    "listenbrainz": (".jsonl", ".jsonl.gz", ".json", ".zip"),
    "lastfm": (".csv", ".csv.gz"),
}
KINDS = tuple(SUFFIXES)
_TRACK_IDS = {"csv": "log", "parquet": "log", "listenbrainz": "musicbrainz", "lastfm": "musicbrainz"}
"""Namespace of a kind's track ids, where it is not the kind itself."""
_TABLES = ("csv", "parquet")
_SHOWN_USERS = 20
_DAYS_AT_ONCE = 200


@dataclass
class ImportSummary:
    """What an import did; `str()` is for reading, `dataclasses.asdict` for programs."""

    kind: str
    read: int = 0  # rows of the log
    kept: int = 0  # plays written to the lake
    duplicates: int = 0  # plays that were there already, or twice in the log
    refused: dict[str, int] = field(default_factory=dict)  # reason -> rows
    problems: list[str] = field(default_factory=list)  # of whole files
    listeners: int = 0
    user_ids: list[str] = field(default_factory=list)  # the first ones, in order
    tracks: dict[str, int] = field(default_factory=dict)  # distinct tracks by how they were matched; "new"
    match_rate: float = 0.0  # share of the distinct tracks that the home knew before
    play_match_rate: float = 0.0  # the same, of plays kept
    seconds: float = 0.0

    def __str__(self) -> str:
        matched = ", ".join(f"{self.tracks.get(way, 0):,} by {way}" for way in ("id", "isrc", "name"))
        lines = [
            f"{self.kind}: {self.read:,} rows read, {self.kept:,} plays of {self.listeners:,} listeners kept, "
            f"{self.duplicates:,} duplicates, {sum(self.refused.values()):,} refused in {self.seconds:.1f} s",
            *(f"  refused: {count:,} × {reason}" for reason, count in self.refused.items()),
            *(f"  note: {problem}" for problem in self.problems),
            f"  tracks: {sum(self.tracks.values()):,}, of which known here {self.match_rate:.1%} ({matched}); "
            f"{self.tracks.get('new', 0):,} new",
        ]
        if self.listeners <= _SHOWN_USERS:
            lines += [f"  listener: {user_id}" for user_id in self.user_ids]
        return "\n".join(lines)


def import_logs(
    kind: str,
    paths: Sequence[Path],
    home: Home,
    catalog_writer: CatalogWriter | None,
    column_map: Mapping[str, str] | None = None,
    user: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImportSummary:
    """Imports listening logs; importing the same again changes nothing.

    Args:
        kind: one of KINDS.
        paths: files, or folders that hold them.
        catalog_writer: the catalog that new tracks enter beside the lake's tables; None writes the lake alone.
        column_map: csv, parquet: our column names -> the file's (csv_parquet.SYNONYMS lists ours).
        user: whose history it is, for personal exports ("me" if absent); a public id joins that listener.
        progress: called with (bytes of the files read, bytes in all).

    Raises:
        BadInput: an unknown kind, or a file that cannot be read.
    """
    if kind not in KINDS:
        raise BadInput(f"unknown kind {kind!r}: one of {', '.join(KINDS)}")
    began = time.perf_counter()
    files = expand(paths, SUFFIXES[kind])
    missing = [path for path in files if not path.is_file()]
    if missing or not files:
        raise BadInput(f"no file to import at {missing[0] if missing else ', '.join(map(str, paths))}")
    tally = _tally(files, progress)
    summary = ImportSummary(kind)
    lake = Lake(home.make().lake)
    with tempfile.TemporaryDirectory(dir=home.work, prefix="import-") as folder:
        listens = _listens(kind, files, tally, column_map, user)
        tracks = stage(listens, Path(folder), parts_for(files))
        matched = match(tracks, lake, _TRACK_IDS.get(kind, kind), ids_decide=kind in _TABLES)
        _write_catalog(matched, lake, catalog_writer)
        users = _write_plays(Path(folder), matched, lake, "log" if kind in _TABLES else kind, summary)
    summary.read, summary.refused, summary.problems = tally.read, dict(tally.refused), tally.problems
    summary.listeners, summary.user_ids = len(users), users[:_SHOWN_USERS]
    if users:
        refresh_states(lake, open_store(home), users)
    summary.seconds = time.perf_counter() - began
    return summary


def _tally(files: list[Path], progress: Callable[[int, int], None] | None) -> Tally:
    total, done = sum(path.stat().st_size for path in files), 0

    def advance(size: int) -> None:
        nonlocal done
        done = min(done + size, total)
        if progress is not None:
            progress(done, total)

    return Tally(progress=advance)


def _listens(
    kind: str, files: list[Path], tally: Tally, column_map: Mapping[str, str] | None, user: str | None
) -> Iterator[pl.DataFrame]:
    if kind == "spotify":
        return read_spotify(files, tally, user or "me")
    if kind == "listenbrainz":
        return read_listenbrainz(files, tally, user)
    if kind == "lastfm":
        return read_lastfm(files, tally, user or "me")
    return read_tables(files, tally, column_map, user)


def _write_catalog(matched: Matched, lake: Lake, writer: CatalogWriter | None) -> None:
    """The SQL catalog first: what it refuses must not reach the lake."""
    if writer is not None:
        writer.write(matched.new)
    for table, rows in matched.new.items():
        if not rows.is_empty() or not lake.has(table):
            lake.append(table, rows)


def _write_plays(
    folder: Path, matched: Matched, lake: Lake, source: str, summary: ImportSummary
) -> list[str]:
    """Appends the plays part by part; returns the listeners."""
    ways: Counter[str] = Counter()
    users: set[str] = set()
    for listens in staged(folder):
        events = to_events(listens, matched.tracks, source)
        fresh = new_rows(lake, events, slack_days=1) if lake.has("events") else events
        _append(fresh.drop("way"), lake)
        ways.update(dict(fresh["way"].value_counts().iter_rows()))
        users.update(events["user_id"].unique())
        _add_listeners(events, lake)
        summary.duplicates += listens.height - fresh.height
    summary.kept = ways.total()
    summary.play_match_rate = 1 - ways["new"] / max(ways.total(), 1)
    summary.tracks = dict(Counter(matched.tracks.unique("track_id")["way"].to_list()))
    summary.match_rate = 1 - summary.tracks.get("new", 0) / max(sum(summary.tracks.values()), 1)
    return sorted(users)


def _append(events: pl.DataFrame, lake: Lake) -> None:
    """Appends some days at a time: a Delta writer keeps buffers for every day partition it writes."""
    days = events["day"].unique().sort()
    for first in range(0, len(days), _DAYS_AT_ONCE):
        some = days[first : first + _DAYS_AT_ONCE]
        lake.append("events", events.filter(pl.col("day").is_between(some[0], some[-1])))


def _add_listeners(events: pl.DataFrame, lake: Lake) -> None:
    known = (
        lake.scan("listeners").collect()
        if lake.has("listeners")
        else pl.DataFrame(schema=TABLES["listeners"])
    )
    rows = (
        events.sort("ts")
        .group_by("user_id", maintain_order=True)
        .agg(
            pl.col("conn_country").drop_nulls().last().alias("country"),
            pl.col("tz").drop_nulls().last(),
            pl.col("ts").first().alias("joined_at"),
        )
        .join(known.select("user_id"), on="user_id", how="anti")
    )
    if not rows.is_empty():
        lake.append("listeners", rows)
