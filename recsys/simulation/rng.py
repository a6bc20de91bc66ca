"""Counter-based randomness: a draw is a hash of what it is for, so that chunks and workers cannot change it.

SplitMix64 finaliser (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators").
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
F64 = NDArray[np.float64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_TO_UNIT = 2.0**-53


def mix(x: U64) -> U64:
    """SplitMix64 of every element; wraps modulo 2**64."""
    x = x + _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * _M1
    x = (x ^ (x >> np.uint64(27))) * _M2
    return x ^ (x >> np.uint64(31))


def stream(seed: int, name: str) -> np.uint64:
    """The root key of one use of randomness in one world."""
    root = mix(np.array([seed], np.uint64)) ^ np.uint64(zlib.crc32(name.encode()))
    return np.uint64(mix(root)[0])


def keys(root: np.uint64 | U64, *counters: NDArray[np.integer] | int) -> U64:
    """One key per element of the broadcast counters; the order of counters matters."""
    key = np.asarray(root, np.uint64)
    for counter in counters:
        key = mix(np.atleast_1d(key ^ mix(np.atleast_1d(np.asarray(counter)).astype(np.uint64))))
    return np.atleast_1d(key)


def uniforms(key: U64, draws: int, start: int = 0) -> F64:
    """(draws, n) numbers in (0, 1): draw j of key i depends on (key i, start + j) alone."""
    counter = (np.arange(start, start + draws, dtype=np.uint64) + np.uint64(1)) * _M1
    bits = mix(key[None, :] ^ counter[:, None])
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * _TO_UNIT


def normals(key: U64, draws: int, start: int = 0) -> F64:
    """(draws, n) standard normal numbers (Box & Muller 1958)."""
    u = uniforms(key, 2 * draws, 2 * start)
    out: F64 = np.sqrt(-2 * np.log(u[:draws])) * np.cos(2 * np.pi * u[draws:])
    return out


def pick(cumulative: F64, u: F64) -> NDArray[np.int64]:
    """Index drawn from one cumulative weight vector (not normalised) for every u."""
    at: NDArray[np.int64] = np.searchsorted(cumulative, u * cumulative[-1], side="right")
    return np.minimum(at, len(cumulative) - 1)


def pick_rows(weights: F64, u: F64) -> NDArray[np.int64]:
    """(n,) index drawn from each row of (n, k) non-negative weights."""
    cumulative = np.cumsum(weights, axis=1)
    at: NDArray[np.int64] = (cumulative < (u * cumulative[:, -1])[:, None]).sum(1)
    out: NDArray[np.int64] = np.minimum(at, weights.shape[1] - 1)
    return out
