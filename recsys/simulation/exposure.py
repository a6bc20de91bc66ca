"""The earlier recommender whose home pages are in the log: a plain, randomised policy with exact propensities.

It sees only what a service sees: counts of plays, genres and each listener's library of played tracks. It ranks
about forty candidates by public popularity and played genre, and fills slots one after the other from an
ε-mixture of a softmax over what remains and a uniform choice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.simulation.rng import F64

SLOTS = 8
EPSILON = 0.1
TEMPERATURE = 0.7


def conditional(score: F64, left: NDArray[np.bool_]) -> F64:
    """(r, c) P(candidate is placed next | those still left): zero where not left.

    Args:
        score: (r, c) ranking scores; -inf where not eligible. left: (r, c) eligible and not yet placed.
    """
    top = np.max(np.where(left, score, -np.inf), axis=1, keepdims=True)
    weight = np.where(left, np.exp((np.where(left, score, top) - top) / TEMPERATURE), 0.0)
    out: F64 = (1 - EPSILON) * weight / weight.sum(1, keepdims=True) + EPSILON * left / left.sum(
        1, keepdims=True
    )
    return out


def place(score: F64, u: F64, slots: int = SLOTS) -> tuple[NDArray[np.int64], F64]:
    """Fills `slots` slots of r pages.

    Args:
        score: (r, c) with at least `slots` finite entries a row. u: (slots, r) uniform draws.

    Returns:
        (r, slots) candidate numbers and (r, slots) conditional propensities given all slots before.
    """
    rows = np.arange(len(score))
    left = np.isfinite(score)
    chosen = np.empty((len(score), slots), np.int64)
    propensity = np.empty((len(score), slots))
    for slot in range(slots):
        p = conditional(score, left)
        cumulative = np.cumsum(p, axis=1)
        pick = (cumulative <= (u[slot] * cumulative[:, -1])[:, None]).sum(1)
        chosen[:, slot] = pick
        propensity[:, slot] = p[rows, pick]
        left[rows, pick] = False
    return chosen, propensity


def without_repeats(track: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(r, c) mask of the first occurrence of each track in its row."""
    order = np.argsort(track, axis=1, kind="stable")
    ordered = np.take_along_axis(track, order, axis=1)
    again = np.zeros(track.shape, bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    out = np.empty(track.shape, bool)
    np.put_along_axis(out, order, ~again, axis=1)
    return out
