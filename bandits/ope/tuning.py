"""Thresholds of SWITCH-DR and lambda of DR with shrinkage, chosen by an upper bound on their mean squared error.

Leaving weight out costs bias and saves variance. The bias is the mean of what is left out, (w - w_kept)(r - q); its
upper bound adds its own standard error times z (Su et al. 2020, section 5; Wang et al. 2017, section 4.2 bound it by
the greatest reward instead). Error and variance are by listener.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bandits.ope.intervals import standard_error
from bandits.ope.reward_model import Fitted
from bandits.ope.single import shrunk, switched
from bandits.ope.terms import F64, I64, Terms

Z = 1.645


def grid_of(weight: F64) -> list[float]:
    """Twenty quantiles of the positive weights, and infinity: DR itself is always a choice."""
    positive = weight[weight > 0]
    cuts = np.quantile(positive, np.linspace(0.05, 1, 20)) if len(positive) else np.zeros(0)
    return [*dict.fromkeys(cuts.tolist()), np.inf]


def threshold(weight: F64, reward: F64, fitted: Fitted, listener: I64) -> float:
    """Of SWITCH-DR."""
    return _best(switched, grid_of(weight), weight, reward, fitted, listener)


def shrinkage(weight: F64, reward: F64, fitted: Fitted, listener: I64) -> float:
    """Of DR with optimistic shrinkage: lambda is on the scale of squared weights."""
    choices = [0.0, *(float(c) ** 2 for c in grid_of(weight))]
    return _best(shrunk, choices, weight, reward, fitted, listener)


def _best(
    keep: Callable[[F64, float], F64],
    choices: list[float],
    weight: F64,
    reward: F64,
    fitted: Fitted,
    listener: I64,
) -> float:
    scores = [_bound(keep(weight, choice), weight, reward, fitted, listener) for choice in choices]
    return choices[int(np.argmin(scores))]


def _bound(kept: F64, weight: F64, reward: F64, fitted: Fitted, listener: I64) -> float:
    """Upper bound on the mean squared error where `kept` stands for `weight`."""
    residual = reward - fitted.q_logged
    own = Terms.mean(fitted.q_target + kept * residual, kept).plus(fitted.correction(kept))
    left = Terms.mean((weight - kept) * residual, kept).by_listener(listener)
    bias = abs(left.value) + Z * standard_error(left)
    return float(standard_error(own.by_listener(listener)) ** 2 + bias**2)
