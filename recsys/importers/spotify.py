"""A person's Spotify extended streaming history: the zip as downloaded, or its JSON files.

`ts` is the end of a play, `ms_played` is exact, and reasons keep the export's words. Podcast episodes and
audiobook chapters are refused and counted. The account's name and IP addresses are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from recsys.importers.jsonfile import json_rows
from recsys.importers.listens import Tally, checked, expand, frames, text, whole
from recsys.importers.times import iso_time
from recsys.schemas import Device

_TEXTS = ("reason_start", "reason_end", "platform", "conn_country")
_TRUTHS = ("shuffle", "skipped", "offline", "incognito_mode")
_DEVICES = {
    Device.SPEAKER: ("cast", "sonos", "speaker", "echo", "alexa", "google home", "partner"),
    Device.CAR: ("tesla", "android auto", "carplay", "car thing"),
    Device.MOBILE: ("android", "ios", "iphone", "ipad"),
    Device.DESKTOP: ("windows", "os x", "osx", "linux", "web"),
}


def read_spotify(paths: list[Path], tally: Tally, user: str) -> Iterator[pl.DataFrame]:
    """Frames of LISTENS of one person.

    Raises:
        BadInput: a file that cannot be opened, or an archive without a history.
    """
    files = expand(paths, (".json", ".zip"))
    rows = (_listen(row, user, tally) for row in json_rows(files, _is_history, tally))
    for part in frames(row for row in rows if row is not None):
        yield checked(part, tally)


def _is_history(name: str) -> bool:
    """Whether an archive's member is a history of music (videos and account data are not)."""
    file = PurePosixPath(name).name.lower()
    return file.endswith(".json") and file.startswith(("streaming_history_audio", "endsong"))


def _listen(row: dict[str, Any], user: str, tally: Tally) -> dict[str, Any] | None:
    title = text(row.get("master_metadata_track_name"))
    if title is None:
        tally.refuse(_fault(row))
        return None
    uri = text(row.get("spotify_track_uri"))
    return {
        "user": user,
        "at": iso_time(row.get("ts")),
        "at_end": True,
        "source_id": uri if uri and uri.startswith("spotify:track:") else None,
        "title": title,
        "artist": text(row.get("master_metadata_album_artist_name")),
        "album": text(row.get("master_metadata_album_album_name")),
        "ms_played": whole(row.get("ms_played")),
        **{name: text(row.get(name)) for name in _TEXTS},
        **{name: row[name] for name in _TRUTHS if isinstance(row.get(name), bool)},
        "device": _device(text(row.get("platform"))),
    }


def _fault(row: dict[str, Any]) -> str:
    if row.get("spotify_episode_uri"):
        return "podcast episode"
    if row.get("audiobook_uri"):
        return "audiobook chapter"
    return "no track name" if "ms_played" in row else "not a row of an extended streaming history"


def _device(platform: str | None) -> str:
    lower = (platform or "").lower()
    for device, words in _DEVICES.items():
        if any(word in lower for word in words):
            return device.value
    return Device.UNKNOWN.value
