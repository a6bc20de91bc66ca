"""Writes semantic ids code by code, along the branches that lead to an allowed track; plain numpy.

decoder = Decoder.of(network, trie, vectors, expected_plays)
ids, scores = decoder.best(states, k=100, allowed=mask, beam=256)
decoder.every(states)               # the same scores for all tracks, by walking the whole tree

A score is log P(track | listener): the sum of the log-probabilities of its codes, each over all codes that follow in
the catalog. A filter closes branches without making the others likelier, so a track's score is the same under any
filter, any beam and beside any other candidates (to about 1e-6 of its size). The beam decides which tracks are found:
all prefixes are kept up to `beam` a level, so from the number of the tree's nodes on nothing is missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray

from models.semantic_ids.trie import Bools, Trie
from models.semantic_ids.vectors import F32
from recsys.layers import Affine, affine, linear, values
from recsys.plays import I64
from recsys.topk import largest_rows

if TYPE_CHECKING:
    from models.semantic_ids.network import Head, Network

_NEVER = np.float32(-np.inf)


@dataclass(frozen=True)
class Branching:
    """One level's head, with what does not depend on the listener worked out for every node."""

    listener: Affine
    mixed: F32  # (hidden, size)
    direct: F32  # (d, size)
    hidden: F32  # (nodes, hidden) the prefix' part of the hidden layer
    prior: (
        F32  # (nodes, size) log of the plays below each child, and the head's bias; -inf where there is none
    )


