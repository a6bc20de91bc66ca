"""Slates: what a slot says that may not have been looked at.

Two models of looking. Position-based: slot k is looked at with probability θ_k, whatever is around it (Richardson,
Dominowska & Ragno 2007; Lagrée, Vernade & Cappe 2016). Cascade: from the top until the first that satisfies; what
comes after it is not looked at (Craswell et al. 2008; Kveton et al. 2015; Zong et al. 2016). Under both, the best slate
has the most attractive first, so slates are drawn slot by slot as ever, and only learning differs:

model.partial_fit(contexts * at_positions(position, theta)[:, None], arms, rewards)                 # linear
model.partial_fit(contexts, arms, rewards, weights=looked_at(position, rewards, p, theta))          # logistic
model.partial_fit(contexts, arms, rewards, weights=cascade(slate, position, rewards))               # cascade
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.errors import BadInput

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]


def at_positions(position: Ints, theta: Floats) -> Floats:
    """(n,) factor on the context of each slot: E[reward] = θ x'w is linear in θ x (least squares of Lagrée et al.).

    Raises:
        BadInput: a position that `theta` does not cover, or a θ outside 0..1.
    """
    theta = np.asarray(theta, np.float64)
    if not ((theta >= 0) & (theta <= 1)).all():
        raise BadInput("examination probabilities must lie in 0..1")
    if len(position) and (position.min() < 0 or position.max() >= len(theta)):
        raise BadInput(
            f"positions go to {position.max()}, theta covers {len(theta)}: give one for each position"
        )
    return np.asarray(theta[position])


def looked_at(position: Ints, reward: Floats, value: Floats, theta: Floats) -> Floats:
    """(n,) P(looked at | what happened): 1 with a reward, else θ (1 - v) / (1 - θ v).

    The weight of an observation for models of the attraction itself, where the context cannot be scaled (the E-step of
    Wang et al. 2018).

    Args:
        reward: (n,) more than 0 where the track was taken up. value: (n,) estimated probability of that once looked at.
    """
    seen = at_positions(position, theta)
    v = np.clip(value, 0.0, 1.0)
    unseen = seen * (1.0 - v) / np.maximum(1.0 - seen * v, 1e-12)
    return np.where(reward > 0, 1.0, unseen)


def cascade(slate: Ints, position: Ints, reward: Floats, satisfied: float = 0.0) -> Floats:
    """(n,) 1 for slots down to the first reward above `satisfied` of their slate, 0 for those after it.

    Args:
        slate: (n,) which slate each slot is of, in any order.
    """
    return (position <= _stop(slate, position, reward > satisfied, last=False)).astype(np.float64)


def dependent_clicks(slate: Ints, position: Ints, reward: Floats, satisfied: float = 0.0) -> Floats:
    """(n,) as `cascade` for listeners who go on after a track they liked: 1 down to the last such slot, and for a
    slate without any down to its end (Guo, Liu & Wang 2009; Katariya et al. 2016)."""
    return (position <= _stop(slate, position, reward > satisfied, last=True)).astype(np.float64)


def _stop(slate: Ints, position: Ints, hit: NDArray[np.bool_], last: bool) -> Ints:
    """(n,) of each slot's slate, the position of its first or last hit; of one without hits, its end."""
    _, which = np.unique(slate, return_inverse=True)
    n = int(which.max()) + 1 if len(which) else 0
    end = np.iinfo(np.int64).max
    stop = np.full(n, -1 if last else end)
    (np.maximum if last else np.minimum).at(stop, which[hit], position[hit])
    stop[stop == -1] = end
    return np.asarray(stop[which])


@dataclass(frozen=True)
class Examination:
    """θ by position, relative to position 0, with standard errors (delta method)."""

    theta: Floats
    se: Floats
    slots: NDArray[np.int64]  # behind each


def examination(position: Ints, reward: Floats, propensity: Floats, allowed: Ints) -> Examination:
    """θ from logged slots alone, by reweighing each to a uniform draw of what was allowed there.

    A uniform draw is worth the same at every position but for being looked at, so the ratio of reweighed means is
    θ_k / θ_0 (Joachims, Swaminathan & Schnabel 2017 use swaps for it). Needs support at every position and
    pools that do not change much down the slate.

    Args:
        propensity: (n,) logged. allowed: (n,) how many candidates were allowed at the slot.

    Raises:
        BadInput: a position without slots, no support, or nothing taken up at position 0.
    """
    if not len(position) or not (propensity > 0).all():
        raise BadInput(
            "examination needs logged slots with propensities above 0: log a policy with epsilon > 0"
        )
    n = np.bincount(position)
    if not n.all():
        raise BadInput(f"no slot at position {int(np.argmin(n))}: give positions 0..k without gaps")
    worth = reward / (propensity * allowed)
    mean = np.bincount(position, worth) / n
    spread = np.sqrt(np.maximum(np.bincount(position, worth**2) / n - mean**2, 0.0) / n)
    if mean[0] <= 0:
        raise BadInput("nothing was taken up at position 0: collect more slots first")
    theta = mean / mean[0]
    se = np.hypot(spread, theta * spread[0]) / mean[0]
    se[0] = 0.0
    return Examination(theta, se, n)
