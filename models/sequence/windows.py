"""Cuts a log into training windows, and a batch of windows into tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.sequence.network import TokenTensors
from models.sequence.tokens import Ahead, Ints, window_tokens
from recsys.plays import I64, Plays


@dataclass(frozen=True)
class Windows:
    """Window j reads rows starts[j]:stops[j] and predicts rows first[j]:last[j] (slot row - start)."""

    starts: I64
    stops: I64
    first: I64
    last: I64  # exclusive

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, index: Ints) -> Windows:
        return Windows(self.starts[index], self.stops[index], self.first[index], self.last[index])


@dataclass(frozen=True)
class WindowBatch:
    """Tokens of b windows and their p predictions."""

    tokens: TokenTensors
    slot: Tensor  # (p,) position in the flattened (b * (max_length + 1)) slots
    row: I64  # (p,) row of the log that is predicted


def tiles(offsets: I64, max_length: int, rng: np.random.Generator) -> Windows:
    """One pass over a log: every listener's rows in consecutive windows, from a random first cut.

    Every row is predicted once; a listener's first from nothing. Listener j owns rows offsets[j]:offsets[j + 1].
    """
    sizes = np.diff(offsets)
    shift = rng.integers(0, max_length, len(sizes))
    count = np.where(sizes > 0, (sizes + shift - 1) // max_length + 1, 0)
    owner = np.repeat(np.arange(len(sizes)), count)
    number = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    base, end = offsets[owner], offsets[owner + 1]
    starts = np.maximum(base + number * max_length - shift[owner], base)
    stops = np.minimum(base + (number + 1) * max_length - shift[owner], end)
    first = np.where(starts == base, starts, starts + 1)
    return Windows(starts, stops, first, np.minimum(stops + 1, end))


def newest(offsets: I64, old: I64, max_length: int) -> Windows:
    """Windows that predict all but each listener's `old` first rows, seen with at least half a window before them."""
    half = max(max_length // 2, 1)
    sizes = np.diff(offsets)
    count = -(-(sizes - old) // half)
    owner = np.repeat(np.arange(len(sizes)), count)
    number = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    base, end = offsets[owner], offsets[owner + 1]
    first = base + old[owner] + number * half
    last = np.minimum(first + half, end)
    return Windows(np.maximum(base, last - 1 - max_length), last - 1, first, last)


def window_batch(plays: Plays, gaps: Ints, windows: Windows, max_length: int, tracks: int) -> WindowBatch:
    """Tensors of some windows; predictions of unknown tracks are left out."""
    edge = np.minimum(windows.stops, plays.rows - 1)  # circumstances of the row after the window
    ahead = Ahead(gaps[edge], plays.hour[edge].astype(np.int64), plays.device[edge].astype(np.int64))
    tokens = window_tokens(plays, gaps, windows.starts, windows.stops, ahead, max_length, tracks)
    size = windows.last - windows.first
    window = np.repeat(np.arange(len(windows)), size)
    row = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size) + windows.first[window]
    slot = window * (max_length + 1) + row - windows.starts[window]
    known = plays.track[row] >= 0
    return WindowBatch(TokenTensors.of(tokens), torch.from_numpy(slot[known]), row[known])
