"""Tracks of the artists that a listener has just heard: a small set that holds much of what comes next.

A uniform sample of the catalog meets it too rarely: the score of an artist's other tracks would be learned from the
ones that were played and hardly from those that were not. So every position draws from it, all of it where it is small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.sequence.evidence import GROUP, Groups, Table
from recsys.plays import I64
from recsys.slate import scramble

ARTISTS = 8
"""Artists of a position at most: of the last play if it is known, then those most heard lately, then before."""


@dataclass(frozen=True)
class Works:
    """The tracks of every artist, one after the other; artist a has tracks[offsets[a]:offsets[a + 1]]."""

    tracks: I64
    offsets: I64  # (unknown + 1,)

    @classmethod
    def of(cls, artist: Groups) -> Works:
        order = np.argsort(artist.number, kind="stable")
        return cls(order, np.searchsorted(artist.number[order], np.arange(artist.unknown + 1)))

    def draw(self, artists: I64, k: int, luck: NDArray[np.float64]) -> tuple[I64, NDArray[np.float32]]:
        """Distinct tracks of each row's artists, every one with the same chance (systematic sampling).

        Args:
            artists: (p, a) numbers, -1 for none. luck: (p,) uniform on [0, 1), multiples of 2^-32.

        Returns:
            (p, k) tracks, -1 where there are fewer, and (p,) the log expected count of each.
        """
        sizes = np.where(artists >= 0, self.offsets[artists + 1] - self.offsets[artists], 0)
        ends = sizes.cumsum(axis=1)
        total = ends[:, -1]
        stride = np.maximum(total / k, 1.0)
        place = ((luck[:, None] + np.arange(k)) * stride[:, None]).astype(np.int64)
        there = place < total[:, None]
        which = np.minimum((place[:, :, None] >= ends[:, None, :]).sum(axis=2), artists.shape[1] - 1)
        within = place - np.take_along_axis(ends - sizes, which, axis=1)
        first = self.offsets[np.take_along_axis(artists, which, axis=1)]
        tracks = np.where(there, self.tracks[np.where(there, first + within, 0)], -1)
        return tracks, -np.log(stride).astype(np.float32)


def artists_of(heard: Table) -> I64:
    """(p, ARTISTS) known artists of each position, the last play's first; -1 for none. `heard` has columns GROUP."""
    is_last, recent, long = (-heard.values[:, GROUP.index(g)] for g in ("is_last", "recent", "long"))
    order = np.lexsort((heard.key, long, recent, is_last))  # the last of these counts first
    order = order[np.argsort(heard.owner[order], kind="stable")]
    owner = heard.owner[order]
    rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
    kept = rank < ARTISTS
    out = np.full((heard.shape[0], ARTISTS), -1, np.int64)
    out[owner[kept], rank[kept]] = heard.key[order][kept]
    return out


def luck_of(moments: I64, salt: int) -> NDArray[np.float64]:
    """(p,) uniform on [0, 1) by a position's own time: the same whichever worker has the position."""
    return (scramble(moments, salt) >> np.uint64(32)).astype(np.float64) * 2.0**-32
