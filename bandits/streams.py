"""Random streams of a decision, each its own function of the logged seed: posterior samples, draws, hashes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.slate import scramble

Floats = NDArray[np.float64]
_SAMPLES = 1 << 64  # apart from recsys.slate.fill, which draws from the key `seed` itself
_NOISE = 2 << 64
_PICKS = 3 << 64


def normals(seed: int, shape: tuple[int, ...]) -> Floats:
    """Standard normal draws for posterior samples."""
    return np.random.Generator(np.random.Philox(key=seed + _SAMPLES)).standard_normal(shape)


def gammas(seed: int, shape: Floats, size: tuple[int, ...]) -> Floats:
    """Standard gamma draws for the noise of posterior samples."""
    return np.random.Generator(np.random.Philox(key=seed + _NOISE)).standard_gamma(shape, size)


def uniforms(seed: int, n: int) -> Floats:
    """(n,) quantiles at which the rows of a batch are drawn."""
    return np.random.Generator(np.random.Philox(key=seed + _PICKS)).random(n)


def hashed(keys: NDArray[np.int64], replicas: int, seed: int) -> Floats:
    """(replicas, n) uniforms in [0, 1), a function of (key, replica, seed) alone."""
    ids = keys[None, :] * np.int64(replicas) + np.arange(replicas, dtype=np.int64)[:, None]
    return (scramble(ids, seed) >> np.uint64(11)).astype(np.float64) * 2.0**-53
