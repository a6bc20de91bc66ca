"""Rewards between 0 and 1 (played or not): Bayesian logistic regression an arm, updated one observation at a time.

Each observation moves the gaussian belief to its exact mode along the one direction that it informs, and adds its own
curvature to the precision (online Laplace: Spiegelhalter & Lauritzen 1990; MacKay 1992; Chapelle & Li 2011). Pieces
give what one call gives; another order gives another, close belief, as the approximation is taken step by step.
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bandits import gaussian
from bandits.forgetting import Clock
from bandits.linear import LinearSettings
from bandits.observations import check
from bandits.streams import normals
from recsys.errors import BadInput

Floats = NDArray[np.float64]
_STEPS = 30


class LogisticSettings(LinearSettings):
    """As LinearSettings; `l2` is the prior precision of a weight on the log-odds."""


class LogisticModel:
    """A gaussian belief over the weights of each arm; means are probabilities.

    Raises:
        BadInput: a prior of another size than `dim`.
    """

    kind = "logistic"
    Settings = LogisticSettings

    def __init__(self, settings: LogisticSettings) -> None:
        k, d = settings.arms, settings.dim
        self.settings = settings
        self.clock = Clock(settings.half_life)
        self.weights: Floats = np.tile(gaussian.start(settings.prior, d), (k, 1))
        self._ridge = settings.l2 * np.eye(d)
        self.precision: Floats = np.tile(self._ridge, (k, 1, 1))
        self.covariance: Floats = np.tile(np.eye(d) / settings.l2, (k, 1, 1))

    def fresh(self) -> Self:
        """One of the same settings that has learned nothing."""
        return type(self)(self.settings)

    def partial_fit(
        self,
        contexts: ArrayLike,
        arms: ArrayLike,
        rewards: ArrayLike,
        when: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        keys: ArrayLike | None = None,
    ) -> Self:
        """Learns from n observations in their order; arguments as in LinearModel.partial_fit.

        Forgetting widens the belief towards the prior's width and leaves its mean (West & Harrison 1997).

        Raises:
            BadInput: as there, or rewards outside 0..1.
        """
        seen = check(self.settings.dim, self.settings.arms, contexts, arms, rewards, when, weights, keys)
        y = seen.rewards
        if not len(y):
            return self
        if y.min() < 0 or y.max() > 1:
            raise BadInput("a logistic model needs rewards in 0..1: scale them, or take a linear model")
        factor, recent = self.clock.advance(len(y), seen.when)
        if factor != 1.0:
            self.precision += (factor - 1.0) * (self.precision - self._ridge)
            self.covariance[...] = np.linalg.inv(self.precision)
        counted = (seen.weights * recent).tolist()
        for x, arm, reward, weight in zip(
            seen.contexts, seen.arms.tolist(), y.tolist(), counted, strict=True
        ):
            self._one(x, arm, reward, weight)
        return self

    def _one(self, x: Floats, arm: int, reward: float, weight: float) -> None:
        direction = self.covariance[arm] @ x
        spread = float(x @ direction)
        step, curvature = _mode(float(x @ self.weights[arm]), spread, reward, weight)
        self.weights[arm] += step * direction
        self.precision[arm] += curvature * np.outer(x, x)
        shrink = curvature / (1.0 + curvature * spread)
        self.covariance[arm] -= shrink * np.outer(direction, direction)

    def mean(self, contexts: Floats) -> Floats:
        """(n, arms) probabilities at the mode, of contexts (n, dim)."""
        return sigmoid(contexts @ self.weights.T)

    def width(self, contexts: Floats) -> Floats:
        """(n, arms) posterior standard deviations of the log-odds."""
        return gaussian.width(self.covariance, contexts)

    def optimistic(self, contexts: Floats, alpha: float) -> Floats:
        """(n, arms) what `alpha` standard deviations of the log-odds add to the probability."""
        odds = contexts @ self.weights.T
        return sigmoid(odds + alpha * self.width(contexts)) - sigmoid(odds)

    def sampled(self, contexts: Floats, samples: int, scale: float, seed: int) -> Floats:
        """(samples, n, arms) probabilities of posterior draws less the mean; see LinearModel.sampled."""
        odds = contexts @ self.weights.T
        if self.settings.arms > 1:
            moved = scale * self.width(contexts) * normals(seed, (samples, 1, self.settings.arms))
        else:
            theta = gaussian.joint(self.precision[0], samples, seed)
            moved = (scale * theta @ contexts.T)[:, :, None]
        return sigmoid(odds + moved) - sigmoid(odds)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for bandits.state."""
        return {
            "weights": self.weights,
            "precision": self.precision,
            "covariance": self.covariance,
            "clock": self.clock.array(),
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Takes over what `arrays` gave."""
        for name in ("weights", "precision", "covariance"):
            getattr(self, name)[...] = arrays[name]
        self.clock.restore(arrays["clock"])


def _mode(odds: float, spread: float, reward: float, weight: float) -> tuple[float, float]:
    """(step along the covariance's image of x, curvature there): solves c = w (r - sigmoid(odds + spread c)).

    The left side less the right rises with c, and its root lies between 0 and the right side at 0: Newton's steps, kept
    inside the interval that still holds the root.
    """
    first = weight * (reward - _sigmoid(odds))
    low, high = (0.0, first) if first > 0 else (first, 0.0)
    c = first / (1.0 + weight * 0.25 * spread)
    for _ in range(_STEPS):
        p = _sigmoid(odds + spread * c)
        gap = c - weight * (reward - p)
        low, high = (low, c) if gap > 0 else (c, high)
        after = c - gap / (1.0 + weight * spread * p * (1.0 - p))
        after = after if low <= after <= high else 0.5 * (low + high)
        if abs(after - c) <= 1e-13 * (1.0 + abs(c)):
            c = after
            break
        c = after
    p = _sigmoid(odds + spread * c)
    return c, weight * p * (1.0 - p)


def _sigmoid(z: float) -> float:
    return 1.0 / (1.0 + math.exp(-z)) if z >= 0 else math.exp(z) / (1.0 + math.exp(z))


def sigmoid(z: Floats) -> Floats:
    """Logistic function without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)))
