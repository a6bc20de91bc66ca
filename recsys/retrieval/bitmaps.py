"""Eligible tracks as packed bits, in slot order: tracks of one list of the index lie together, from a word boundary.

layout = Layout.of(assigned, lists)             # assigned: each track's list
words = layout.pack(mask)                       # (n,) bool -> (w,) uint64
allowed = Bitmaps(layout, (words,)).without([[5, 9]])
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from recsys.errors import BadInput
from recsys.plays import I64

Words: TypeAlias = NDArray[np.uint64]

WORD = 64


@dataclass(frozen=True)
class Layout:
    """Where each of n tracks lies among w * 64 slots; slots that pad a list hold no track."""

    slot: I64  # (n,) slot of each track
    starts: I64  # (lists + 1,) first word of each list; no list is empty

    @classmethod
    def of(cls, assigned: I64, lists: int) -> Layout:
        """From each track's list (n,), every one of 0..lists-1 in use."""
        sizes = np.bincount(assigned, minlength=lists)
        if not len(assigned) or not sizes.all():
            raise BadInput("a layout needs at least one track in every list")
        starts = np.concatenate([[0], np.cumsum(-(-sizes // WORD))]).astype(np.int64)
        rank = np.arange(len(assigned)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        slot = np.empty(len(assigned), np.int64)
        slot[np.argsort(assigned, kind="stable")] = rank + np.repeat(starts[:-1] * WORD, sizes)
        return cls(slot, starts)

    def __len__(self) -> int:
        return len(self.slot)

    @property
    def words(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def track(self) -> I64:
        """(w * 64,) the track in each slot, -1 where there is none."""
        track = np.full(self.words * WORD, -1, np.int64)
        track[self.slot] = np.arange(len(self.slot))
        return track

    @cached_property
    def everything(self) -> Words:
        """(w,) words of all tracks."""
        return self.pack(np.ones(len(self), bool))

    @cached_property
    def sizes(self) -> I64:
        """(lists,) tracks in each list."""
        return self.per_list(self.everything)

    def pack(self, mask: NDArray[np.bool_]) -> Words:
        """(w,) words of a mask (n,) over tracks."""
        bits = np.zeros(self.words * WORD, bool)
        bits[self.slot] = mask
        return np.packbits(bits, bitorder="little").view(np.uint64)

    def per_list(self, words: Words) -> I64:
        """(lists,) eligible tracks in each list."""
        return np.add.reduceat(np.bitwise_count(words), self.starts[:-1], dtype=np.int64)

    def clear(self, words: Words, tracks: NDArray[np.integer]) -> Words:
        """A copy of the words without some tracks."""
        out, slots = words.copy(), self.slot[tracks]
        np.bitwise_and.at(out, slots >> 6, ~(np.uint64(1) << (slots & 63).astype(np.uint64)))
        return out

    def has(self, words: Words, tracks: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which of some tracks are eligible; the shape is kept."""
        return at_slots(words, self.slot[tracks])


@dataclass(frozen=True)
class Bitmaps:
    """What each of b requests may be answered with; rows may share their words."""

    layout: Layout
    rows: tuple[Words, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, layout: Layout, masks: NDArray[np.bool_]) -> Bitmaps:
        """From masks (b, n)."""
        return cls(layout, tuple(layout.pack(mask) for mask in masks))

    def has(self, tracks: NDArray[np.integer]) -> NDArray[np.bool_]:
        """(b, L) whether each request may be answered with its tracks (b, L)."""
        found = [self.layout.has(words, row) for words, row in zip(self.rows, tracks, strict=True)]
        return np.stack(found) if found else np.zeros(tracks.shape, bool)

    def without(self, tracks: Iterable[Sequence[int] | I64]) -> Bitmaps:
        """Each row less a short list of tracks of its own, such as those heard today."""
        pairs = zip(self.rows, tracks, strict=True)
        rows = (self.layout.clear(w, np.asarray(t, np.int64)) if len(t) else w for w, t in pairs)
        return Bitmaps(self.layout, tuple(rows))


def count(words: Words) -> int:
    """Eligible tracks."""
    return int(np.bitwise_count(words).sum())


def slots_of(words: Words, at: I64 | None = None) -> I64:
    """Slots of the set bits, ascending; of the words at some places only, where given (ascending)."""
    place = np.flatnonzero(words) if at is None else at[words[at] != 0]
    bits = np.flatnonzero(np.unpackbits(words[place].view(np.uint8), bitorder="little"))
    slots: I64 = place[bits >> 6] * WORD + (bits & 63)
    return slots


def at_slots(words: Words, slots: I64) -> NDArray[np.bool_]:
    """The bits at some slots; the shape is kept."""
    bit = words[slots >> 6] >> (slots & 63).astype(np.uint64) & np.uint64(1)
    return np.asarray(bit, bool)
