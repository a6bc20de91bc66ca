"""Collaborative vectors of tracks straight from a log, without training: the spectrum of the play matrix.

vectors = spectral(plays, tracks=len(items), dim=64, seed=0)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.plays import Outcome, Plays

_SKIP = 0.3  # of a stream
_COLUMN_POWER = 0.3  # how far a track's plays are divided out; 0.5 would be the cosine
_ROUNDS = 3
_OVERSAMPLING = 16


def spectral(plays: Plays, tracks: int, dim: int, seed: int) -> NDArray[np.float32]:
    """(tracks, dim) right singular vectors times singular values of the session and listener play matrix, by a
    randomised range finder (Halko, Martinsson & Tropp 2011).

    The first is left out, as it is popularity; each track's vector is brought to length 1, and one without plays
    is zero.
    """
    from scipy import sparse

    known = plays.track >= 0
    worth = np.where(plays.outcome[known] == Outcome.SKIP, _SKIP, 1.0).astype(np.float32)
    owner = plays.owner[known]
    parts = []
    for row in (owner, np.unique(owner * 2**32 + plays.session[known], return_inverse=True)[1]):
        shape = (int(row.max(initial=0)) + 1, tracks)
        matrix = sparse.csr_matrix((worth, (row, plays.track[known])), shape=shape)
        matrix.data = np.log1p(matrix.data)
        parts.append(matrix)
    matrix = sparse.vstack(parts).tocsr()
    by_row = np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1e-6) ** -0.5
    by_column = np.maximum(np.asarray(matrix.sum(axis=0)).ravel(), 1.0) ** -_COLUMN_POWER
    matrix = (sparse.diags(by_row) @ matrix @ sparse.diags(by_column)).tocsr().astype(np.float32)
    rank = min(dim + 1 + _OVERSAMPLING, tracks)
    basis = np.random.default_rng(seed).standard_normal((tracks, rank)).astype(np.float32)
    for _ in range(_ROUNDS):
        basis = np.linalg.qr(matrix.T @ (matrix @ basis))[0]
    _, values, right = np.linalg.svd(matrix @ basis, full_matrices=False)
    vectors: NDArray[np.float32] = np.zeros((tracks, dim), np.float32)
    found = (basis @ right.T * values)[:, 1 : dim + 1]
    found = found * (np.bincount(plays.track[known], minlength=tracks) > 0)[:, None]
    vectors[:, : found.shape[1]] = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
    return vectors
