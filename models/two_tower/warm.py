"""A warm start: track vectors from a truncated SVD of the training log, split over the item tower's tables.

Gradient steps from random vectors need many epochs to find which tracks are played together; the spectrum of
the play matrix (recsys/play_vectors.py) has it in a second.
"""

from __future__ import annotations

import numpy as np
import torch

from models.two_tower.content import Content
from models.two_tower.history import F32
from models.two_tower.towers import ItemTower
from recsys.play_vectors import spectral
from recsys.plays import I64, Plays

_PRIOR = 5.0  # plays that a table's row needs to be believed half


def start(tower: ItemTower, plays: Plays, content: Content, seed: int) -> None:
    """Sets the tower's tables: genre, then artist, album and track as what the coarser tables leave over.

    A track then starts where its artist is, and away from there only as far as its own plays show.
    """
    counts = np.bincount(plays.track[plays.track >= 0], minlength=len(content.rows)).astype(np.float32)
    left = spectral(plays, len(counts), tower.table(0).shape[1], seed)
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


def _shrunk_means(values: F32, counts: F32, rows: I64, size: int) -> F32:
    """(size, d) play-weighted mean of each table row, drawn to zero where plays are few; row 0 is zero."""
    weight = np.bincount(rows, counts, minlength=size)
    total = np.zeros((size, values.shape[1]), np.float64)
    np.add.at(total, rows, values * counts[:, None])
    mean = (total / (weight + _PRIOR)[:, None]).astype(np.float32)
    mean[0] = 0
    return mean
