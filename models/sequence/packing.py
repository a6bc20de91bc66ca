"""Sequences of unequal length as rows of tokens without padding: several in a row, or rows of like length.

plan = best_fit(lengths, width)        # best fit: rows of `width` tokens, nearly full
for group in bucketed(lengths, tokens, rng): ...   # index arrays; each pads to its longest
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np

from recsys.plays import I64


@dataclass(frozen=True)
class Plan:
    """Where each of s sequences stands."""

    row: I64  # (s,)
    column: I64  # (s,) of its first token
    rows: int


def best_fit(lengths: I64, width: int) -> Plan:
    """Best-fit decreasing (Johnson et al., SIAM J. Computing 1974): at most 11/9 of the fewest rows and one.

    Raises:
        ValueError: a sequence is longer than a row.
    """
    if len(lengths) and int(lengths.max()) > width:
        raise ValueError(f"a sequence of {int(lengths.max())} tokens does not fit into rows of {width}")
    row, column = np.zeros(len(lengths), np.int64), np.zeros(len(lengths), np.int64)
    room: list[tuple[int, int]] = []  # (free tokens, row), ascending
    rows = 0
    for j in np.argsort(-lengths, kind="stable"):
        size = int(lengths[j])
        place = bisect_left(room, (size, -1))
        free, at = room.pop(place) if place < len(room) else (width, rows)
        rows += at == rows
        row[j], column[j] = at, width - free
        if free > size:
            insort(room, (free - size, at))
    return Plan(row, column, rows)


POOL = 16
"""Batches among whose sequences lengths are sorted: enough for little padding, few enough to stay mixed."""


def bucketed(lengths: I64, tokens: int, rng: np.random.Generator) -> list[I64]:
    """Every sequence once, in batches of at most `tokens` padded tokens (or one sequence), of like length, shuffled."""
    order = rng.permutation(len(lengths))
    pool = max(1, int(POOL * tokens / max(lengths.mean(), 1))) if len(lengths) else 1
    batches: list[I64] = []
    for at in range(0, len(order), pool):
        part = order[at : at + pool]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += _cut(part, lengths[part], tokens)
    return [batches[j] for j in rng.permutation(len(batches))]


def _cut(part: I64, ascending: I64, tokens: int) -> list[I64]:
    out, first = [], 0
    for at in range(1, len(part) + 1):
        if at == len(part) or int(ascending[at]) * (at + 1 - first) > tokens:
            out.append(part[first:at])
            first = at
    return out
