"""A listener's history as the user tower reads it: each distinct track once, with how it was played.

traces = trace(plays)                                   # once for a log
gather(plays, traces, Queries(...), kin(items), max_length=192)   # for any queries into that log
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from recsys.items import Items
from recsys.plays import I8, I16, I64, WINDOW, Outcome, Plays
from recsys.schemas import Surface
from recsys.types import SURFACES, QueryBatch

F32: TypeAlias = NDArray[np.float32]

MS_PER_HOUR = 3_600_000
HALF_LIVES_H = (4.0, 36.0, 240.0, 1440.0)
"""Half-lives, in hours, of the decayed play counts: a session, a day or two, a week or two, the long term."""
KINDS = 3
"""Kin of a track that lend it their plays: its artist's, its album's and its genre's tracks."""
TRACK_FEATURES = len(HALF_LIVES_H) + 9 + 3 * KINDS
LISTENER_FEATURES = 5
_ORGANIC = np.array([s in (Surface.LIBRARY.value, Surface.SEARCH.value) for s in SURFACES] + [False])
"""By surface, the last place for one not known (-1): whether the listener looked the track up."""
_DENSE = 1 << 16
"""Keys up to this are counted in a table as they are."""


@dataclass(frozen=True)
class Traces:
    """What the plays of one track by one listener add up to, at each play row (that play included)."""

    previous: I64  # (n,) row of the same listener's last play of the track before this one; -1 where none
    following: I64  # (n,) row of the next one; n where none
    streams: F32  # (n, len(HALF_LIVES_H)) streams, each decayed to this row's start
    skips: F32  # (n,) skips, decayed with the third half-life
    clock: F32  # (n, 2) cosine and sine of the local hour of streams, summed, decayed with the last half-life


@dataclass(frozen=True)
class Queries:
    """b points in a log: the history is rows first[j]:stop[j], the last WINDOW of them."""

    first: I64
    stop: I64
    now: I64  # UTC ms
    hour: I8
    device: I8
    country: I16

    def __len__(self) -> int:
        return len(self.now)

    def take(self, rows: NDArray[np.integer]) -> Queries:
        return Queries(
            self.first[rows],
            self.stop[rows],
            self.now[rows],
            self.hour[rows],
            self.device[rows],
            self.country[rows],
        )

    @classmethod
    def of(cls, batch: QueryBatch) -> Queries:
        offsets = batch.histories.offsets
        return cls(offsets[:-1], offsets[1:], batch.now, batch.hour, batch.device, batch.country)


@dataclass(frozen=True)
class History:
    """b listeners by up to L distinct tracks, most recent first; -1 pads."""

    track: I64  # (b, L)
    features: F32  # (b, L, TRACK_FEATURES)
    listener: F32  # (b, LISTENER_FEATURES)
    hour: I64  # (b,) 0..23
    weekday: I64  # (b,) of the UTC day
    device: I64  # (b,) 0 unknown
    country: I64  # (b,)


def trace(plays: Plays) -> Traces:
    """One pass over a log; the decayed counts are a segmented scan of log2(repeats) rounds (Hillis & Steele 1986)."""
    n = plays.rows
    key = plays.owner * (int(plays.track.max(initial=0)) + 2) + plays.track + 1
    order = np.argsort(key, kind="stable")
    same = np.zeros(n, bool)
    same[1:] = key[order][1:] == key[order][:-1]
    previous, following = np.full(n, -1, np.int64), np.full(n, n, np.int64)
    previous[order[1:][same[1:]]] = order[:-1][same[1:]]
    following[order[:-1][same[1:]]] = order[1:][same[1:]]
    hours, group = plays.start[order] / MS_PER_HOUR, np.cumsum(~same)
    stream = (plays.outcome[order] != Outcome.SKIP).astype(np.float64)
    angle = plays.hour[order] * (np.pi / 12)
    long = HALF_LIVES_H[-1]
    k, skips = len(HALF_LIVES_H), HALF_LIVES_H[2]
    values = np.column_stack([*[stream] * k, 1 - stream, stream * np.cos(angle), stream * np.sin(angle)])
    sums = np.empty(values.shape, np.float32)
    sums[order] = _decayed(values, hours[:, None] / np.array([*HALF_LIVES_H, skips, long, long]), group)
    return Traces(previous, following, sums[:, :k], sums[:, k], sums[:, k + 1 :])


def kin(items: Items) -> I64:
    """(n, KINDS) artist, album and genre of each track; -1 where unknown."""
    return np.column_stack([items.artist, items.album, items.genre]).astype(np.int64)


