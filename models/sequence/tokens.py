"""Plays as token columns: each slot holds one play and the known circumstances of the play that follows.

Slot 0 opens every window (no play); slot k holds the window's k-th play. The circumstances of a following
play (pause before it, local hour, device) are known when it is requested, so causality holds: slot k reads
plays up to k and nothing later, and predicts play k + 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from recsys.plays import I64, SESSION_GAP_MS, Plays
from recsys.types import DEVICES, QueryBatch

GAPS = 26
"""Pause buckets: 0 = first play of the listener or unknown, 1 = no pause, then powers of two of a second."""
HOURS = 24
NO_OUTCOME = 3
KNOWN_SURFACES = 5
"""Surfaces that the network tells apart, the first of types.SURFACES. Later ones read as unknown, so that a release
trained before they existed still loads."""
Ints: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Tokens:
    """Columns (b, max_length + 1); right-padded."""

    track: Ints  # dense number; n_tracks: unknown; n_tracks + 1: no play (slot 0, padding)
    outcome: Ints  # plays.Outcome; NO_OUTCOME without a play
    surface: Ints  # KNOWN_SURFACES where unknown
    gap: Ints  # of the following play, 0..GAPS - 1
    hour: Ints  # of the following play
    device: Ints  # of the following play; len(DEVICES) where unknown
    length: Ints  # (b,) plays in the window; the last real slot's number


@dataclass(frozen=True)
class Ahead:
    """The circumstances of the play that follows the window, (b,) each."""

    gap: Ints
    hour: Ints
    device: Ints


def gap_bucket(pause_ms: I64) -> Ints:
    """Pause between the end of one play and the start of the next, in powers of two of a second."""
    seconds = np.maximum(pause_ms, 0) / 1000.0
    bucket: Ints = np.clip(np.floor(np.log2(1.0 + seconds)) + 1, 1, GAPS - 1).astype(np.int64)
    return bucket


def gap_before(plays: Plays) -> Ints:
    """(rows,) bucket of the pause before each play; 0 for a listener's first row."""
    out = np.zeros(plays.rows, np.int64)
    ends = plays.start[:-1] + plays.ms_played[:-1]
    out[1:] = gap_bucket(plays.start[1:] - ends)
    out[plays.offsets[:-1][np.diff(plays.offsets) > 0]] = 0
    return out


def window_tokens(
    plays: Plays, gaps: Ints, starts: I64, stops: I64, ahead: Ahead, max_length: int, tracks: int
) -> Tokens:
    """Tokens of the windows plays[starts[j]:stops[j]], each at most max_length rows long."""
    length = (stops - starts).astype(np.int64)
    slots = np.arange(max_length + 1)
    here = np.minimum(starts[:, None] + slots - 1, max(plays.rows - 1, 0))
    filled = (slots >= 1) & (slots <= length[:, None])
    following = np.minimum(starts[:, None] + slots, max(plays.rows - 1, 0))
    inside = slots < length[:, None]
    last = slots == length[:, None]

    def own(column: NDArray[np.integer], unknown: int, empty: int) -> Ints:
        values = column[np.maximum(here, 0)] if plays.rows else np.zeros(here.shape, np.int64)
        return np.where(filled, np.where(values < 0, unknown, values), empty).astype(np.int64)

    def next_(column: NDArray[np.integer], end: Ints, unknown: int) -> Ints:
        values = column[following] if plays.rows else np.zeros(here.shape, np.int64)
        values = np.where(inside, values, np.where(last, end[:, None], 0))
        return np.where(values < 0, unknown, values).astype(np.int64)

    gap = next_(gaps, ahead.gap, 0)
    gap[:, 0] = 0  # a cut window must not tell what came before it
    return Tokens(
        track=own(plays.track, tracks, tracks + 1),
        outcome=own(plays.outcome, NO_OUTCOME, NO_OUTCOME),
        surface=np.minimum(own(plays.surface, KNOWN_SURFACES, KNOWN_SURFACES), KNOWN_SURFACES),
        gap=gap,
        hour=next_(plays.hour, ahead.hour, 0),
        device=next_(plays.device, ahead.device, len(DEVICES)),
        length=length,
    )


def request_tokens(batch: QueryBatch, max_length: int, tracks: int) -> Tokens:
    """Tokens of b requests: each one's last max_length plays, and the circumstances of now."""
    plays = batch.histories.last(max_length)
    starts, stops = plays.offsets[:-1], plays.offsets[1:]
    pause = np.zeros(len(batch), np.int64)
    some = stops > starts
    newest = stops[some] - 1
    pause[some] = gap_bucket(batch.now[some] - plays.start[newest] - plays.ms_played[newest])
    ahead = Ahead(pause, batch.hour.astype(np.int64), batch.device.astype(np.int64))
    return window_tokens(plays, gap_before(plays), starts, stops, ahead, max_length, tracks)


def in_current_session(histories: Plays, now: I64) -> NDArray[np.bool_]:
    """(rows,) whether each play belongs to the session that a request at `now` (b,) continues."""
    out = np.zeros(histories.rows, bool)
    some = np.flatnonzero(np.diff(histories.offsets) > 0)
    last = histories.offsets[some + 1] - 1
    open_ = now[some] - histories.start[last] - histories.ms_played[last] <= SESSION_GAP_MS
    session = np.full(len(histories), -1, np.int64)
    session[some] = np.where(open_, histories.session[last], -1)
    np.equal(histories.session, session[histories.owner], out=out)
    return out
