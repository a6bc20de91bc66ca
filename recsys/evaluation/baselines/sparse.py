"""Sparse matrices that the baselines share: transition counts, weighted histories, listener profiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.items import MS_PER_DAY
from recsys.plays import I64, Plays

Csr = Any  # scipy.sparse.csr_matrix


def csr(rows: NDArray[Any], cols: NDArray[Any], values: NDArray[Any], shape: tuple[int, int]) -> Csr:
    """A float32 CSR matrix; entries given twice are added."""
    from scipy.sparse import csr_matrix

    matrix = csr_matrix((np.asarray(values, np.float32), (rows, cols)), shape=shape)
    matrix.sum_duplicates()
    return matrix


def follows(plays: Plays, distance: int, n_items: int) -> Csr:
    """(n, n) how often track j was played `distance` plays after track i, within one session."""
    if plays.rows <= distance:
        return csr(np.zeros(0), np.zeros(0), np.zeros(0), (n_items, n_items))
    owner = plays.owner
    a, b = plays.track[:-distance], plays.track[distance:]
    together = (owner[:-distance] == owner[distance:]) & (
        plays.session[:-distance] == plays.session[distance:]
    )
    known = together & (a >= 0) & (b >= 0)
    return csr(a[known], b[known], np.ones(known.sum()), (n_items, n_items))


def baskets(plays: Plays, n_items: int, by_session: bool) -> Csr:
    """(sessions, n) or (listeners, n) which tracks each holds, binary."""
    row = plays.owner
    if by_session and plays.rows:
        opens = np.ones(plays.rows, bool)
        opens[1:] = (row[1:] != row[:-1]) | (plays.session[1:] != plays.session[:-1])
        row = np.cumsum(opens) - 1
    known = plays.track >= 0
    rows = int(row[-1]) + 1 if by_session and plays.rows else len(plays)
    held = csr(row[known], plays.track[known], np.ones(known.sum()), (rows, n_items))
    held.data[:] = 1
    return held


def profiles(plays: Plays, now: I64, half_life_days: float, n_items: int) -> Csr:
    """(listeners, n) plays of each track, each halved per half-life of its age at `now` (one time per
    listener)."""
    owner, known = plays.owner, plays.track >= 0
    age = (now[owner] - plays.start) / MS_PER_DAY
    weight = np.exp2(-age / half_life_days)
    return csr(owner[known], plays.track[known], weight[known], (len(plays), n_items))


def last_plays(histories: Plays, count: int, one_session: bool = False) -> tuple[I64, I64, I64]:
    """Rows (listener, track, steps back from now: 1 = last play) of the last `count` known plays of each
    listener; with `one_session` only those of the session of the last one."""
    known = histories.where(histories.track >= 0).last(count)
    if one_session:
        newest = known.session[np.maximum(known.offsets[1:] - 1, 0)] if known.rows else known.session
        known = known.where(known.session == newest[known.owner]) if known.rows else known
    owner = known.owner
    back = known.offsets[1:][owner] - np.arange(known.rows)
    return owner, known.track.astype(np.int64), back
