"""Which tracks a request may be answered with, as bitmaps that are packed once and shared by every later request.

eligibility = Eligibility.shared(items, index.layout)
allowed = eligibility.of(country, now)                            # one row a request, packed words
allowed = eligibility.of(country, now, require=[("clean", "free"), ()], without=heard)
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recsys.items import MS_PER_DAY, Items
from recsys.plays import I64
from recsys.retrieval.bitmaps import Bitmaps, Layout, Words

_KEPT = 256
_EVER = np.iinfo(np.int64).min

Key = tuple[int, int, tuple[str, ...]]
"""Territory, the time (UTC ms) from which its mask holds, and what is required beside."""


@dataclass(frozen=True)
class Eligibility:
    """Bitmaps of one catalog by territory, time and requirements: "clean" (not explicit), "free" (not for premium
    listeners alone), or a key of `flags`.

    A bitmap holds from one change of its territory's rights (a window that opens or ends, a release day that comes)
    to the next, and is right to the millisecond. The newest 256 are kept.
    """

    items: Items
    layout: Layout
    flags: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)  # further masks (n,)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _open: dict[Key, Words] = field(default_factory=dict, repr=False)
    _changes: dict[int, I64] = field(default_factory=dict, repr=False)

    @classmethod
    def shared(cls, items: Items, layout: Layout) -> Eligibility:
        """The one of these items and this layout, for all sources that ask."""
        all_: dict[int, Eligibility] = vars(items).setdefault("_eligibility", {})
        return all_.setdefault(id(layout), cls(items, layout))

    @classmethod
    def plain(cls, items: Items) -> Eligibility:
        """The one of these items in their own order, for those who ask for masks: kept, because the rights matrices
        are larger than any cache of the processor."""
        own: Eligibility | None = vars(items).get("_rights")
        if own is None:
            layout = Layout.of(np.zeros(len(items), np.int64), 1)
            own = vars(items).setdefault("_rights", cls(items, layout))
        return own

    def share(self) -> None:
        """Makes this the one that `shared` gives for its items and layout."""
        vars(self.items).setdefault("_eligibility", {})[id(self.layout)] = self

    def relaid(self, layout: Layout) -> Eligibility:
        """The same bitmaps in another layout, packed anew."""
        live = Eligibility(self.items, layout, self.flags)
        for key in list(self._open):
            live._open[key] = live._packed(key)
        return live

    @cached_property
    def _required(self) -> dict[str, NDArray[np.bool_]]:
        return {"clean": ~self.items.explicit, "free": ~self.items.premium, **self.flags}

    def of(
        self,
        country: NDArray[np.integer],
        now: I64,
        require: Sequence[Sequence[str]] | None = None,
        without: Sequence[Sequence[int] | I64] | None = None,
    ) -> Bitmaps:
        """What each of b requests may be answered with.

        Shapes: country (b,) numbers as in Items, now (b,) UTC ms. `require` names requirements of each request;
        `without` lists tracks to leave out.
        """
        names = require or [()] * len(country)
        rows = [self.open(int(c), int(t), r) for c, t, r in zip(country, now, names, strict=True)]
        found = Bitmaps(self.layout, tuple(rows))
        return found if without is None else found.without(without)

    def open(self, country: int, now_ms: int, require: Sequence[str] = ()) -> Words:
        """Words of the tracks that are available in a territory and released at a time, and meet requirements."""
        turns = self._turns(country)
        turn = int(np.searchsorted(turns, now_ms, side="right"))
        key = (country, int(turns[turn - 1]) if turn else _EVER, tuple(sorted(require)))
        words = self._open.get(key)
        if words is None:
            words = self._packed(key)
            with self._lock:
                self._open[key] = words
                while len(self._open) > _KEPT:
                    self._open.pop(next(iter(self._open)))
        return words

    def mask(self, country: int, now_ms: int, require: Sequence[str] = ()) -> NDArray[np.bool_]:
        """(n,) the same as a mask over tracks."""
        bits = np.unpackbits(self.open(country, now_ms, require).view(np.uint8), bitorder="little")
        return bits.view(np.bool_)[self.layout.slot]

    def _packed(self, key: Key) -> Words:
        words = self.layout.pack(self._mask(self.items, key, slice(None)))
        words.setflags(write=False)
        return words

    def _mask(self, items: Items, key: Key, rows: slice | I64) -> NDArray[np.bool_]:
        country, since, names = key
        mask = items.available(country, since) & items.released(since)
        for name in names:
            mask &= self._required[name]
        return np.asarray(mask[rows])

    def _turns(self, country: int) -> I64:
        """Times at which a territory's mask changes, ascending (UTC ms)."""
        turns = self._changes.get(country)
        if turns is None:
            turns = self._changes[country] = _turns_of(self.items, country)
        return turns

    def revised(self, items: Items, layout: Layout, rows: I64) -> Eligibility:
        """For a catalog that has moved on: kept bitmaps are copied and looked at again in some rows alone.

        `rows`: every track whose rights, requirements or slot may be others, new ones among them.
        """
        live = Eligibility(items, layout)
        part = items.take(rows)
        looks = Eligibility(part, layout)  # the masks of those rows; its layout is not used
        moved = layout.slot[rows]
        old = rows[rows < len(self.layout)]
        with self._lock:
            kept = list(self._open.items())
        for country, turns in list(self._changes.items()):
            live._changes[country] = np.union1d(turns, _turns_of(part, country))
        for key, words in kept:
            fresh = np.zeros(layout.words, np.uint64)
            same = min(len(words), len(fresh))
            fresh[:same] = self.layout.clear(words, old)[:same]
            put(fresh, moved[looks._mask(part, key, slice(None))])
            fresh.setflags(write=False)
            live._open[key] = fresh
        return live


def put(words: Words, slots: I64) -> None:
    """Sets the bits at some slots, in place."""
    np.bitwise_or.at(words, slots >> 6, np.uint64(1) << (slots & 63).astype(np.uint64))


def _turns_of(items: Items, country: int) -> I64:
    days = items.release_day.astype(np.int64) * MS_PER_DAY
    since, until = items.available_from[:, country], items.available_until[:, country]
    return np.unique(np.concatenate([days, since, until]))
