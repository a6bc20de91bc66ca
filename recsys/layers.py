"""Layers of a trained torch network as numpy arrays, for requests whose matrices are too small to pay for torch.

up = affine(network.up)        # views of its weights
x = gelu(linear(x, up))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor, nn

F32: TypeAlias = NDArray[np.float32]
Affine: TypeAlias = tuple[F32, F32]
"""A right-hand factor (inputs, outputs) and a bias (outputs,)."""


def values(tensor: Tensor) -> F32:
    """A view of a parameter."""
    return cast("F32", tensor.detach().numpy())


def affine(layer: nn.Linear) -> Affine:
    """Views of a linear layer's weights."""
    return values(layer.weight).T, values(layer.bias)


def scale_and_shift(layer: nn.LayerNorm) -> tuple[F32, F32]:
    """Views of a normalisation's weights, for `normed`."""
    return values(layer.weight), values(layer.bias)


def linear(x: F32, layer: Affine) -> F32:
    """(m, inputs) to (m, outputs)."""
    out: F32 = x @ layer[0]
    out += layer[1]
    return out


def normed(x: F32, scale: F32, shift: F32) -> F32:
    """Layer normalisation of each row of (m, d), with torch's ε."""
    centered: F32 = x - x.mean(axis=1, keepdims=True)
    variance = np.einsum("ij,ij->i", centered, centered) / np.float32(x.shape[1])
    centered *= (1 / np.sqrt(variance + np.float32(1e-5)))[:, None]
    centered *= scale
    centered += shift
    return centered


def gelu(x: F32) -> F32:
    """Torch's own: the error function is the one step here at which it is far ahead."""
    import torch

    return cast("F32", torch.nn.functional.gelu(torch.from_numpy(x)).numpy())
