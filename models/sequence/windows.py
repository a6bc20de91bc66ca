"""Cuts a log into training windows, and a batch of windows into tensors."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from models.sequence.attention import Layout
from models.sequence.network import TokenTensors
from models.sequence.packing import Plan, best_fit
from models.sequence.tokens import Ahead, Ints, Tokens, window_tokens
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
    """Tokens of some windows and their p predictions."""

    tokens: TokenTensors
    layout: Layout
    slot: Tensor  # (p,) position in the flattened slots
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


def window_batch(
    plays: Plays,
    gaps: Ints,
    windows: Windows,
    max_length: int,
    tracks: int,
    packed: bool = False,
    compute: torch.dtype = torch.float32,
) -> WindowBatch:
    """Tensors of some windows, one a row or `packed` several to a row; predictions of unknown tracks are left out."""
    edge = np.minimum(windows.stops, plays.rows - 1)  # circumstances of the row after the window
    ahead = Ahead(gaps[edge], plays.hour[edge].astype(np.int64), plays.device[edge].astype(np.int64))
    tokens = window_tokens(plays, gaps, windows.starts, windows.stops, ahead, max_length, tracks)
    size = windows.last - windows.first
    window = np.repeat(np.arange(len(windows)), size)
    row = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size) + windows.first[window]
    within = row - windows.starts[window]
    known = plays.track[row] >= 0
    if packed:
        plan = best_fit(tokens.length + 1, max_length + 1)
        tensors, layout = _packed(tokens, plan, compute)
        slot = (plan.row * (max_length + 1) + plan.column)[window] + within
    else:
        tensors, layout = TokenTensors.of(tokens), Layout.padded(max_length + 1, compute)
        slot = window * (max_length + 1) + within
    return WindowBatch(tensors, layout, torch.from_numpy(slot[known]), row[known])


def _packed(tokens: Tokens, plan: Plan, compute: torch.dtype) -> tuple[TokenTensors, Layout]:
    """The real slots of each window where the plan puts them."""
    width, sizes = tokens.track.shape[1], tokens.length + 1
    window = np.repeat(np.arange(len(sizes)), sizes)
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    target = (plan.row * width + plan.column)[window] + within

    def placed(values: Ints, empty: int) -> Tensor:
        out = np.full((plan.rows, width), empty, np.int64)
        out.flat[target] = values
        return torch.from_numpy(out)

    names = [f.name for f in fields(TokenTensors)]
    tensors = TokenTensors(*(placed(getattr(tokens, name)[window, within], 0) for name in names))
    return tensors, Layout.packed(placed(window, -1), placed(within, 0), compute)
