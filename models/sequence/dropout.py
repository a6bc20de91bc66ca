"""Dropout (Srivastava et al., JMLR 2014) whose random bytes come eight to a draw.

On one core torch draws a Bernoulli number an element, 3 to 7 ns each; bytes of SFC64 compared with a threshold cost
0.4 ns. Seeded from torch's own stream, so `torch.manual_seed` decides it. The rate is rounded to 1/256.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """x with a share `rate` of its elements zero and the others scaled up; x itself outside training."""
    if not training or rate == 0:
        return x
    if x.device.type != "cpu":
        return torch.nn.functional.dropout(x, rate, training)
    dropped: Tensor = _Dropout.apply(x, rate)  # type: ignore[no-untyped-call]
    return dropped


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: float) -> Tensor:
        limit = max(1, round(rate * 256))
        keep = _bytes(x.numel()).view(x.shape) >= limit
        mask = keep.to(x.dtype).mul_(256 / (256 - limit))
        ctx.save_for_backward(mask)
        return x * mask

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return gradients[0] * mask, None


def _bytes(count: int) -> Tensor:
    """(count,) random bytes of a generator seeded by torch's."""
    seed = int(torch.randint(0, 2**62, ()))
    words = np.random.Generator(np.random.SFC64(seed)).integers(0, 2**64, -(-count // 8), dtype=np.uint64)
    return torch.from_numpy(words.view(np.uint8))[:count]
