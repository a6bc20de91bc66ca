"""Sums over each (listener, key) group of a batch of listening windows, looked up by candidate.

One sort a key serves every aggregate of that key: counts, decayed counts, skips, time of the last play.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from recsys.plays import I64, SESSION_GAP_MS, Outcome, Plays
from recsys.types import QueryBatch

F64: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]

MS_PER_HOUR = 3_600_000
NEAR_HOURS = 2
"""Local hours this far apart count as the same part of the day."""
VALUES = (
    "count",
    "d1",  # decayed counts, half-life in days
    "d7",
    "d30",
    "skips",
    "finishes",
    "session",  # plays of the current session
    "session_skips",
    "near_hour",  # plays within NEAR_HOURS of the request's local hour
    "device",  # plays on the request's device
)
"""Columns of `Window.values`; every aggregate is a sum of one of them over some rows."""


@dataclass(frozen=True)
class Window:
    """The windows of b listeners as n rows with weights."""

    plays: Plays
    now: I64  # (b,)
    owner: I64  # (n,) listener of each row
    age: F64  # (n,) hours from the start of the play to now
    values: F64  # (n, len(VALUES))

    @classmethod
    def of(cls, batch: QueryBatch) -> Window:
        """The batch's windows; computed once a batch, however many stages read them."""
        if "window" not in batch.memo:
            batch.memo["window"] = cls._of(batch)
        window: Window = batch.memo["window"]
        return window

    @classmethod
    def _of(cls, batch: QueryBatch) -> Window:
        plays = batch.histories
        owner = plays.owner
        age = (batch.now[owner] - plays.start) / MS_PER_HOUR
        skip, finish = plays.outcome == Outcome.SKIP, plays.outcome == Outcome.FINISH
        session = current_session(plays, batch.now, owner)
        near = (plays.hour - batch.hour[owner] + 24 + NEAR_HOURS) % 24 <= 2 * NEAR_HOURS
        days = np.array([[1.0], [7.0], [30.0]]) * 24
        values = np.empty((len(owner), len(VALUES)))
        values[:, 0] = 1.0
        values[:, 1:4] = np.exp2(-age / days).T
        columns = (skip, finish, session, session & skip, near, plays.device == batch.device[owner])
        for j, column in enumerate(columns, start=4):
            values[:, j] = column
        return cls(plays, batch.now, owner, age, values)

    def __len__(self) -> int:
        return len(self.now)

    @cached_property
    def totals(self) -> F64:
        """(b, len(VALUES)) sums over each listener's window."""
        return self.per_listener(self.values)

    def per_listener(self, values: F64) -> F64:
        """(b, c) sums of (n, c) values over each listener's rows."""
        out = np.zeros((len(self), values.shape[1]))
        filled = np.diff(self.plays.offsets) > 0
        if filled.any():
            out[filled] = np.add.reduceat(values, self.plays.offsets[:-1][filled], axis=0)
        return out

    @cached_property
    def last_row(self) -> I64:
        """(b,) each listener's newest row; -1 where the window is empty."""
        return np.where(np.diff(self.plays.offsets) > 0, self.plays.offsets[1:] - 1, -1)

    @cached_property
    def tracks(self) -> Groups:
        """Aggregates by (listener, track)."""
        return self.group(self.plays.track)

    def group(self, key: NDArray[np.integer]) -> Groups:
        """Aggregates by (listener, key); rows whose key is negative (unknown) belong to no group."""
        known = np.flatnonzero(key >= 0)
        pairs = (self.owner[known] << 32) + key[known]
        order = np.argsort(pairs, kind="stable")
        pairs, rows = pairs[order], known[order]
        first = changes(pairs)
        if not len(first):
            empty = np.zeros(0)
            return Groups(np.zeros(0, np.int64), np.zeros((0, len(VALUES))), empty, empty)
        last = np.append(first[1:], len(rows)) - 1
        sums = np.add.reduceat(self.values[rows], first, axis=0)
        return Groups(pairs[first], sums, self.age[rows[first]], self.age[rows[last]])


@dataclass(frozen=True)
class Groups:
    """g groups in order of key."""

    pairs: I64  # (g,) listener << 32 | key, ascending
    sums: F64  # (g, len(VALUES))
    first: F64  # (g,) hours since the group's first play in the window
    last: F64  # (g,) hours since its last play

    def look_up(self, owner: I64, key: NDArray[np.integer]) -> Found:
        """The group of each candidate: sums are 0 and times NaN where the listener has none."""
        if not len(self.pairs):
            nothing = np.full(len(owner), np.nan)
            return Found(np.zeros((len(owner), len(VALUES))), nothing, nothing)
        wanted = (owner << 32) + key
        at = np.minimum(np.searchsorted(self.pairs, wanted), len(self.pairs) - 1)
        hit = (self.pairs[at] == wanted) & (key >= 0)
        return Found(
            self.sums[at] * hit[:, None],
            np.where(hit, self.first[at], np.nan),
            np.where(hit, self.last[at], np.nan),
        )


@dataclass(frozen=True)
class Found:
    """Aggregates of the group that each of m candidates belongs to."""

    sums: F64  # (m, len(VALUES))
    first: F64  # (m,)
    last: F64  # (m,)

    def __getitem__(self, name: str) -> F64:
        return np.asarray(self.sums[:, VALUES.index(name)])


def changes(ascending: I64) -> I64:
    """Rows at which a new value begins."""
    new = np.ones(len(ascending), bool)
    np.not_equal(ascending[1:], ascending[:-1], out=new[1:])
    return np.flatnonzero(new)


def current_session(plays: Plays, now: I64, owner: I64) -> Bools:
    """(n,) rows of the session that is still going on at `now`: its last play ended within the session gap."""
    if not plays.rows:
        return np.zeros(0, bool)
    last = np.maximum(plays.offsets[1:] - 1, 0)
    going = now - (plays.start[last] + plays.ms_played[last]) <= SESSION_GAP_MS
    return np.asarray((plays.session == plays.session[last][owner]) & going[owner])
