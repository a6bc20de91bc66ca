"""Estimators of the value of whole slates (the sum of rewards over slots), as arrays over n slates of up to K slots.

ratio: (n, K) target's over logging policy's probability of the item at the slot, given what was placed before it;
reward: (n, K). Slots that a slate does not have hold ratio 1 and reward 0 (`padded`), and False in `real`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bandits.ope.lists import Lists
from bandits.ope.terms import F64, Terms

Bools = NDArray[np.bool_]


def slate_ips(ratio: F64, reward: F64) -> Terms:
    """Standard slate IPS: the product of all slots' ratios; unbiased under support, useless for long slates."""
    weight = ratio.prod(axis=1)
    return Terms.mean(weight * reward.sum(axis=1), weight)


def slate_snips(ratio: F64, reward: F64) -> Terms:
    """The same, self-normalised: the weighted mean of slates."""
    weight = ratio.prod(axis=1)
    return Terms(weight * reward.sum(axis=1), weight, weight)


def independent_ips(marginal: F64, reward: F64, real: Bools) -> Terms:
    """Independent IPS (Li et al. 2018): each slot by itself; right where its reward depends on its own item alone.

    Args:
        marginal: (n, K) ratio of the probabilities that the item is at the slot, whatever is before it. With slots
            drawn without replacement this is not the ratio of the logged conditional propensities.
    """
    return Terms.mean((marginal * reward).sum(axis=1), _per_slot(marginal, real))


def reward_interaction_ips(ratio: F64, reward: F64, real: Bools) -> Terms:
    """RIPS (McInerney et al. 2020): a slot's reward weighted by the slots down to it.

    Unbiased under the cascade assumption: a slot's reward depends on it and on the slots above, not on those below.
    """
    prefix = np.asarray(np.cumprod(ratio, axis=1), np.float64)
    return Terms.mean((prefix * reward).sum(axis=1), _per_slot(prefix, real))


def cascade_dr(ratio: F64, reward: F64, q_logged: F64, q_target: F64, real: Bools) -> Terms:
    """Cascade doubly robust (Kiyohara et al. 2022): RIPS with a model of the reward to come as control variate.

    Args:
        q_logged: (n, K) the model's value of the logged item at the slot and all that the target would place below it.
        q_target: (n, K) its mean under the target's distribution for the slot; both 0 where there is no slot.
    """
    prefix = np.asarray(np.cumprod(ratio, axis=1), np.float64)
    before = np.column_stack([np.ones(len(prefix)), prefix[:, :-1]])
    top = (prefix * (reward - q_logged) + before * q_target).sum(axis=1)
    return Terms.mean(top, _per_slot(prefix, real))


def pseudo_inverse(weight: F64, reward: F64) -> Terms:
    """Pseudo-inverse estimator (Swaminathan et al. 2017): unbiased where a slate's reward is a sum over (slot, item).

    Args:
        weight: (n,) 1(slate)' Gamma^+ q of each slate, from `slate_law.additive_weights`, or `factored_weight`; may be
            negative.
    """
    return Terms.mean(weight * reward.sum(axis=1), weight)


def factored_weight(marginal: F64, real: Bools) -> F64:
    """The pseudo-inverse weight where the slots are drawn independently: 1 + sum of (ratio - 1) over slots."""
    return np.asarray(1 + np.where(real, marginal - 1, 0.0).sum(axis=1))


def padded(slots: Lists, fill: float) -> F64:
    """(n, K) with `fill` behind the end of shorter slates."""
    lengths = np.diff(slots.offsets)
    out = np.full((len(slots), int(lengths.max(initial=0))), fill)
    out[np.arange(out.shape[1]) < lengths[:, None]] = slots.values
    return out


def present(slots: Lists) -> Bools:
    """(n, K) whether the slate has the slot."""
    lengths = np.diff(slots.offsets)
    return np.asarray(np.arange(int(lengths.max(initial=0))) < lengths[:, None])


def _per_slot(weights: F64, real: Bools) -> F64:
    """A slate's weight where all of its slots are worth the same: the mean over its slots."""
    return np.asarray((weights * real).sum(axis=1) / np.maximum(real.sum(axis=1), 1))
