"""Radio stations between pages: a small state in the online store, and the cursor that points into it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import orjson

from recsys.errors import BadInput, StoreUnavailable, UnknownId
from recsys.ports import OnlineStore
from recsys.state_store import StateStore
from recsys.types import Query

_CURSOR = re.compile(r"([0-9a-f-]{36})\.(\d{1,9})")
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
    dial: float = 0.5
    forgotten: int = 0  # tracks before `tracks`, beyond MEMORY

    @property
    def position(self) -> int:
        """Tracks played so far."""
        return self.forgotten + len(self.tracks)

    @property
    def cursor(self) -> str:
        return f"{self.station_id}.{self.position}"


def load(store: OnlineStore, cursor: str) -> Station:
    """The station at a cursor; an older cursor sees only what had been played by then.

    Raises:
        BadInput: not a cursor of ours.
        UnknownId: no such station.
    """
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise BadInput("cursor must be one that a radio answer returned")
    station = _stored(store, match[1])
    if station is None:
        raise UnknownId("no such station: start a new one with seed=")
    return replace(station, tracks=station.tracks[: max(int(match[2]) - station.forgotten, 0)])


def resume(store: OnlineStore, cursor: str, seed: str, query: Query) -> Station:
    """Like `load`; while the store is down, a station that this process does not remember goes on from its seed
    alone: it keeps its cursor, and tracks may come again."""
    try:
        return load(store, cursor)
    except StoreUnavailable:
        if not seed:
            raise
        return Station(cursor.partition(".")[0], seed, query.user.user_id, query.now)


def extend(store: StateStore, station: Station, page: tuple[str, ...], page_id: str) -> Station:
    """The station with one more page, kept; bounded to its last MEMORY tracks.

    Where another answer went on from the same cursor meanwhile, that one keeps the station and this one becomes a
    station of its own, named by `page_id`: each cursor goes on from what its own listener heard.
    """
    tracks = station.tracks + page
    forgotten = max(len(tracks) - MEMORY, 0)
    longer = replace(station, tracks=tracks[forgotten:], forgotten=station.forgotten + forgotten)
    with store.exclusive():
        try:
            stored = _stored(store, station.station_id)
        except StoreUnavailable:  # a store that writes later: nobody else's page can be seen
            stored = None
        if stored is not None and stored.position > station.position:
            longer = replace(longer, station_id=page_id)
        store.put([(f"station:{longer.station_id}", orjson.dumps(longer.__dict__))])
    return longer


def _stored(store: OnlineStore, station_id: str) -> Station | None:
    raw = store.get(f"station:{station_id}")
    if raw is None:
        return None
    body = orjson.loads(raw)
    return Station(**{**body, "tracks": tuple(body["tracks"])})
