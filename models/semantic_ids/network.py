"""The network over semantic ids: a causal transformer reads a listener's plays, a small head a level writes codes.

A play enters as the embeddings of its track's codes, its track's vector, how it ended and the pause before it; the
plays before the window enter as the mean of their vectors. Level by level, the log-odds of the codes that may follow
a prefix are log(plays below each) plus a function of the listener and the prefix (as the depth transformer of Lee et
al., CVPR 2022, in one hidden layer); within a cell a track is told from its neighbours by its vector (as Yang et al.,
"Unifying generative and dense retrieval", 2024), since its last number means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.semantic_ids.config import SemanticConfig
from recsys.plays import I64

OUTCOMES = 3
GAPS = 12
"""Buckets of the pause before a play: none, then by factors of four from a second to twelve days."""
HOURS, DEVICES = 24, 8


def gap_bucket(gap_ms: NDArray[np.integer]) -> I64:
    """(n,) 1..GAPS - 1; 0 where there is no play before (negative)."""
    bucket = 1 + np.floor(np.log2(np.maximum(gap_ms, 1000) / 1000) / 2).astype(np.int64)
    return np.where(gap_ms < 0, 0, np.minimum(bucket, GAPS - 1))


@dataclass(frozen=True)
class Windows:
    """b windows of up to L plays, oldest first, and what came before them."""

    track: I64  # (b, L) -1 pads at the end
    outcome: I64  # (b, L)
    gap: I64  # (b, L) bucket of the pause before
    earlier: I64  # (e,) tracks played before the windows
    offsets: I64  # (b,) where each window's begin in `earlier`

    def shortened(self, length: int) -> Windows:
        """The first `length` plays of each."""
        return replace(
            self,
            track=self.track[:, :length],
            outcome=self.outcome[:, :length],
            gap=self.gap[:, :length],
        )


@dataclass(frozen=True)
class Moments:
    """p moments that something is predicted for."""

    gap: I64  # (p,) bucket of the pause since the last play
    hour: I64  # (p,)
    device: I64  # (p,)


class Block(nn.Module):
    """Pre-norm causal attention with rotary positions, then a perceptron."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        b, length, dim = x.shape
        q, k, v = self.qkv(self.norm_1(x)).view(b, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(
            _turned(q, cos, sin), _turned(k, cos, sin), v, is_causal=True
        )
        x = x + self.out(mixed.transpose(1, 2).reshape(b, length, dim))
        out: Tensor = x + self.down(nn.functional.gelu(self.up(self.norm_2(x))))
        return out


class Head(nn.Module):
    """Log-odds of the codes of one level, from the listener's state and the sum of the prefix' embeddings."""

    def __init__(self, dim: int, hidden: int, size: int) -> None:
        super().__init__()
        self.listener, self.prefix = nn.Linear(dim, hidden), nn.Linear(dim, hidden, bias=False)
        self.mixed = nn.Linear(hidden, size)
        self.direct = nn.Linear(dim, size, bias=False)

    def forward(self, state: Tensor, prefix: Tensor) -> Tensor:
        hidden = torch.relu(self.listener(state) + self.prefix(prefix))
        odds: Tensor = self.mixed(hidden) + self.direct(state)
        return odds


class Network(nn.Module):
    """Everything learned. `dim` is that of the tracks' vectors."""

    def __init__(self, sizes: tuple[int, ...], dim: int, config: SemanticConfig) -> None:
        super().__init__()
        d = config.embedding_dim
        self.read = nn.ModuleList(nn.Embedding(size, d) for size in sizes)
        self.dense, self.taste = nn.Linear(dim, d, bias=False), nn.Linear(dim, d)
        self.outcome, self.pause = nn.Embedding(OUTCOMES, d), nn.Embedding(GAPS, d)
        self.blocks = nn.ModuleList(Block(d, config.num_heads) for _ in range(config.num_layers))
        self.gap, self.hour, self.device = (nn.Embedding(n, d) for n in (GAPS, HOURS, DEVICES))
        self.norm = nn.LayerNorm(d)
        self.write = nn.ModuleList(nn.Embedding(size, d) for size in sizes)
        self.heads = nn.ModuleList(Head(d, config.hidden_dim, size) for size in sizes)
        self.ask, self.key = nn.Linear(d, d), nn.Linear(dim, d, bias=False)
        self._start()
        turn = d // config.num_heads // 2
        angle = torch.outer(torch.arange(config.max_length + 1), 10_000 ** -(torch.arange(turn) / turn))
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def _start(self) -> None:
        """Small embeddings; heads that begin at the prior, so that the first answers are by popularity."""
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.1)
            elif isinstance(module, Head):
                nn.init.zeros_(module.mixed.weight)
                nn.init.zeros_(module.mixed.bias)
                nn.init.zeros_(module.direct.weight)
        nn.init.zeros_(self.ask.weight)
        nn.init.zeros_(self.ask.bias)

    def states(self, windows: Windows, codes: Tensor, vectors: Tensor) -> Tensor:
        """(b, L + 1, d): slot t has seen what came before the window and its first t plays.

        Args:
            codes: (n, levels or more) and vectors (n, dim) of all tracks.
        """
        track = torch.from_numpy(np.maximum(windows.track, 0))
        x: Tensor = self.dense(nn.functional.embedding(track, vectors))
        for level, table in enumerate(self.read):
            x = x + table(codes[track, level])
        x = x + self.outcome(torch.from_numpy(windows.outcome)) + self.pause(torch.from_numpy(windows.gap))
        earlier, offsets = torch.from_numpy(windows.earlier), torch.from_numpy(windows.offsets)
        mean = nn.functional.embedding_bag(earlier, vectors, offsets, mode="mean")
        x = torch.cat([self.taste(mean)[:, None], x], dim=1)
        cos, sin = self.cos[: x.shape[1]], self.sin[: x.shape[1]]  # type: ignore[index]
        for block in self.blocks:
            x = block(x, cos, sin)
        return x

    def listen(self, states: Tensor, moments: Moments) -> Tensor:
        """(p, d) what the heads read: states (p, d) at moments."""
        out: Tensor = self.norm(
            states
            + self.gap(torch.from_numpy(moments.gap))
            + self.hour(torch.from_numpy(moments.hour))
            + self.device(torch.from_numpy(moments.device))
        )
        return out

    def prefixes(self, codes: Tensor) -> Tensor:
        """(m, d) sums of the embeddings of prefixes (m, any number of levels)."""
        total = torch.zeros(len(codes), self.ask.in_features)
        for level in range(codes.shape[1]):
            total = total + self.write[level](codes[:, level])
        return total


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(b, heads, L, width) rotated by position (Su et al. 2021)."""
    left, right = x.chunk(2, dim=-1)
    return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1)
