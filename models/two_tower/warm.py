"""A warm start: track vectors from a truncated SVD of the training log, split over the item tower's tables.

Gradient steps from random vectors need many epochs to find which tracks are played together; the spectrum of
the play matrix (randomised range finder, Halko, Martinsson & Tropp 2011) has it in a second.
"""

from __future__ import annotations

import numpy as np
import torch

from models.two_tower.content import Content
from models.two_tower.history import F32
from models.two_tower.towers import ItemTower
from recsys.plays import I64, Outcome, Plays

_SKIP = 0.3  # of a stream
_COLUMN_POWER = 0.3  # how far a track's plays are divided out; 0.5 would be the cosine
_PRIOR = 5.0  # plays that a table's row needs to be believed half
_ROUNDS = 3
_OVERSAMPLING = 16


def start(tower: ItemTower, plays: Plays, content: Content, seed: int) -> None:
    """Sets the tower's tables: genre, then artist, album and track as what the coarser tables leave over.

    A track then starts where its artist is, and away from there only as far as its own plays show.
    """
    counts = np.bincount(plays.track[plays.track >= 0], minlength=len(content.rows)).astype(np.float32)
    left = factors(plays, len(counts), tower.table(0).shape[1], seed)
    with torch.no_grad():
        for column in (4, 3, 1, 2, 0):
            rows, table = content.rows[:, column], tower.table(column)
            mean = _shrunk_means(left, counts, rows, len(table))
            table.copy_(torch.from_numpy(mean))
            left -= mean[rows]
        logs = np.log(counts + 1)
        logs -= np.average(logs, weights=counts)
        known = content.rows[:, 0] > 0
        tower.track_popularity.weight[content.rows[known, 0], 0] = torch.from_numpy(logs[known])
        tower.track_popularity.weight[0] = float(logs.min())


def factors(plays: Plays, tracks: int, dim: int, seed: int) -> F32:
    """(tracks, dim) right singular vectors times singular values of the session and listener play matrix.

    The first is left out, as it is popularity, and each track's vector is brought to length 1.
    """
    from scipy import sparse

    known = plays.track >= 0
    worth = np.where(plays.outcome[known] == Outcome.SKIP, _SKIP, 1.0).astype(np.float32)
    owner = plays.owner[known]
    parts = []
    for row in (owner, np.unique(owner * 2**32 + plays.session[known], return_inverse=True)[1]):
        matrix = sparse.csr_matrix((worth, (row, plays.track[known])), shape=(int(row.max()) + 1, tracks))
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
    vectors: F32 = np.zeros((tracks, dim), np.float32)
    found = (basis @ right.T * values)[:, 1 : dim + 1]
    vectors[:, : found.shape[1]] = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
    return vectors


def _shrunk_means(values: F32, counts: F32, rows: I64, size: int) -> F32:
    """(size, d) play-weighted mean of each table row, drawn to zero where plays are few; row 0 is zero."""
    weight = np.bincount(rows, counts, minlength=size)
    total = np.zeros((size, values.shape[1]), np.float64)
    np.add.at(total, rows, values * counts[:, None])
    mean = (total / (weight + _PRIOR)[:, None]).astype(np.float32)
    mean[0] = 0
    return mean
