"""Causal attention over rows of tokens; a row holds one sequence, or several that do not see each other.

    layout = Layout.padded(rows, slots)           # one right-padded sequence a row
    layout = Layout.packed(segment, position)     # several

In bfloat16 on a CPU two batched products around a softmax take half the time of torch's
scaled_dot_product_attention (lengths 50 to 200); everywhere else that is what is used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Layout:
    """How tokens (b, t) stand in rows."""

    position: Tensor  # (1 or b, t) of each token in its own sequence
    mask: Tensor  # (1 or b, t, t) float32: 0 where the first token attends to the second, else -inf
    causal: bool  # the mask is the causal one of every row
    compute: torch.dtype = torch.float32

    @classmethod
    def padded(cls, slots: int, compute: torch.dtype = torch.float32) -> Layout:
        """One sequence a row, beginning at its first slot; what stands after its end reaches no slot before."""
        mask = torch.full((slots, slots), -torch.inf).triu(1)
        return cls(torch.arange(slots)[None], mask[None], True, compute)

    @classmethod
    def packed(cls, segment: Tensor, position: Tensor, compute: torch.dtype = torch.float32) -> Layout:
        """Several sequences a row: segment (b, t) numbers them, position (b, t) counts within each."""
        after = torch.ones(segment.shape[1:] * 2, dtype=torch.bool).triu(1)
        apart = segment[:, :, None] != segment[:, None]
        mask = torch.zeros(apart.shape).masked_fill_(apart | after, -torch.inf)
        return cls(position, mask, False, compute)

    def to(self, device: torch.device) -> Layout:
        return replace(self, position=self.position.to(device), mask=self.mask.to(device))

    def distance(self) -> Tensor:
        """(1 or b, t, t) how many tokens lie between two of one sequence; 0 for later ones and other sequences."""
        apart = self.position[:, :, None] - self.position[:, None]
        return torch.where(torch.isinf(self.mask), 0, apart).clamp_min(0)


def attend(q: Tensor, k: Tensor, v: Tensor, layout: Layout, bias: Tensor | None) -> Tensor:
    """(b, heads, t, w) softmax attention; `bias` (1 or b, heads, t, t) is added to the scores."""
    if q.dtype == torch.bfloat16 and q.device.type == "cpu":
        return _products(q, k, v, _added(layout, bias).to(q.dtype))
    if layout.causal and bias is None:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=_added(layout, bias).to(q.dtype))


def pointwise(q: Tensor, k: Tensor, v: Tensor, layout: Layout, bias: Tensor | None) -> Tensor:
    """(b, heads, t, w): each earlier token weighs silu(score), without normalising over tokens, as in HSTU (Zhai et
    al., ICML 2024); divided by the square root of the row's length to keep its size."""
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + bias.to(scores.dtype)
    seen = ~torch.isinf(layout.mask)[:, None]
    return (functional.silu(scores) * seen * q.shape[-2] ** -0.5) @ v


def _added(layout: Layout, bias: Tensor | None) -> Tensor:
    """(1 or b, 1 or heads, t, t)"""
    mask = layout.mask[:, None]
    return mask if bias is None else mask + bias


def _products(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    (b, heads, t, w) = q.shape
    every = mask.expand(b, heads, t, t).reshape(-1, t, t) if max(mask.shape[:2]) > 1 else mask[0]
    q, k, v = (x.reshape(b * heads, t, w) for x in (q, k, v))
    share = torch.softmax(torch.baddbmm(every, q, k.transpose(1, 2), alpha=w**-0.5), -1)
    return torch.bmm(share, v).view(b, heads, t, w)
