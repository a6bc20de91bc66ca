"""What a learner is told: contexts, arms, rewards and times, as arrays that have been looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recsys.errors import BadInput

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Observations:
    """n observations.

    Attributes:
        contexts: (n, dim). arms: (n,). rewards: (n,). when: (n,) or None. weights: (n,). keys: (n,) or None.
    """

    contexts: Floats
    arms: NDArray[np.int64]
    rewards: Floats
    when: Floats | None
    weights: Floats
    keys: NDArray[np.int64] | None


def matrix(contexts: ArrayLike, dim: int) -> Floats:
    """Contexts as (n, dim) doubles; one context (dim,) is one row.

    Raises:
        BadInput: another width, or a value that is not finite.
    """
    out = np.asarray(contexts, np.float64)
    out = out[None] if out.ndim == 1 else out
    if out.ndim != 2 or out.shape[1] != dim:
        raise BadInput(f"contexts have the shape {np.shape(contexts)}: expected (n, {dim})")
    if not np.isfinite(out).all():
        raise BadInput("contexts hold values that are not finite: fill or drop them first")
    return out


def check(
    dim: int,
    arms_known: int,
    contexts: ArrayLike,
    arms: ArrayLike,
    rewards: ArrayLike,
    when: ArrayLike | None,
    weights: ArrayLike | None,
    keys: ArrayLike | None,
) -> Observations:
    """The observations of one `partial_fit`.

    Raises:
        BadInput: shapes that do not fit, an unknown arm, a negative weight, values that are not finite.
    """
    x, chosen = matrix(contexts, dim), np.asarray(arms, np.int64).reshape(-1)
    n = len(x)
    y = _column("rewards", rewards, n)
    w = np.ones(n) if weights is None else _column("weights", weights, n)
    if chosen.shape != (n,) or (n and (chosen.min() < 0 or chosen.max() >= arms_known)):
        raise BadInput(f"arms must be {n} numbers in 0..{arms_known - 1}")
    if n and w.min() < 0:
        raise BadInput("weights must not be negative")
    at = None if when is None else _column("when", when, n)
    names = None if keys is None else np.asarray(keys).astype(np.int64).reshape(-1)
    if names is not None and len(names) != n:
        raise BadInput(f"{len(names)} keys for {n} observations")
    return Observations(x, chosen, y, at, w, names)


def _column(name: str, values: ArrayLike, n: int) -> Floats:
    out = np.asarray(values, np.float64).reshape(-1)
    if out.shape != (n,) or not np.isfinite(out).all():
        raise BadInput(f"{name} must be {n} finite numbers")
    return out
