"""A worker's share of a log: the plays of its own listeners, under row numbers of the whole.

Every worker cuts the same windows of the whole log (their order is a matter of listeners' sizes and a seed), and keeps
those of its own listeners: so a step of many workers is the step of one, divided.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.sequence.team import Team, sum_counts
from models.sequence.windows import Windows
from recsys.plays import I64, Plays


@dataclass(frozen=True)
class Share:
    """`plays` numbers all listeners of the log, and holds rows of this worker's alone."""

    plays: Plays
    offsets: I64  # (listeners + 1,) where each one's rows lie in the whole log

    @classmethod
    def of(cls, plays: Plays, team: Team) -> Share:
        """From each worker's own rows; the listeners of workers must not overlap."""
        if team.size == 1:
            return cls(plays, plays.offsets)
        sizes = sum_counts(team, np.diff(plays.offsets))
        return cls(plays, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))

    def own(self, windows: Windows) -> Windows:
        """Those of the whole log's windows that are of this worker's listeners, under its own row numbers."""
        if self.offsets is self.plays.offsets:
            return windows
        # A window begins before its listener's last row, so the last offset at or before it is that listener's.
        listener = np.searchsorted(self.offsets, windows.starts, side="right") - 1
        mine = np.diff(self.plays.offsets)[listener] > 0
        shift = (self.plays.offsets[listener] - self.offsets[listener])[mine]
        kept = windows.take(np.flatnonzero(mine))
        return Windows(kept.starts + shift, kept.stops + shift, kept.first + shift, kept.last + shift)
