"""Which tracks stand in one listener's window: all of them, and those not skipped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.plays import Outcome
from recsys.types import QueryBatch


def heard(batch: QueryBatch, j: int) -> NDArray[np.int32]:
    """The known tracks in listener j's window, one a play, skipped ones too."""
    track = batch.histories.track[_rows(batch, j)]
    return track[track >= 0]


def unskipped(batch: QueryBatch, j: int) -> NDArray[np.int32]:
    """The known tracks of listener j's plays that were not skips, one a play."""
    rows = _rows(batch, j)
    track, outcome = batch.histories.track[rows], batch.histories.outcome[rows]
    kept: NDArray[np.int32] = track[(track >= 0) & (outcome != Outcome.SKIP)]
    return kept


def liked(batch: QueryBatch, j: int) -> NDArray[np.int32]:
    """The distinct tracks in listener j's window that were not skipped at least once."""
    tracks: NDArray[np.int32] = np.unique(unskipped(batch, j))
    return tracks


def _rows(batch: QueryBatch, j: int) -> slice:
    return slice(int(batch.histories.offsets[j]), int(batch.histories.offsets[j + 1]))
