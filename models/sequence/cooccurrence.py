"""What follows what: successor counts within sessions, as sparse row-stochastic matrices.

Sequential rules in the sense of Ludewig & Jannach, "Evaluation of session-based recommendation algorithms"
(UMUAI 2018): a pair (a, b) counts 1/distance when b is played within a few plays after a.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.sequence.team import SOLO, Team, sum_counts
from recsys.plays import I64, Plays
from recsys.topk import strongest

Sparse: TypeAlias = Any  # scipy.sparse.csr_matrix, float32
SHRINK = 5.0
"""Added to a row's total before dividing: rows seen rarely speak softly."""


@dataclass(frozen=True)
class Successors:
    """`near`: within rule_window plays, by 1/distance; `next`: the very next play. (n, n) each."""

    near: Sparse
    next: Sparse
    total: NDArray[np.float32]  # (n,) row totals of the raw counts behind `near`
    plays: NDArray[np.float32]  # (n,)

    def padded(self, size: int) -> Successors:
        """With tracks after the others, `size` in all, that nothing has followed yet."""
        total, plays = (np.pad(counts, (0, size - len(counts))) for counts in (self.total, self.plays))
        return Successors(_padded(self.near, size), _padded(self.next, size), total, plays)


def count_successors(plays: Plays, tracks: int, window: int, keep: int, team: Team = SOLO) -> Successors:
    """Counts over sessions of the workers' logs together; every row keeps its `keep` heaviest successors."""
    from scipy import sparse

    owner = plays.owner
    counts = sparse.csr_matrix((tracks, tracks), dtype=np.float32)
    first = counts
    for lag in range(1, window + 1):
        counts = counts + _pairs(plays, owner, tracks, lag) * np.float32(1.0 / lag)
        first = counts.copy() if lag == 1 else first
    if team.size > 1:
        counts, first = sum(team.gather(counts)), sum(team.gather(first))
    near, total = _stochastic(counts, keep)
    played = sum_counts(team, np.bincount(plays.track[plays.track >= 0], minlength=tracks))
    return Successors(near, _stochastic(first, keep)[0], total, played.astype(np.float32))


def _padded(matrix: Sparse, size: int) -> Sparse:
    """The same entries in a larger square; nothing but row starts is copied."""
    from scipy import sparse

    indptr = np.pad(matrix.indptr, (0, size - matrix.shape[0]), mode="edge")
    return sparse.csr_matrix((matrix.data, matrix.indices, indptr), shape=(size, size))


def _pairs(plays: Plays, owner: I64, tracks: int, lag: int) -> Sparse:
    """(n, n) how often b came exactly `lag` plays after a in one session, b other than a."""
    from scipy import sparse

    a, b = plays.track[:-lag], plays.track[lag:]
    same = (owner[:-lag] == owner[lag:]) & (plays.session[:-lag] == plays.session[lag:])
    same &= (a >= 0) & (b >= 0) & (a != b)
    ones = np.ones(int(same.sum()), np.float32)
    return sparse.coo_matrix((ones, (a[same], b[same])), shape=(tracks, tracks)).tocsr()


def _stochastic(counts: Sparse, keep: int) -> tuple[Sparse, NDArray[np.float32]]:
    """Rows divided by their (shrunk) totals, pruned to the heaviest `keep` entries; and the totals."""
    total = np.asarray(counts.sum(axis=1), np.float32).ravel()
    counts.data /= np.repeat(total + np.float32(SHRINK), np.diff(counts.indptr))
    strongest(counts, keep)
    return counts, total
