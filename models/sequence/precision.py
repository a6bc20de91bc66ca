"""In which number format products are formed: bfloat16 where the processor has it, with float32 sums.

Weights, residual stream, normalisation, loss and gradients stay float32; factors of matrix products are rounded.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]


def settled_precision(precision: Precision) -> Precision:
    """ "auto" is bfloat16 where the processor multiplies it natively, else float32."""
    if precision == "auto":
        return "bfloat16" if has_bfloat16() else "float32"
    return precision


def compute_type(precision: Precision) -> torch.dtype:
    """The type of matrix factors in training."""
    return torch.bfloat16 if settled_precision(precision) == "bfloat16" else torch.float32


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 natively (elsewhere that is emulated, slower than float32)."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


class Dense(nn.Linear):
    """A linear layer that multiplies in the type of its input; its weights stay float32."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return functional.linear(x, self.weight.to(x.dtype), bias)
