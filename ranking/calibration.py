"""Beta calibration: from a booster's score to a probability, by three numbers.

logit p' = a ln p - b ln(1 - p) + c with a, b >= 0 (Kull, Silva Filho & Flach 2017, "Beta calibration"). It is
monotone and strictly so, so calibrating never ties or reorders candidates, as isotonic regression would.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
_EDGE = 1e-6
_SMALLEST = 1e-3
"""Least slope: a calibrator may flatten a useless score, never invert or tie it."""


@dataclass(frozen=True)
class Beta:
    """One calibrator; the default changes nothing."""

    a: float = 1.0
    b: float = 1.0
    c: float = 0.0

    def __call__(self, p: Floats) -> Floats:
        p = np.clip(p, _EDGE, 1 - _EDGE)
        return np.asarray(1 / (1 + np.exp(-(self.a * np.log(p) - self.b * np.log1p(-p) + self.c))))

    def inverse(self, p: Floats) -> Floats:
        """(n,) scores that this calibrator maps to p, within the range that it can reach."""
        low, high = np.full(len(p), _EDGE), np.full(len(p), 1 - _EDGE)
        for _ in range(40):
            middle = (low + high) / 2
            below = self(middle) < p
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return np.asarray((low + high) / 2)

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


IDENTITY = Beta()


def fit(
    p: Floats,
    label: NDArray[np.integer],
    weight: Floats | None = None,
    toward: Beta = IDENTITY,
    prior: float = 5.0,
) -> Beta:
    """The calibrator of most likelihood, pulled towards another; that other one itself without both labels.

    Args:
        p: (n,) probabilities. label: (n,) 0 or 1. weight: (n,) rows that each stands for; 1 where absent.
        prior: strength of the pull, in units of the curvature of a row or so.
    """
    if not len(label) or label.min() == label.max():
        return toward
    p = np.clip(p.astype(np.float64), _EDGE, 1 - _EDGE)
    x = np.column_stack([np.log(p), -np.log1p(-p), np.ones(len(p))])
    w = np.ones(len(p)) if weight is None else weight * len(p) / weight.sum()
    start, free = np.array([toward.a, toward.b, toward.c]), np.ones(3, bool)
    theta = _newton(x, label, w, start, prior, free)
    for j in (0, 1):  # a negative slope is set to none, and the rest is fitted again
        if theta[j] < 0:
            start[j], free[j] = 0.0, False
            theta = _newton(x, label, w, start, prior, free)
    a, b = np.maximum(theta[:2], 0.0)
    return Beta(max(float(a), 0 if b > _SMALLEST else _SMALLEST), float(b), float(theta[2]))


def _newton(
    x: Floats,
    label: NDArray[np.integer],
    w: Floats,
    start: Floats,
    prior: float,
    free: NDArray[np.bool_],
) -> Floats:
    """Maximum of the penalised logistic likelihood over the free coefficients, by at most 50 damped Newton steps."""
    penalty = np.array([prior, prior, 1e-3])
    theta = start.copy()

    def loss(t: Floats) -> float:
        z = x @ t
        return float(w @ (np.logaddexp(0, z) - z * label) + 0.5 * penalty @ (t - start) ** 2)

    for _ in range(50):
        q = 1 / (1 + np.exp(-(x @ theta)))
        gradient = x.T @ (w * (q - label)) + penalty * (theta - start)
        hessian = (x * (w * q * (1 - q))[:, None]).T @ x + np.diag(penalty)
        step = np.zeros(3)
        step[free] = np.linalg.solve(hessian[np.ix_(free, free)], gradient[free])
        scale = 1.0
        while loss(theta - scale * step) > loss(theta) and scale > 1e-4:
            scale /= 2
        theta = theta - scale * step
        if np.abs(scale * step).max() < 1e-8:
            break
    return theta


def expected_calibration_error(
    p: Floats, label: NDArray[np.integer], weight: Floats | None = None, bins: int = 15
) -> float:
    """Mean |predicted - observed| over `bins` bins of equal count, by weight (Naeini et al. 2015)."""
    w = np.ones(len(p)) if weight is None else np.asarray(weight, np.float64)
    order = np.argsort(p, kind="stable")
    gaps = [abs(float(w[i] @ (p[i] - label[i]))) for i in np.array_split(order, bins)]
    return sum(gaps) / max(float(w.sum()), 1e-12)
