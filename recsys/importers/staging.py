"""Plays on their way in, parted by listener into files on disk, so that each part fits in memory whatever the log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from recsys.importers.listens import LISTENS
from recsys.importers.match import TRACK_KEY

_PART_BYTES = 24 * 1024 * 1024
_MOST_PARTS = 256


def parts_for(paths: list[Path]) -> int:
    """How many parts a log of this size needs (compressed forms count five times)."""
    size = sum(
        p.stat().st_size * (1 if p.suffix.lower() in (".csv", ".json", ".jsonl") else 5) for p in paths
    )
    return min(1 + size // _PART_BYTES, _MOST_PARTS)


def stage(listens: Iterable[pl.DataFrame], folder: Path, parts: int) -> pl.DataFrame:
    """Writes plays to one folder a part; returns the distinct tracks (TRACK_KEY, duration_ms) among them."""
    tracks = pl.DataFrame(schema={name: LISTENS[name] for name in [*TRACK_KEY, "duration_ms"]})
    for number, frame in enumerate(listens):
        part = frame["user"].hash(seed=0) % parts
        for which in part.unique():
            target = folder / str(which)
            target.mkdir(exist_ok=True)
            frame.filter(part == which).write_parquet(target / f"{number}.parquet")
        seen = pl.concat([tracks, frame.select(tracks.columns)])
        tracks = seen.group_by(TRACK_KEY, maintain_order=True).agg(pl.col("duration_ms").max())
    return tracks


def staged(folder: Path) -> Iterator[pl.DataFrame]:
    """The parts, one after the other; all plays of a listener are in one part."""
    for target in sorted(folder.iterdir()):
        yield pl.read_parquet(target / "*.parquet")
