"""Keeps artists, albums and versions of a song apart in an endless list, and says what it had to give up.

A list effect: before each draw it allows what keeps every rule; where nothing does, the rules are given up in
the order of `STEPS`, each step on top of those before it, until something may come.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsys.plays import I64
from recsys.slate import Bools, Floats, Shelf, Slot

STEPS = ("album_gap", "genre", "parent_genre", "catalog", "title_gap", "artist_gap", "repeats")
"""What is given up, in this order: the album gap; the seed's neighbourhood for its genre, then its parent genre, then
the whole catalog; the gap between versions of a song; the artist gap (halved until it is 0); last, that a track of
this station does not come again."""
TIERS = ("", "genre", "parent_genre", "catalog", "repeats")
"""Tier of a candidate -> the step that lets it in; tier 0 belongs to the station."""
_NAMES = ("artist", "album", "title")
_CATALOG, _REPEATS = TIERS.index("catalog"), TIERS.index("repeats")


@dataclass(frozen=True)
class Gaps:
    """Slots that must lie between two tracks of one artist, of one album, and of one song."""

    artist: int = 5
    album: int = 8
    title: int = 25

    @property
    def longest(self) -> int:
        return max(self.artist, self.album, self.title)


@dataclass(frozen=True)
class Names:
    """Who made m tracks and what they are called, as numbers; -1 (unknown) is kept apart from nothing."""

    artist: I64
    album: I64
    title: I64

    def take(self, rows: I64) -> Names:
        return Names(self.artist[rows], self.album[rows], self.title[rows])


@dataclass(frozen=True)
class Separation:
    """The effect for n candidates after the tracks `before` (newest last)."""

    own: Names  # (n,)
    before: Names
    tier: I64  # (n,) place in TIERS
    gaps: Gaps

    def utility(self, utility: Floats, shelf: Shelf, slots: Sequence[Slot]) -> Floats:  # noqa: ARG002
        return utility

    def allowed(self, shelf: Shelf, slots: Sequence[Slot]) -> Bools:
        free = shelf.member.copy()
        free[[slot.row for slot in slots]] = False
        for gaps, tier in _ladder(self.gaps):
            mask = free & (self.tier <= tier) & ~self._close(gaps, slots)
            if mask.any():
                return mask
        return free  # nothing is left: the list ends here

    def relaxed(self, slots: Sequence[Slot]) -> tuple[str, ...]:
        """What the rules had to give up for these slots, in the order of STEPS; empty where all of them hold."""
        given = {TIERS[self.tier[slot.row]] for slot in slots}
        for name in _NAMES:
            gap, (before, own) = getattr(self.gaps, name), self._lists[name]
            line, first = before + [own[slot.row] for slot in slots], len(before)
            for place in range(first, len(line)):
                if line[place] >= 0 and line[place] in line[max(place - gap, 0) : place]:
                    given.add(f"{name}_gap")
        return tuple(step for step in STEPS if step in given)

    @cached_property
    def _lists(self) -> dict[str, tuple[list[int], list[int]]]:
        """For each kind of name: those before, and those of the candidates."""
        return {n: (getattr(self.before, n).tolist(), getattr(self.own, n).tolist()) for n in _NAMES}

    @cached_property
    def _rows(self) -> dict[str, dict[int, list[int]]]:
        """For each kind of name: its candidates by name."""
        found: dict[str, dict[int, list[int]]] = {}
        for kind in _NAMES:
            rows = found.setdefault(kind, {})
            for row, value in enumerate(self._lists[kind][1]):
                if value >= 0:
                    rows.setdefault(value, []).append(row)
        return found

    def _close(self, gaps: Gaps, slots: Sequence[Slot]) -> Bools:
        """(n,) whether a candidate would come too soon after one of its artist, album or song."""
        rows: list[int] = []
        for name in _NAMES:
            gap, (before, own), named = getattr(gaps, name), self._lists[name], self._rows[name]
            for place in range(len(slots) - gap, len(slots)):
                if place >= 0:
                    rows += named.get(own[slots[place].row], ())
                elif place >= -len(before):
                    rows += named.get(before[place], ())
        close = np.zeros(len(self.tier), bool)
        close[rows] = True
        return close


def _ladder(gaps: Gaps) -> Iterator[tuple[Gaps, int]]:
    """The gaps and the highest tier that hold at each step, strictest first."""
    yield gaps, 0
    for tier in range(_REPEATS):
        yield Gaps(gaps.artist, 0, gaps.title), tier
    artist = gaps.artist
    yield Gaps(artist, 0, 0), _CATALOG
    while artist:
        artist //= 2
        yield Gaps(artist, 0, 0), _CATALOG
    yield Gaps(0, 0, 0), _REPEATS
