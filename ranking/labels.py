"""What came of it: the labels of ranking examples, from sessions, saves and logged slots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.dataset import Dataset, trainable
from recsys.features.registers import in_taste
from recsys.lake import Lake
from recsys.pipeline import Candidates
from recsys.plays import I8, I64, Outcome
from recsys.schemas import EventKind

SAVE_LATE_MS = 3_600_000
"""A save up to this long after a session's last play began still belongs to the session."""


@dataclass(frozen=True)
class Saves:
    """First save of each (listener, track), sorted by pair."""

    pair: I64  # listener << 32 | track
    ts: I64  # UTC ms

    def between(self, pair: I64, since: I64, until: I64) -> NDArray[np.bool_]:
        """Whether each pair was saved for the first time in [since, until)."""
        if not len(self.pair):
            return np.zeros(len(pair), bool)
        at = np.minimum(np.searchsorted(self.pair, pair), len(self.pair) - 1)
        return np.asarray((self.pair[at] == pair) & (since <= self.ts[at]) & (self.ts[at] < until))


def load_saves(lake: Lake, data: Dataset) -> Saves:
    """Saves that may train, of the listeners and tracks of `data`."""
    rows = (
        trainable(in_taste(lake.scan("events", data.versions.get("events"))))
        .filter(pl.col("kind") == EventKind.SAVE.value)
        .group_by("user_id", "track_id")
        .agg(pl.col("ts").min().dt.epoch("ms"))
        .collect()
    )
    return saves_of(dense_rows(rows, data))


def saves_of(rows: pl.DataFrame) -> Saves:
    """From columns user, track (dense) and ts (ms)."""
    pair = rows["user"].to_numpy().astype(np.int64) << 32 | rows["track"].to_numpy()
    order = np.argsort(pair, kind="stable")
    return Saves(pair[order], rows["ts"].to_numpy().astype(np.int64)[order])


def dense_rows(rows: pl.DataFrame, data: Dataset) -> pl.DataFrame:
    """Rows of known listeners and tracks, with their dense numbers `user` and `track`, in the given order."""
    users = pl.DataFrame({"user_id": data.user_ids, "user": np.arange(len(data.user_ids))})
    tracks = pl.DataFrame({"track_id": data.items.track_ids, "track": np.arange(len(data.items))})
    return rows.join(users, on="user_id", maintain_order="left").join(
        tracks, on="track_id", maintain_order="left"
    )


@dataclass(frozen=True)
class Sessions:
    """What each of b listeners played in the rest of one session, sorted by (request, track)."""

    pair: I64  # request << 32 | track
    outcome: I8  # FINISH if it was ever finished, else that of its last play
    surface: I8  # number in SURFACES of that play
    until: I64  # (b,) UTC ms up to which a save belongs to the session

    def find(self, candidates: Candidates) -> I64:
        """(m,) row of each candidate; -1 where it was not played."""
        if not len(self.pair):
            return np.full(len(candidates), -1, np.int64)
        wanted = candidates.owner << 32 | candidates.ids
        at = np.minimum(np.searchsorted(self.pair, wanted), len(self.pair) - 1)
        return np.where(self.pair[at] == wanted, at, -1)


def owner_of(data: Dataset, rows: I64) -> I64:
    """Listener number of the given rows of `data.plays`."""
    return np.asarray(np.searchsorted(data.plays.offsets, rows, side="right") - 1, np.int64)


def session_starts(data: Dataset, since: int, until: int) -> I64:
    """Rows of `data.plays` that open a session in [since, until) and are not the listener's first."""
    return _moments(data, since, until)[0]


def mid_session(data: Dataset, since: int, until: int) -> I64:
    """Rows of `data.plays` in [since, until) with an earlier play in their session."""
    return _moments(data, since, until)[1]


def _moments(data: Dataset, since: int, until: int) -> tuple[I64, I64]:
    plays = data.plays
    opens = np.zeros(plays.rows, bool)
    opens[1:] = plays.session[1:] != plays.session[:-1]
    first = plays.offsets[:-1][np.diff(plays.offsets) > 0]
    opens[first] = False
    inside = (plays.start >= since) & (plays.start < until)
    goes_on = ~opens & inside
    goes_on[first] = False
    return np.flatnonzero(opens & inside), np.flatnonzero(goes_on)


def sessions_from(data: Dataset, rows: I64) -> Sessions:
    """What was played from each of the given rows to the end of its session."""
    plays = data.plays
    stops = plays.offsets[owner_of(data, rows) + 1]
    ends = np.array(
        [
            first + np.searchsorted(plays.session[first:stop], plays.session[first], side="right")
            for first, stop in zip(rows, stops, strict=True)
        ],
        np.int64,
    )
    played = plays.slices(rows, ends)
    known = np.flatnonzero(played.track >= 0)
    pair = played.owner[known] << 32 | played.track[known]
    order = np.lexsort((np.arange(len(known)), played.outcome[known] == Outcome.FINISH, pair))
    best = order[np.append(np.diff(pair[order]) != 0, True)] if len(order) else order
    until = plays.start[ends - 1] + SAVE_LATE_MS
    return Sessions(pair[best], played.outcome[known][best], played.surface[known][best], until)
