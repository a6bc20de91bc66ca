"""Fractional logit with a ridge, and errors that do not trust the model.

weights = fractional_logit(x, y, ridge); covariance = sandwich(x, y, weights, cluster, ridge)
Papke & Wooldridge, Journal of Applied Econometrics 1996: the mean of a share in 0..1 is a logistic function, and
nothing else of its law is assumed. Newton's method; the first column is the intercept and is not held.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from experiments.analysis.moments import F64

STEPS, CLOSE = 50, 1e-10


def sigmoid(x: F64) -> F64:
    """1 / (1 + exp(-x))."""
    return np.asarray(expit(x), np.float64)


def fractional_logit(x: F64, y: F64, ridge: float) -> F64:
    """(k,) weights of x (n, k) for y (n,) in 0..1.

    The loss is convex; a step that does not lower it is halved, so it ends for any data.
    """
    held = _held(x, ridge)
    weights = np.zeros(x.shape[1])
    loss = _loss(x, y, weights, held)
    for _ in range(STEPS):
        share = sigmoid(x @ weights)
        slope = x.T @ (y - share) - held * weights
        curve = (x * (share * (1 - share))[:, None]).T @ x + np.diag(held + 1e-9)
        step = np.linalg.solve(curve, slope)
        gain = float(slope @ step)
        if gain < CLOSE * len(y):
            break
        size, next_loss = 1.0, _loss(x, y, weights + step, held)
        while next_loss > loss and size > 1e-6:
            size /= 2
            next_loss = _loss(x, y, weights + size * step, held)
        weights, loss = weights + size * step, next_loss
    return weights


def sandwich(x: F64, y: F64, weights: F64, cluster: NDArray[np.integer], ridge: float) -> F64:
    """(k, k) covariance of the weights, for rows alike within clusters (Liang & Zeger 1986)."""
    share = sigmoid(x @ weights)
    curve = (x * (share * (1 - share))[:, None]).T @ x + np.diag(_held(x, ridge) + 1e-9)
    groups = int(cluster.max()) + 1
    scores = np.zeros((groups, x.shape[1]))
    np.add.at(scores, cluster, x * (y - share)[:, None])
    bread = np.linalg.inv(curve)
    found: F64 = bread @ (scores.T @ scores) @ bread * (groups / max(groups - 1, 1))
    return found


def _held(x: F64, ridge: float) -> F64:
    held = np.full(x.shape[1], ridge)
    held[0] = 0.0
    return held


def _loss(x: F64, y: F64, weights: F64, held: F64) -> float:
    score = x @ weights
    return float(np.logaddexp(0, score).sum() - y @ score + 0.5 * held @ weights**2)
