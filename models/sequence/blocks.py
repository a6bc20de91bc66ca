"""The blocks of a causal transformer and what may be chosen in them; shared by the product's network (network.py) and
by plain id sequences (idnetwork.py).

    config = EncoderConfig(embedding_dim=128, block="gated", positions="relative")
    blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers)); turn = rotation(config, layout)
"""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from models.sequence.attention import Layout, attend, pointwise
from models.sequence.dropout import dropout
from models.sequence.precision import Dense

Turn = tuple[Tensor, Tensor]


class EncoderConfig(BaseModel):
    """Shape of the transformer. `block`: "plain" adds what attention and feed-forward give to the residual stream
    (pre-norm; SASRec, Kang & McAuley, ICDM 2018), "gated" through a sigmoid gate of the stream (LiGR, Borisyuk et
    al., 2025), "pointwise" is HSTU's (Zhai et al., ICML 2024)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    embedding_dim: int = Field(64, ge=4)
    num_layers: int = Field(2, ge=1)
    num_heads: int = Field(2, ge=1)
    max_length: int = Field(50, ge=2, description="tokens that one sees at most")
    dropout: float = Field(0.1, ge=0, lt=1)
    block: Literal["plain", "gated", "pointwise"] = "plain"
    positions: Literal["rotary", "learned", "relative", "none"] = "rotary"
    feed_forward: Literal["gelu", "relu", "swiglu", "none"] = "gelu"
    expansion: int = Field(4, ge=1, description="width of the feed-forward, in embedding_dim")

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.embedding_dim % (2 * self.num_heads):
            raise ValueError(
                "embedding_dim must be a multiple of 2 * num_heads (rotary positions turn pairs)"
            )
        return self


class Block(nn.Module):
    """Pre-norm attention and feed-forward, each with a residual path. The stream is float32; matrix products are in
    the layout's type."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        d, wide = config.embedding_dim, config.expansion * config.embedding_dim
        self.config, self.heads, self.dropout = config, config.num_heads, config.dropout
        self.norm_1, self.norm_2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = Dense(d, 3 * d, bias=False), Dense(d, d, bias=False)
        if config.feed_forward != "none":
            self.up, self.down = Dense(d, wide), Dense(wide, d)
        if config.feed_forward == "swiglu":
            self.switch = Dense(d, wide)
        if config.block == "gated":
            self.gate_1, self.gate_2 = Dense(d, d), Dense(d, d)
        if config.block == "pointwise":
            self.switch_1, self.norm_3 = Dense(d, d), nn.LayerNorm(d)
        if config.positions == "relative":
            self.near = nn.Parameter(torch.zeros(config.num_heads, config.max_length + 1))

    def forward(self, x: Tensor, layout: Layout, turn: Turn | None) -> Tensor:
        """(b, t, d) to (b, t, d)."""
        gated = self.config.block == "gated"
        mixed = self._drop(self.out(self._attention(self.norm_1(x).to(layout.compute), layout, turn)))
        if gated:
            mixed = mixed * torch.sigmoid(self.gate_1(x.to(layout.compute)))
        x = x + mixed
        if self.config.feed_forward == "none":
            return x
        fed = self._drop(self._feed(self.norm_2(x).to(layout.compute)))
        if gated:
            fed = fed * torch.sigmoid(self.gate_2(x.to(layout.compute)))
        return x + fed

    def _attention(self, y: Tensor, layout: Layout, turn: Turn | None) -> Tensor:
        b, t, d = y.shape
        qkv = self.qkv(y).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv
        if turn is not None:
            q, k = rotate(qkv[:2], turn)
        bias = None
        if self.config.positions == "relative":
            bias = self.near[:, layout.distance()].transpose(0, 1)
        how = pointwise if self.config.block == "pointwise" else attend
        mixed = how(q, k, v, layout, bias).transpose(1, 2).reshape(b, t, d)
        if self.config.block == "pointwise":
            mixed = self.norm_3(mixed.float()).to(y.dtype) * functional.silu(self.switch_1(y))
        return mixed

    def _feed(self, y: Tensor) -> Tensor:
        up = self.up(y)
        match self.config.feed_forward:
            case "swiglu":
                up = functional.silu(self.switch(y)) * up
            case "relu":
                up = functional.relu(up)
            case _:
                up = functional.gelu(up)
        out: Tensor = self.down(up)
        return out

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout, self.training)


def rotation(length: int, width: int) -> Turn:
    """Cosines and sines (length, width / 2) of rotary positions (Su et al., 2021)."""
    frequency = 10_000.0 ** (-torch.arange(0, width, 2) / width)
    angle = torch.arange(length)[:, None] * frequency
    return angle.cos(), angle.sin()


def turned(turn: Turn, layout: Layout) -> Turn:
    """The rows of `turn` for a layout's tokens, (1 or b, 1, t, width / 2), in its type."""
    cos, sin = (part[layout.position][:, None].to(layout.compute) for part in turn)
    return cos, sin


def rotate(x: Tensor, by: Turn) -> Tensor:
    """Rotates the two halves of the last axis of (..., t, width) by position."""
    cos, sin = by
    left, right = x.chunk(2, dim=-1)
    return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1)