@dataclass(frozen=True)
class Decoder:
    """A network's heads over one tree."""

    trie: Trie
    levels: tuple[Branching, ...]
    ask: Affine
    key: F32  # (n, d) of tracks
    apart: F32  # (n,) log plays of a track, and what its cell asks of it: log-odds within the cell

    @classmethod
    def of(cls, network: Network, trie: Trie, vectors: F32, plays: F32) -> Decoder:
        """Of a trained network, whose weights must not change afterwards. `plays` (n,) are positive."""
        masses = trie.masses(plays)
        with torch.inference_mode():
            prefixes = [network.prefixes(torch.from_numpy(depth.prefix)) for depth in trie.depths]
            levels = tuple(
                _branching(cast("Head", head), prefixes[i], trie.depths[i].child, masses[i + 1])
                for i, head in enumerate(network.heads)
            )
            key = network.key(torch.from_numpy(vectors))
            asked = (prefixes[-1] @ network.ask.weight.T)[torch.from_numpy(trie.node[:, -1]).long()]
            apart = np.log(plays) + (asked * key).sum(1).numpy()
        return cls(trie, levels, affine(network.ask), key.numpy(), apart.astype(np.float32))

    def best(self, states: F32, k: int, allowed: Bools | None, beam: int) -> tuple[I64, F32]:
        """The k likeliest allowed tracks that the beam finds, for states (b, d): ids (b, k), -1 where there are
        fewer, and scores (b, k), best first.

        Args:
            allowed: (n,) or (b, n) mask.
        """
        b, width = len(states), max(beam, k)
        open_ = self._open(allowed, b)
        node, score = np.zeros((b, 1), np.int64), np.zeros((b, 1), np.float32)
        for level, depth in enumerate(self.trie.depths[:-1]):
            row = np.repeat(np.arange(b), node.shape[1])
            likely = self._children(level, states, row, node.ravel())
            child = depth.child[node.ravel()]
            found = score.reshape(-1, 1) + likely
            found[(child < 0) | ~open_[level + 1][row[:, None], child]] = _NEVER
            found, child = found.reshape(b, -1), child.reshape(b, -1)
            kept = largest_rows(found, min(width, found.shape[1]))
            score = np.take_along_axis(found, kept, 1)
            node = np.where(np.isfinite(score), np.take_along_axis(child, kept, 1), 0)
        return self._tracks(states, node, score, allowed, k)

    def every(self, states: F32) -> F32:
        """(b, n) scores of all tracks."""
        out = np.empty((len(states), len(self.apart)), np.float32)
        for row, state in enumerate(states):
            total = np.zeros(1, np.float32)
            for level, depth in enumerate(self.trie.depths[:-1]):
                nodes = np.arange(len(depth.child))
                likely = total[:, None] + self._children(level, state[None], np.zeros_like(nodes), nodes)
                total = likely[
                    depth.child >= 0
                ]  # nodes of a depth are numbered parent by parent, code by code
            cells = np.arange(len(total))
            track, owner, likely = self._within(state[None], np.zeros_like(cells), cells)
            out[row, track] = total[owner] + likely
        return out

    def some(self, states: F32, row: I64, track: I64) -> F32:
        """(m,) scores of pairs of a row of `states` and a track; those of `every`."""
        total = np.zeros(len(track), np.float32)
        if not len(track):
            return total
        nodes = self.trie.node[track].astype(np.int64)
        for level in range(len(self.levels)):
            size = len(self.trie.depths[level].child)
            wanted, place = np.unique(row * size + nodes[:, level], return_inverse=True)
            likely = self._children(level, states, wanted // size, wanted % size)
            code = self.trie.depths[level + 1].prefix[nodes[:, level + 1], level]
            total += likely[place, code]
        size = len(self.trie.depths[-1].prefix)
        wanted = np.unique(row * size + nodes[:, -1])
        found, owner, within = self._within(states, wanted // size, wanted % size)
        pairs = (wanted // size)[owner] * len(self.apart) + found
        order = np.argsort(pairs)
        total += within[order[np.searchsorted(pairs, row * len(self.apart) + track, sorter=order)]]
        return total

    def _open(self, allowed: Bools | None, b: int) -> list[Bools]:
        """Masks (b, nodes) of each depth, and one more entry, which -1 reads."""
        if allowed is None:
            allowed = np.ones(len(self.apart), bool)
        if allowed.ndim == 1:
            return [np.broadcast_to(open_, (b, len(open_))) for open_ in self.trie.open(allowed)]
        return [np.stack(rows) for rows in zip(*map(self.trie.open, allowed), strict=True)]

    def _children(self, level: int, states: F32, row: I64, node: I64) -> F32:
        """(m, size) log-probabilities of the codes after some nodes, each for the listener states[row]."""
        head = self.levels[level]
        hidden = linear(states, head.listener)[row]
        hidden += head.hidden[node]
        np.maximum(hidden, 0, out=hidden)
        odds: F32 = hidden @ head.mixed
        odds += (states @ head.direct)[row]
        odds += head.prior[node]
        odds -= odds.max(axis=1, keepdims=True)
        odds -= np.log(np.exp(odds).sum(axis=1, keepdims=True))
        return odds

    def _within(self, states: F32, row: I64, cell: I64) -> tuple[I64, I64, F32]:
        """The tracks of some cells, which cell each belongs to, and its log-probability there."""
        track, owner = self.trie.tracks(cell)
        asked = linear(states, self.ask)[row[owner]]
        odds = np.einsum("md,md->m", asked, self.key[track]) + self.apart[track]
        begins = np.flatnonzero(np.diff(owner, prepend=-1))
        odds -= np.maximum.reduceat(odds, begins)[owner]
        odds -= np.log(np.add.reduceat(np.exp(odds), begins))[owner]
        return track, owner, odds

    def _tracks(self, states: F32, node: I64, score: F32, allowed: Bools | None, k: int) -> tuple[I64, F32]:
        """The k likeliest tracks of cells (b, w) that have these scores."""
        row, place = np.nonzero(np.isfinite(score))
        ids = np.full((len(states), k), -1, np.int64)
        scores = np.full((len(states), k), _NEVER, np.float32)
        if not len(row):
            return ids, scores
        track, owner, likely = self._within(states, row, node[row, place])
        found, of = score[row, place][owner] + likely, row[owner]
        if allowed is not None:
            may = allowed[track] if allowed.ndim == 1 else allowed[of, track]
            track, found, of = track[may], found[may], of[may]
        order = np.lexsort((track, -found, of))
        track, found, of = track[order], found[order], of[order]
        rank = np.arange(len(of)) - np.searchsorted(of, np.arange(len(states)))[of]
        kept = rank < k
        ids[of[kept], rank[kept]], scores[of[kept], rank[kept]] = track[kept], found[kept]
        return ids, scores


def _branching(
    head: Head, prefix: torch.Tensor, child: NDArray[np.int32], below: NDArray[np.float64]
) -> Branching:
    with np.errstate(divide="ignore"):
        log = np.where(child >= 0, np.log(below)[child], -np.inf)
    mixed, bias = affine(head.mixed)
    return Branching(
        listener=affine(head.listener),
        mixed=mixed,
        direct=values(head.direct.weight).T,
        hidden=head.prefix(prefix).numpy(),
        prior=(log + bias).astype(np.float32),
    )
