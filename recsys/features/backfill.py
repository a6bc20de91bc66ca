"""Listener states of a whole lake at once; equal to folding every event through `recsys.features.state.apply`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from recsys.dataset import plays_frame, trainable
from recsys.features.registers import Mark, newest, standing
from recsys.lake import Lake
from recsys.plays import WINDOW
from recsys.schemas import OF_THE_SERVER, EventKind
from recsys.types import UserState

_ROWS_AT_ONCE = 5_000_000
_ORIGIN = ("session_id", "playlist_id")
_COLUMNS = ("track_id", "start", "ms_played", "outcome", "hour", "device", "surface")


def backfill(
    lake: Lake, users: Sequence[str] | None = None, version: int | None = None
) -> Iterator[UserState]:
    """States of all listeners (or some) from the lake's events; `offset` stays -1.

    Works through the listeners in parts, so that memory is bounded by the part, not by the lake.

    Raises:
        NotReady: the lake has no events.
    """
    events = lake.scan("events", version).filter(
        ~pl.col("kind").is_in([kind.value for kind in OF_THE_SERVER]),
        ~pl.col("incognito_mode").fill_null(False),
    )
    if users is not None:
        events = events.filter(pl.col("user_id").is_in(list(users)))
    parts = 1 + events.select(pl.len()).collect().item() // _ROWS_AT_ONCE
    for part in range(parts):
        mine = pl.col("user_id").hash(seed=0) % parts == part
        yield from states_of(events.filter(mine) if parts > 1 else events)


def states_of(events: pl.LazyFrame) -> Iterator[UserState]:
    """States of every listener in `events`, which hold no decisions and nothing incognito."""
    consent = _consent(events)
    kept = trainable(events)
    plays = _windows(kept)
    saves, marks = _saves(kept), _marks(events)
    for user_id, consent_at, personalized in consent.iter_rows():
        mine = tuple(saves.get(user_id, ()))
        yield UserState(
            user_id,
            **plays.get(user_id, {}),
            saved=frozenset(track for track, _, saved in mine if saved),
            saves=mine,
            **standing(tuple(marks.get(user_id, ()))),
            personalized=personalized,
            consent_at=consent_at,
        )


def _consent(events: pl.LazyFrame) -> pl.DataFrame:
    """user_id, time of the newest event, its consent (a refusal wins a tie); sorted by user_id."""
    at, flag = pl.col("ts").dt.epoch("ms"), pl.col("consent_personalization").fill_null(True)
    return (
        events.select("user_id", at=at, flag=flag)
        .group_by("user_id")
        .agg(
            pl.col("at").max().alias("newest"),
            pl.col("flag").filter(pl.col("at") == pl.col("at").max()).min(),
        )
        .sort("user_id")
        .collect()
    )


def _windows(events: pl.LazyFrame) -> dict[str, dict[str, Any]]:
    """user_id -> play columns of UserState: the last WINDOW, one row for each (start, track_id)."""
    plays = (
        plays_frame(events, also=_ORIGIN)
        .sort("user_id", "start", "track_id", "ms_played", "outcome", "hour", "device", "surface", *_ORIGIN)
        .unique(["user_id", "start", "track_id"], keep="last", maintain_order=True)
    )
    users = plays["user_id"].rle().struct.unnest()
    columns: dict[str, list[Any]] = {name: plays[name].to_list() for name in _COLUMNS}
    columns["origin"] = list(plays.select(_ORIGIN).iter_rows())
    windows: dict[str, dict[str, Any]] = {}
    stop = 0
    for length, user_id in users.select("len", "value").iter_rows():
        stop += length
        first = max(stop - WINDOW, stop - length)
        windows[user_id] = {name: tuple(values[first:stop]) for name, values in columns.items()}
    return windows


def _saves(events: pl.LazyFrame) -> dict[str, list[tuple[str, int, bool]]]:
    """user_id -> (track_id, UTC ms, saved) sorted by track: the newest save or unsave of each (unsave wins ties)."""
    rows = (
        events.filter(pl.col("kind").is_in([EventKind.SAVE.value, EventKind.UNSAVE.value]))
        .select(
            "user_id",
            "track_id",
            at=pl.col("ts").dt.epoch("ms"),
            saved=pl.col("kind") == EventKind.SAVE.value,
        )
        .collect()
        .sort("user_id", "track_id", "at", "saved", descending=[False, False, False, True])
        .unique(["user_id", "track_id"], keep="last", maintain_order=True)
    )
    saves: dict[str, list[tuple[str, int, bool]]] = defaultdict(list)
    for user_id, track_id, at, saved in rows.iter_rows():
        saves[user_id].append((track_id, at, saved))
    return saves


def _marks(events: pl.LazyFrame) -> dict[str, list[Mark]]:
    """user_id -> what the listener has said, in order of (register, id)."""
    marks: dict[str, list[Mark]] = defaultdict(list)
    for user_id, *said in newest(events).iter_rows():
        marks[user_id].append((said[0], said[1], said[2], said[3]))
    return marks
