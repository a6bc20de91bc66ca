"""Small operations on rows of tracks, without sorting; most requests do them many times."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.plays import I64

_STRIDE = 16
_MARGIN = 1.5
"""The sampled threshold lets so many times k through, on average."""


def largest(scores: NDArray[np.floating], k: int) -> I64:
    """Places of the k largest of `scores` (n,), in no order; all where there are no more than k.

    A threshold read off every 16th score leaves a few times k to choose from; where it leaves too few (scores in
    some order), all are looked at.
    """
    n = len(scores)
    if k >= n or k <= 0:
        return np.arange(n if k > 0 else 0)
    sample = scores[::_STRIDE]
    rank = int(_MARGIN * k / _STRIDE) + 8
    if rank < len(sample):
        some = (scores >= np.partition(sample, len(sample) - rank)[len(sample) - rank]).nonzero()[0]
        if len(some) >= k:
            found: I64 = some[np.argpartition(scores[some], len(some) - k)[len(some) - k :]]
            return found
    return np.argpartition(scores, n - k)[n - k :].astype(np.int64)


def largest_rows(scores: NDArray[np.floating], k: int) -> I64:
    """(b, k) places of the k largest of each row of (b, n), k at most n; as `largest`."""
    found = [largest(row, k) for row in scores]
    return np.stack(found) if found else np.zeros((0, k), np.int64)


def strongest(matrix: Any, keep: int) -> None:
    """Leaves the `keep` largest entries of each row of a sparse matrix (scipy's CSR), in place; those >= 0."""
    for row in np.flatnonzero(np.diff(matrix.indptr) > keep):
        entries = matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]]  # a view
        entries[np.argpartition(entries, -keep)[:-keep]] = 0
    matrix.eliminate_zeros()


def members(ids: NDArray[np.integer], among: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(m,) which of some dense numbers are among others; negative ones (unknown) never are.

    As np.isin, at a fifth of its price for lists as short as a listener's.
    """
    known = among[among >= 0]
    if not len(ids) or not len(known):
        return np.zeros(len(ids), bool)
    table: NDArray[np.bool_] = np.zeros(max(int(ids.max()), int(known.max())) + 2, bool)
    table[known] = True
    return np.asarray(table[ids])  # -1 is the last place, which stays empty
