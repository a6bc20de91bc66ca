"""A ListenBrainz export: JSON lines (plain or .gz), or the zip that holds them.

`listened_at` is the start of a listen. The log does not say how long it lasted: see recsys.importers.durations.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from recsys.importers.jsonfile import json_rows
from recsys.importers.listens import Tally, checked, expand, frames, text, whole
from recsys.importers.times import iso_time


def read_listenbrainz(paths: list[Path], tally: Tally, user: str | None) -> Iterator[pl.DataFrame]:
    """Frames of LISTENS; the listener is `user`, else each line's own user name.

    Raises:
        BadInput: a file that cannot be opened, or an archive without listens.
    """
    files = expand(paths, (".jsonl", ".json", ".jsonl.gz", ".zip"))
    rows = (_listen(row, user, tally) for row in json_rows(files, _is_listens, tally))
    for part in frames(row for row in rows if row is not None):
        yield checked(part, tally)


def _is_listens(name: str) -> bool:
    path = PurePosixPath(name.lower())
    return path.suffix == ".jsonl" and "listens" in path.parts


def _listen(row: dict[str, Any], user: str | None, tally: Tally) -> dict[str, Any] | None:
    track = row.get("track_metadata")
    if not isinstance(track, dict):
        tally.refuse("not a listen (no track_metadata)")
        return None
    info, mapping = _object(track, "additional_info"), _object(track, "mbid_mapping")
    seconds = whole(info.get("duration"))
    return {
        "user": user or text(row.get("user_name")) or "me",
        "at": _time(row),
        "at_end": False,
        "source_id": text(mapping.get("recording_mbid")) or text(info.get("recording_mbid")),
        "isrc": text(info.get("isrc")),
        "title": text(track.get("track_name")),
        "artist": text(track.get("artist_name")),
        "album": text(track.get("release_name")),
        "duration_ms": whole(info.get("duration_ms")) or (seconds * 1000 if seconds else None),
        "platform": text(info.get("media_player")),
    }


def _object(parent: dict[str, Any], name: str) -> dict[str, Any]:
    value = parent.get(name)
    return value if isinstance(value, dict) else {}


def _time(row: dict[str, Any]) -> datetime | None:
    stamp = row.get("listened_at", row.get("timestamp"))
    seconds = whole(stamp)
    if seconds is not None and 0 <= seconds < 5_000_000_000:
        return datetime.fromtimestamp(seconds, UTC)
    return iso_time(stamp)
