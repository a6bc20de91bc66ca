"""Which tracks a request may be answered with, as bitmaps that are packed once and shared by every later request.

eligibility = Eligibility(items, index.layout)
allowed = eligibility.of(country, now)                            # one row a request, packed words
allowed = eligibility.of(country, now, require=[("clean",), ()], without=heard)
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


@dataclass(frozen=True)
class Eligibility:
    """Bitmaps of one release by territory and time, and by named requirement, combined bit by bit.

    A territory's bitmap holds from one change of its rights (a window that opens or ends, a release day that comes)
    to the next, and is right to the millisecond. The newest 256 are kept.
    """

    items: Items
    layout: Layout
    flags: Mapping[str, NDArray[np.bool_]] = field(
        default_factory=dict
    )  # further masks (n,), such as a tier's
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _open: dict[tuple[int, int], Words] = field(default_factory=dict, repr=False)
    _changes: dict[int, I64] = field(default_factory=dict, repr=False)

    @cached_property
    def _required(self) -> dict[str, Words]:
        masks = {"clean": ~self.items.explicit, **self.flags}
        return {name: self.layout.pack(mask) for name, mask in masks.items()}

    def of(
        self,
        country: NDArray[np.integer],
        now: I64,
        require: Sequence[Sequence[str]] | None = None,
        without: Sequence[Sequence[int]] | None = None,
    ) -> Bitmaps:
        """What each of b requests may be answered with.

        Shapes: country (b,) numbers as in Items, now (b,) UTC ms. `require` names, for each request, "clean" (not
        explicit) or keys of `flags`; `without` lists tracks to leave out.
        """
        rows = [self.open(int(c), int(t)) for c, t in zip(country, now, strict=True)]
        for j, names in enumerate(require or ()):
            for name in names:
                rows[j] = rows[j] & self._required[name]
        found = Bitmaps(self.layout, tuple(rows))
        return found if without is None else found.without(without)

    def open(self, country: int, now_ms: int) -> Words:
        """Words of the tracks that are available in a territory and released, at a time."""
        key = (country, int(np.searchsorted(self._turns(country), now_ms, side="right")))
        words = self._open.get(key)
        if words is None:
            words = self.layout.pack(self.items.available(country, now_ms) & self.items.released(now_ms))
            words.setflags(write=False)
            with self._lock:
                self._open[key] = words
                while len(self._open) > _KEPT:
                    self._open.pop(next(iter(self._open)))
        return words

    def _turns(self, country: int) -> I64:
        """Times at which a territory's mask changes, ascending (UTC ms)."""
        turns = self._changes.get(country)
        if turns is None:
            days = self.items.release_day.astype(np.int64) * MS_PER_DAY
            since, until = self.items.available_from[:, country], self.items.available_until[:, country]
            turns = self._changes[country] = np.unique(np.concatenate([days, since, until]))
        return turns
