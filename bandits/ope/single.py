"""Estimators of the value of a target policy from decisions of one draw each, as arrays over n decisions.

weight: target's over logging policy's probability of what was logged. q_logged: a reward model's value of what was
logged; q_target: the model's mean under the target's distribution. The model must not have seen the decision
(`reward_model.cross_fit`). Where a weight is left out or shrunk, the model's own error reaches the estimate: intervals
need `Terms.plus(fitted.correction(kept))`.
"""

from __future__ import annotations

import numpy as np

from bandits.ope.lists import Lists
from bandits.ope.terms import F64, Terms


def ips(weight: F64, reward: F64) -> Terms:
    """Inverse propensity scoring (Horvitz & Thompson 1952; Li et al. 2011): unbiased under support."""
    return Terms.mean(weight * reward, weight)


def snips(weight: F64, reward: F64) -> Terms:
    """Self-normalised: the weighted mean (Hajek 1971; Swaminathan & Joachims 2015); biased by O(1/n), within range."""
    return Terms(weight * reward, weight, weight)


def dm(weight: F64, q_target: F64) -> Terms:
    """Direct method (Beygelzimer & Langford 2009): the reward model's mean; as right as the model is."""
    return Terms.mean(q_target, weight)


def dr(weight: F64, reward: F64, q_logged: F64, q_target: F64) -> Terms:
    """Doubly robust (Dudik, Langford & Li 2011): right where the propensities or the model are."""
    return Terms.mean(q_target + weight * (reward - q_logged), weight)


def switch_dr(weight: F64, reward: F64, q_logged: F64, q_target: F64, threshold: float) -> Terms:
    """SWITCH-DR (Wang, Agarwal & Dudik 2017): weights above the threshold are left to the model.

    Infinite threshold: DR; 0: the direct method for every decision of positive weight.
    """
    return Terms.mean(q_target + switched(weight, threshold) * (reward - q_logged), weight)


def dr_shrunk(weight: F64, reward: F64, q_logged: F64, q_target: F64, shrinkage: float) -> Terms:
    """DR with optimistic shrinkage (Su, Dimakopoulou, Krishnamurthy & Dudik 2020); 0: direct method, infinite: DR."""
    return Terms.mean(q_target + shrunk(weight, shrinkage) * (reward - q_logged), weight)


def switched(weight: F64, threshold: float) -> F64:
    return np.where(weight <= threshold, weight, 0.0)


def shrunk(weight: F64, shrinkage: float) -> F64:
    """lambda w / (w^2 + lambda), written so that it is finite at every lambda from 0 to infinity."""
    if shrinkage == 0:
        return np.zeros(len(weight))
    with np.errstate(over="ignore"):  # of a weight far above sqrt(lambda) nothing is left
        return np.asarray(weight / (weight * (weight / shrinkage) + 1.0))


def mips(target: Lists, logging: Lists, likelihood: Lists, reward: F64) -> Terms:
    """Marginalised IPS over action embeddings (Saito & Joachims 2022).

    The weight is the logged embedding's probability under the target over that under the logging policy, each summed
    over the eligible set: sum_a pi(a|x) p(e|x,a). Of several embedding dimensions `likelihood` holds the joint: the
    marginals' product would be another quantity.

    Args:
        target, logging: distributions over each decision's eligible set.
        likelihood: p(logged embedding | x, a) for each eligible a; 1 or 0 where embeddings are categories of items.
    """
    under_target = target.times(likelihood).sums()
    weight = under_target / logging.times(likelihood).sums()
    return ips(weight, reward)
