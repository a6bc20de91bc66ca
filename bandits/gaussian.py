"""Gaussian beliefs over weights: where they start, how wide they are at a context, and joint draws from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bandits.streams import normals
from recsys.errors import BadInput

Floats = NDArray[np.float64]


def start(prior: tuple[float, ...] | None, dim: int) -> Floats:
    """(dim,) prior mean of the weights; zeros where none is given.

    Raises:
        BadInput: a prior of another size than `dim`.
    """
    if prior is not None and len(prior) != dim:
        raise BadInput(f"the prior has {len(prior)} weights, the contexts have {dim}")
    return np.zeros(dim) if prior is None else np.asarray(prior, np.float64)


def width(covariance: Floats, contexts: Floats) -> Floats:
    """(n, arms) standard deviations of x'w, of covariances (arms, dim, dim) at contexts (n, dim)."""
    spread = ((contexts @ covariance) * contexts).sum(-1)
    return np.asarray(np.sqrt(np.maximum(spread, 0.0)).T)


def joint(precision: Floats, samples: int, seed: int) -> Floats:
    """(samples, dim) draws of weights less their mean, of one precision (dim, dim)."""
    draws = normals(seed, (samples, len(precision)))
    return np.asarray(np.linalg.solve(np.linalg.cholesky(precision).T, draws.T).T, np.float64)
