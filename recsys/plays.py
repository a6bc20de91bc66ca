"""Listening histories as columns of dense numbers: the one form in which models and features see plays.

The same type holds a training log (all listeners) and the histories of a batch of requests (b listeners),
so a model's training and its inference read the same columns. Rows are sorted by (listener, start of play).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

WINDOW = 512
"""A listener's state is the last WINDOW plays; every feature is a function of that window, so that batch
backfill, stream and request agree by construction."""
SESSION_GAP_MS = 30 * 60_000
"""A pause longer than this starts a new session (where the log itself names no session)."""

I8: TypeAlias = NDArray[np.int8]
I16: TypeAlias = NDArray[np.int16]
I32: TypeAlias = NDArray[np.int32]
I64: TypeAlias = NDArray[np.int64]


class Outcome(IntEnum):
    """How a play ended."""

    SKIP = 0  # before 30 s, by the listener
    PARTIAL = 1  # a stream (30 s or more) that did not reach the end
    FINISH = 2  # reached the end (reason_end = trackdone)


@dataclass(frozen=True)
class Plays:
    """Columns of equal length n for b listeners; listener j owns rows offsets[j]:offsets[j+1]."""

    offsets: I64  # (b+1,)
    track: I32  # dense track number; -1 where the release does not know the track
    start: I64  # UTC ms at which the play started
    outcome: I8  # Outcome
    ms_played: I32
    session: I32  # number of the session within the listener, from 0, by pause (types.session_numbers)
    hour: I8  # local hour of day at start, 0..23
    device: I8  # number in DEVICES
    surface: I8  # number in SURFACES: from where it was played

    def __len__(self) -> int:
        """Number of listeners."""
        return len(self.offsets) - 1

    @property
    def rows(self) -> int:
        return len(self.track)

    @cached_property
    def owner(self) -> I64:
        """(n,) listener number of each row."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def take(self, listeners: NDArray[np.integer]) -> Plays:
        """The histories of the given listeners, in that order (repeats allowed)."""
        starts, stops = self.offsets[listeners], self.offsets[np.asarray(listeners) + 1]
        return self.slices(starts, stops)

    def slices(self, starts: I64, stops: I64) -> Plays:
        """A batch whose j-th history is rows starts[j]:stops[j] of this one (may overlap)."""
        if len(starts) == 1:  # one request: views, no copies
            start = int(starts[0])
            stop = max(start, int(stops[0]))
            return self._rows(np.array([0, stop - start], np.int64), slice(start, stop))
        lengths = np.maximum(np.asarray(stops) - np.asarray(starts), 0)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.repeat(np.asarray(starts) - offsets[:-1], lengths) + np.arange(offsets[-1])
        return self._rows(offsets, rows)

    def last(self, n: int) -> Plays:
        """Each listener's last n rows."""
        stops = self.offsets[1:]
        return self.slices(np.maximum(self.offsets[:-1], stops - n), stops)

    def before(self, ms: int | I64) -> Plays:
        """Each listener's rows that started strictly before `ms` (one time, or one per listener)."""
        cut = np.broadcast_to(np.asarray(ms, np.int64), (len(self),))
        return self.where(self.start < cut[self.owner])

    def where(self, mask: NDArray[np.bool_]) -> Plays:
        """Only the rows of `mask`; every listener stays, possibly with no rows."""
        if mask.all():
            return self
        counts = np.bincount(self.owner[mask], minlength=len(self))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return self._rows(offsets, np.flatnonzero(mask))

    def _rows(self, offsets: I64, rows: NDArray[np.integer] | slice) -> Plays:
        columns = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "offsets"}
        return replace(self, offsets=offsets, **columns)

    @classmethod
    def empty(cls, listeners: int = 0) -> Plays:
        return cls(
            offsets=np.zeros(listeners + 1, np.int64),
            track=np.zeros(0, np.int32),
            start=np.zeros(0, np.int64),
            outcome=np.zeros(0, np.int8),
            ms_played=np.zeros(0, np.int32),
            session=np.zeros(0, np.int32),
            hour=np.zeros(0, np.int8),
            device=np.zeros(0, np.int8),
            surface=np.zeros(0, np.int8),
        )

    @classmethod
    def concat(cls, parts: Sequence[Plays]) -> Plays:
        """The listeners of all parts, one after the other."""
        if not parts:
            return cls.empty()
        counts = np.concatenate([np.diff(p.offsets) for p in parts])
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        names = [f.name for f in fields(cls) if f.name != "offsets"]
        return cls(offsets=offsets, **{n: np.concatenate([getattr(p, n) for p in parts]) for n in names})