def _decayed(values: NDArray[np.float64], time: NDArray[np.float64], group: I64) -> NDArray[np.float64]:
    """(n, c) running sums within each group, each value halved per unit of its column's time (n, c); rows sorted by
    group and time."""
    total, step = values.copy(), 1
    while step < len(values):
        joined = np.flatnonzero(group[step:] == group[:-step])
        if not len(joined):
            break
        decay = np.exp2(time[joined] - time[joined + step])
        total[joined + step] += total[joined] * decay
        step *= 2
    return total


def gather(plays: Plays, traces: Traces, queries: Queries, kinship: I64, max_length: int) -> History:
    """The queries' histories, padded to the longest of them (at most max_length, at least 1)."""
    first = np.maximum(queries.first, queries.stop - WINDOW)
    lengths = queries.stop - first
    ends = np.cumsum(lengths)
    owner = np.repeat(np.arange(len(queries)), lengths)
    rows = np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - (ends - lengths), lengths)
    newest = (traces.following[rows] >= queries.stop[owner]) & (plays.track[rows] >= 0)
    rows, owner = rows[newest], owner[newest]
    counts = np.bincount(owner, minlength=len(queries))
    place = np.repeat(np.cumsum(counts), counts) - 1 - np.arange(len(rows))
    kept = place < max_length
    rows, owner, place = rows[kept], owner[kept], place[kept]
    width = max(1, min(max_length, int(counts.max(initial=0))))
    track = np.full((len(queries), width), -1, np.int64)
    track[owner, place] = plays.track[rows]
    features = np.zeros((len(queries), width, TRACK_FEATURES), np.float32)
    features[owner, place] = _track_features(plays, traces, queries, kinship, rows, owner, place)
    return History(
        track=track,
        features=features,
        listener=_listener_features(plays, queries, lengths, counts),
        hour=queries.hour.astype(np.int64),
        weekday=(queries.now // (24 * MS_PER_HOUR) + 4) % 7,
        device=queries.device.astype(np.int64) + 1,
        country=queries.country.astype(np.int64),
    )


def _track_features(
    plays: Plays, traces: Traces, queries: Queries, kinship: I64, rows: I64, owner: I64, place: I64
) -> NDArray[np.float64]:
    """(m, TRACK_FEATURES) of the newest play rows of tracks, as of their query's time."""
    hours = np.maximum(queries.now[owner] - plays.start[rows], 0) / MS_PER_HOUR
    decay = np.exp2(-hours[:, None] / np.array(HALF_LIVES_H))
    streams = traces.streams[rows] * decay
    now = queries.hour[owner] * (np.pi / 12)
    near = (traces.clock[rows, 0] * np.cos(now) + traces.clock[rows, 1] * np.sin(now)) * decay[:, -1]
    outcome = plays.outcome[rows]
    own = np.column_stack(
        [
            np.log(streams + 0.02) / 2,
            np.log(traces.skips[rows] * decay[:, 2] + 0.02) / 2,
            np.log(hours + 0.1) / 3 - 1,
            outcome == Outcome.SKIP,
            outcome == Outcome.FINISH,
            _ORGANIC[plays.surface[rows]],
            near / (streams[:, -1] + 0.1),
            plays.device[rows] == queries.device[owner],
            np.log1p(place) / 2 - 1,
            traces.previous[rows] >= 0,
        ]
    )
    values = np.column_stack([streams[:, 1], streams[:, -1], near])
    return np.column_stack([own, *(_of_kin(kind, values, owner) for kind in kinship[plays.track[rows]].T)])


def _of_kin(kind: I64, values: NDArray[np.float64], owner: I64) -> NDArray[np.float64]:
    """(m, 3) log recent streams, log streams and likeness of hour of all tracks of a listener of the same kind."""
    group = owner * (kind.max(initial=0) + 2) + kind + 1
    if group.max(initial=0) > _DENSE:
        group = np.unique(group, return_inverse=True)[1]
    recent, long, near = (np.bincount(group, column)[group] for column in values.T)
    return np.column_stack([np.log(recent + 0.02) / 2, np.log(long + 0.02) / 2, near / (long + 0.1)])


def _listener_features(plays: Plays, queries: Queries, lengths: I64, distinct: I64) -> F32:
    """(b, LISTENER_FEATURES): how much, how repetitively and how lately each listener has listened."""
    last = np.maximum(queries.stop - 1, 0)
    some = lengths > 0
    start = plays.start[last] if plays.rows else np.zeros(len(queries), np.int64)
    gap = np.where(some, np.maximum(queries.now - start, 0) / MS_PER_HOUR, 0)
    return np.column_stack(
        [
            some,
            np.log1p(lengths) / 3,
            np.log1p(distinct) / 3,
            distinct / np.maximum(lengths, 1),
            np.log(gap + 0.1) / 3,
        ]
    ).astype(np.float32)
