"""The network's newest state for one request, in numpy: half of torch's time for matrices as small as these.

    state, weights = Inference.of(network)(tokens, vectors, groups)

The same function as `network.Network.forward` read at the last slot (to about 1e-6; a test holds it): only what that
slot needs is computed in the last block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from models.sequence.tokens import Ints, Tokens
from recsys.layers import F32, Affine, affine, gelu, linear, normed, scale_and_shift, values

if TYPE_CHECKING:
    from models.sequence.blocks import Block
    from models.sequence.network import Network


@dataclass(frozen=True)
class _Layer:
    """Weights of one block, as right-hand factors."""

    norm_1: tuple[F32, F32]
    qkv: F32  # (d, 3 d)
    out: F32  # (d, d)
    norm_2: tuple[F32, F32]
    up: Affine  # (d, 4 d), (4 d,)
    down: Affine  # (4 d, d), (d,)


@dataclass(frozen=True)
class Inference:
    """Views of a network's weights."""

    heads: int
    heard: F32  # (outcomes, d)
    tables: tuple[F32, ...]  # outcome, surface, gap, hour, device; (·, d) each
    run: F32  # (2, d)
    turn: tuple[F32, F32]  # cosines and sines (slots, width / 2)
    mask: F32  # (slots, slots) -inf at what comes later
    layers: tuple[_Layer, ...]
    norm: tuple[F32, F32]
    hidden: Affine
    weigh: Affine

    @classmethod
    def of(cls, network: Network) -> Inference:
        """Of a trained network; its weights must not change afterwards."""
        blocks = [cast("Block", block) for block in network.blocks]
        tables = (network.outcome, network.surface, network.gap, network.hour, network.device)
        return cls(
            heads=blocks[0].heads,
            heard=values(network.heard.weight),
            tables=tuple(values(table.weight) for table in tables),
            run=values(network.run.weight).T,
            turn=(values(network.cos), values(network.sin)),
            mask=np.triu(np.full((len(network.cos),) * 2, -np.inf, np.float32), 1),
            layers=tuple(
                _Layer(
                    scale_and_shift(block.norm_1),
                    values(block.qkv.weight).T,
                    values(block.out.weight).T,
                    scale_and_shift(block.norm_2),
                    affine(block.up),
                    affine(block.down),
                )
                for block in blocks
            ),
            norm=scale_and_shift(network.norm),
            hidden=affine(network.weigh.hidden),
            weigh=affine(network.weigh.out),
        )

    def __call__(self, tokens: Tokens, vectors: F32, groups: Ints) -> tuple[F32, F32]:
        """State (1, d) and evidence weights (1, features) after the last slot of one request.

        Args:
            vectors: (tracks + 2, d) of every track number. groups: (tracks + 2, 2) artist and album of each.
        """
        x = self._embed(tokens, int(tokens.length[0]) + 1, vectors, groups)
        for layer in self.layers[:-1]:
            x = self._block(layer, x, 0)
        state = normed(self._block(self.layers[-1], x, len(x) - 1), *self.norm)
        return state, linear(gelu(linear(state, self.hidden)), self.weigh)

    def _embed(self, tokens: Tokens, slots: int, vectors: F32, groups: Ints) -> F32:
        """(slots, d)"""
        track, outcome = tokens.track[0, :slots], tokens.outcome[0, :slots]
        x: F32 = vectors[track] * self.heard[outcome]
        columns = (outcome, *(c[0, :slots] for c in (tokens.surface, tokens.gap, tokens.hour, tokens.device)))
        for table, column in zip(self.tables, columns, strict=True):
            x += table[column]
        own = groups[track]
        x[1:] += (own[1:] == own[:-1]).astype(np.float32) @ self.run
        return x

    def _block(self, layer: _Layer, x: F32, first: int) -> F32:
        """(slots - first, d): what a block makes of the slots from `first` on, each of which attends to all up to
        itself."""
        d = x.shape[1]
        inner = normed(x, *layer.norm_1)
        q = self._turned(inner[first:] @ layer.qkv[:, :d], first)
        k = self._turned(inner @ layer.qkv[:, d : 2 * d], 0)
        logits: F32 = q @ k.transpose(0, 2, 1)
        logits *= np.float32(k.shape[2] ** -0.5)
        if len(x) - first > 1:
            logits += self.mask[first : len(x), : len(x)]
        logits -= logits.max(axis=2, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=2, keepdims=True)
        mixed: F32 = logits @ self._by_head(inner @ layer.qkv[:, 2 * d :])
        out: F32 = x[first:] + mixed.transpose(1, 0, 2).reshape(-1, d) @ layer.out
        out += linear(gelu(linear(normed(out, *layer.norm_2), layer.up)), layer.down)
        return out

    def _by_head(self, x: F32) -> F32:
        """(slots, d) to (heads, slots, d / heads)."""
        return x.reshape(len(x), self.heads, -1).transpose(1, 0, 2)

    def _turned(self, x: F32, first: int) -> F32:
        """(heads, slots, d / heads) rotated by position, the first row at slot `first`."""
        cos, sin = (part[first : first + len(x), None] for part in self.turn)
        half = cos.shape[2]
        x = x.reshape(len(x), self.heads, 2 * half)
        left, right, turned = x[..., :half], x[..., half:], np.empty_like(x)
        np.subtract(left * cos, right * sin, out=turned[..., :half])
        np.add(left * sin, right * cos, out=turned[..., half:])
        return turned.transpose(1, 0, 2)
