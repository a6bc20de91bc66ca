"""Cuts id sequences into windows and these into batches of rows.

for plan in row_plans(sequences.offsets, config, rng):
    batch = id_batch(sequences, items, plan, config); states = network(batch.ids, batch.layout)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.sequence.attention import Layout
from models.sequence.idnetwork import IdConfig
from models.sequence.packing import best_fit, bucketed
from models.sequence.precision import compute_type
from recsys.evaluation.ragged import Ragged
from recsys.plays import I64


@dataclass(frozen=True)
class IdWindows:
    """Window j reads `size` ids from `start` on; each predicts the id after it."""

    start: I64
    size: I64

    def take(self, index: I64) -> IdWindows:
        return IdWindows(self.start[index], self.size[index])


@dataclass(frozen=True)
class IdBatch:
    """Rows of ids and their p predictions."""

    ids: Tensor  # (b, t); the number of items where padded
    layout: Layout
    place: Tensor  # (p,) in the flattened (b * t) slots
    target: Tensor  # (p,)


@dataclass(frozen=True)
class RowPlan:
    """Which windows make a batch and where they stand in its rows."""

    windows: IdWindows
    row: I64
    column: I64
    width: int
    one_a_row: bool


def row_plans(offsets: I64, config: IdConfig, rng: np.random.Generator) -> list[RowPlan]:
    """The batches of one pass over the sequences, in random order."""
    windows = id_windows(offsets, config, rng)
    if config.rows == "bucketed":
        groups = bucketed(windows.size, config.batch_tokens, rng)
        parts = [windows.take(index) for index in groups]
        return [
            RowPlan(w, np.arange(len(w.size)), np.zeros_like(w.size), int(w.size.max()), True) for w in parts
        ]
    windows = windows.take(rng.permutation(len(windows.size)))
    plan = best_fit(windows.size, config.max_length)
    batch = rng.permutation(plan.rows)[plan.row] // max(1, config.batch_tokens // config.max_length)
    order = np.argsort(batch, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(batch[order])) + 1)
    rows = [np.unique(plan.row[index], return_inverse=True)[1].astype(np.int64) for index in groups]
    return [
        RowPlan(windows.take(index), row, plan.column[index], config.max_length, False)
        for index, row in zip(groups, rows, strict=True)
    ]


def id_windows(offsets: I64, config: IdConfig, rng: np.random.Generator) -> IdWindows:
    """The newest `max_length` predictions of each sequence, or all of them in tiles from a random first cut."""
    sizes, length = np.maximum(np.diff(offsets) - 1, 0), config.max_length
    if config.windows == "last":
        size = np.minimum(sizes, length)
        start = offsets[1:] - 1 - size
        return IdWindows(start[size > 0], size[size > 0])
    shift = np.where(sizes > length, rng.integers(0, length, len(sizes)), 0)
    count = -(-(sizes + shift) // length) * (sizes > 0)
    owner = np.repeat(np.arange(len(sizes)), count)
    tile = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    first = np.maximum(tile * length - shift[owner], 0)
    last = np.minimum((tile + 1) * length - shift[owner], sizes[owner])
    return IdWindows(offsets[owner] + first, last - first)


def id_batch(sequences: Ragged, items: int, plan: RowPlan, config: IdConfig) -> IdBatch:
    """The tensors of a plan."""
    sizes, width = plan.windows.size, plan.width
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = np.repeat(plan.row * width + plan.column, sizes) + within
    source = np.repeat(plan.windows.start, sizes) + within
    shape = (int(plan.row.max()) + 1, width)
    ids = np.full(shape, items, np.int64)
    ids.flat[place] = sequences.tracks[source]
    compute = compute_type(config.precision)
    if plan.one_a_row:
        layout = Layout.padded(width, compute)
    else:
        segment, position = np.full(shape, -1, np.int64), np.zeros(shape, np.int64)
        segment.flat[place] = np.repeat(np.arange(len(sizes)), sizes)
        position.flat[place] = within
        layout = Layout.packed(torch.from_numpy(segment), torch.from_numpy(position), compute)
    target = sequences.tracks[source + 1].astype(np.int64)
    return IdBatch(torch.from_numpy(ids), layout, torch.from_numpy(place), torch.from_numpy(target))
