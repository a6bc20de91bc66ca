"""The codes of a catalog as a tree: which codes may follow a prefix, where each track hangs, what a filter leaves open.

trie = Trie.of(codes, sizes)
open_ = trie.open(allowed)           # one mask of nodes a depth: those below which a track is allowed

Tracks sorted by code are the leaves in order, so that the tracks below a node are a slice, and one running count of
allowed leaves answers for all nodes of all depths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.plays import I32, I64

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Depth:
    """The distinct prefixes of one length, in order; node 0 of depth 0 is the root."""

    prefix: I64  # (nodes, depth) codes
    start: I64  # (nodes + 1,) places of each node's tracks in Trie.order
    child: I32  # (nodes, size of the next level) number of the node below; -1 where no track has the code


@dataclass(frozen=True)
class Trie:
    """Depths 0 to `levels`; the nodes of the last one are cells, whose tracks differ in their last number alone."""

    order: I64  # (n,) tracks by code
    depths: tuple[Depth, ...]  # levels + 1; the last one's `child` is empty
    node: I32  # (n, levels + 1) each track's node at every depth

    @property
    def levels(self) -> int:
        return len(self.depths) - 1

    @classmethod
    def of(cls, codes: I64, sizes: tuple[int, ...]) -> Trie:
        """From codes (n, levels + 1), all different."""
        order = np.lexsort(codes.T[::-1]).astype(np.int64)
        ordered = codes[order]
        starts, places = list[I64](), list[I64]()
        differs = np.zeros(len(codes), bool)
        for depth in range(len(sizes) + 1):
            if depth:
                differs[1:] |= ordered[1:, depth - 1] != ordered[:-1, depth - 1]
            first = differs.copy()
            first[:1] = True
            starts.append(np.append(np.flatnonzero(first), len(codes)))
            places.append(np.cumsum(first) - 1)
        node = np.empty((len(codes), len(sizes) + 1), np.int32)
        node[order] = np.stack(places, axis=1)
        depths = []
        for depth, start in enumerate(starts):
            heads = start[:-1]
            child = np.full((len(heads), sizes[depth] if depth < len(sizes) else 0), -1, np.int32)
            if depth < len(sizes):
                below = starts[depth + 1][:-1]
                child[places[depth][below], ordered[below, depth]] = np.arange(len(below))
            depths.append(Depth(ordered[heads, :depth], start, child))
        return cls(order, tuple(depths), node)

    def open(self, allowed: Bools) -> list[Bools]:
        """Of a mask (n,) of tracks, the nodes (nodes,) of each depth that have one below them."""
        before = np.concatenate([[0], np.cumsum(allowed[self.order])])
        counts = [before[depth.start] for depth in self.depths]
        return [count[1:] > count[:-1] for count in counts]

    def masses(self, weight: NDArray[np.floating]) -> list[NDArray[np.float64]]:
        """Of weights (n,) of tracks, each depth's sums (nodes,) over the tracks below."""
        before = np.concatenate([[0.0], np.cumsum(weight[self.order].astype(np.float64))])
        return [np.diff(before[depth.start]) for depth in self.depths]

    def tracks(self, cells: NDArray[np.integer]) -> tuple[I64, I64]:
        """The tracks of some cells, one cell after the other, and which of `cells` each belongs to."""
        start, stop = self.depths[-1].start[cells], self.depths[-1].start[np.asarray(cells) + 1]
        owner = np.repeat(np.arange(len(start)), stop - start)
        begins = np.cumsum(stop - start) - (stop - start)
        return self.order[np.arange(len(owner)) + (start - begins)[owner]], owner
