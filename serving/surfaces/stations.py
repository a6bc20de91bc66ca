"""Radio stations between pages: a small state in the online store, and the cursor that points into it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import orjson

from recsys.errors import BadInput, StoreUnavailable, UnknownId
from recsys.ports import OnlineStore
from recsys.types import Query

_CURSOR = re.compile(r"([0-9a-f-]{36})\.(\d{1,6})")
MEMORY = 5_000
"""Tracks of one station that may not repeat; beyond that the oldest may come again."""


@dataclass(frozen=True)
class Station:
    """One listener's station: its seed and what it has played, in order."""

    station_id: str
    seed: str
    user_id: str
    started: int  # UTC ms
    tracks: tuple[str, ...] = ()

    @property
    def cursor(self) -> str:
        return f"{self.station_id}.{len(self.tracks)}"


def load(store: OnlineStore, cursor: str) -> Station:
    """The station at a cursor; an older cursor sees only what had been played by then.

    Raises:
        BadInput: not a cursor of ours.
        UnknownId: no such station.
    """
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise BadInput("cursor must be one that a radio answer returned")
    raw = store.get(f"station:{match[1]}")
    if raw is None:
        raise UnknownId("no such station: start a new one with seed=")
    body = orjson.loads(raw)
    played = tuple(body.pop("tracks"))[: int(match[2])]
    return Station(**body, tracks=played)


def resume(store: OnlineStore, cursor: str, seed: str, query: Query) -> Station:
    """Like `load`; while the store is down, a station that this process does not remember goes on from its seed
    alone: it keeps its cursor, and tracks may come again."""
    try:
        return load(store, cursor)
    except StoreUnavailable:
        if not seed:
            raise
        return Station(cursor.partition(".")[0], seed, query.user.user_id, query.now)


def save(store: OnlineStore, station: Station) -> None:
    """Keeps a station, bounded to its last MEMORY tracks."""
    body = {**station.__dict__, "tracks": station.tracks[-MEMORY:]}
    store.put([(f"station:{station.station_id}", orjson.dumps(body))])
