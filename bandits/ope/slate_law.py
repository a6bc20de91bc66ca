"""The whole distribution over slates of a slot policy, by enumeration: marginals, and weights of the pseudo-inverse.

slates, logging = law(lambda prefix: probabilities, items=8, slots=3)
_, target = law(other, items=8, slots=3)
weights = additive_weights(slates, logging, target, items=8)     # one a slate

For small eligible sets: 8 items in 3 slots are 336 slates.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np

from bandits.ope.terms import F64, I64
from recsys.errors import BadInput

MOST = 50_000


def law(next_slot: Callable[[tuple[int, ...]], F64], items: int, slots: int) -> tuple[I64, F64]:
    """All ordered slates without repeats (s, slots), and the probability (s,) of each.

    Args:
        next_slot: the items placed so far -> (items,) probabilities of the next, 0 for those placed.

    Raises:
        BadInput: more than 50,000 slates.
    """
    count = int(np.prod(np.arange(items, items - slots, -1, dtype=np.float64)))
    if count > MOST:
        raise BadInput(
            f"{count} slates are too many to enumerate: take fewer slots or items (at most {MOST} slates)"
        )
    slates = np.array(list(permutations(range(items), slots)), np.int64)
    step = np.ones(len(slates))
    for k in range(slots):
        prefixes, which = np.unique(slates[:, :k], axis=0, return_inverse=True) if k else (slates[:1, :0], 0)
        table = np.array([next_slot(tuple(prefix.tolist())) for prefix in prefixes])
        step *= table[np.broadcast_to(np.ravel(which), len(slates)), slates[:, k]]
    return slates, step


def marginals(slates: I64, probability: F64, items: int) -> F64:
    """(slots, items) probability that the item is at the slot."""
    return np.array([np.bincount(column, probability, minlength=items) for column in slates.T])


def additive_weights(slates: I64, logging: F64, target: F64, items: int) -> F64:
    """(s,) 1(slate)' Gamma^+ q, Gamma = E[1 1'] under the logging policy, q = E[1] under the target.

    Raises:
        BadInput: the target places items where the logging policy never does.
    """
    slots = slates.shape[1]
    shown = np.zeros((len(slates), slots * items))
    np.put_along_axis(shown, slates + np.arange(slots) * items, 1.0, axis=1)
    wanted = target @ shown
    if (wanted[(logging @ shown) <= 0] > 0).any():
        raise BadInput("the target places items at slots where the logging policy never does")
    gamma = shown.T @ (shown * logging[:, None])
    return np.asarray(shown @ (np.linalg.pinv(gamma, rcond=1e-10, hermitian=True) @ wanted))
