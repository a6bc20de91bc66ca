"""Always-valid inference by Gaussian mixtures: intervals and p-values that hold at every look, however many.

scale = tuned(units=n, best_at=20_000, alpha=0.05)
radius(scale, alpha=0.05) * se          # half width of the interval at each look
p_value(effect / se, scale)             # running minimum over the looks

One formula has many names: Robbins 1970; the normal mixture of Howard, Ramdas, McAuliffe & Sekhon 2021 (confseq);
mSPRT (Johari, Koomen, Pekelis & Walsh 2022) with mixing variance tau^2; the asymptotic confidence sequence
(Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024) with rho^2; GrowthBook's tuning parameter and Eppo's nu. They
differ in how they state the one number that it depends on at a look, here `scale`: mixing variance / squared
standard error of the effect.

The Gaussian version is exact for known variances and asymptotic otherwise: do not look before some hundred units an
arm. With degrees of freedom given it is exact for normal outcomes of unknown variance (Lindon, Ham, Tingley & Bojinov
2024).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import lambertw, log_ndtr

F64 = NDArray[np.float64]


def best_ratio(alpha: float, two_sided: bool = True, exact: bool = True) -> float:
    """The scale at which the bound is tightest relative to its standard error.

    The exact minimum is -W(-a^2/e) - 1 with W the lower branch of Lambert's function; peers use its approximation
    2 log(1/a) + log(1 + 2 log(1/a)), 0.5% narrower or wider. One-sided bounds use twice alpha (Howard et al. 2021).
    """
    a = alpha if two_sided else min(2 * alpha, 0.999)
    if exact:
        return float(-np.real(lambertw(-(a**2) / np.e, -1)) - 1)
    return float(-2 * np.log(a) + np.log1p(-2 * np.log(a)))


def tuned(units: ArrayLike, best_at: float, alpha: float, two_sided: bool = True, exact: bool = True) -> F64:
    """The scale at looks with so many units, for an interval that is tightest at `best_at` units."""
    return np.asarray(units, np.float64) / best_at * best_ratio(alpha, two_sided, exact)


def mixing(se: ArrayLike, sd: float) -> F64:
    """The scale of an mSPRT whose mixing distribution is normal with standard deviation `sd` around no effect."""
    return np.asarray((sd / np.asarray(se, np.float64)) ** 2, np.float64)


def log_evidence(z: ArrayLike, scale: ArrayLike, two_sided: bool = True, dof: ArrayLike | None = None) -> F64:
    """Log of the mixture likelihood ratio (an e-process): it exceeds log(1/alpha) at any look with probability <=
    alpha.

    One-sided: evidence of an effect above 0, from the half-normal mixture (Howard et al. 2021, section 3.1; Gaussian
    only).
    """
    z, r = np.asarray(z, np.float64), np.asarray(scale, np.float64)
    if dof is not None and two_sided:
        nu = np.asarray(dof, np.float64)
        ratio = np.log1p(z * z / nu) - np.log1p(z * z / (nu * (1 + r)))
        return np.asarray((nu + 1) / 2 * ratio - np.log1p(r) / 2, np.float64)
    square = z * z * r / (1 + r) / 2 - np.log1p(r) / 2
    if two_sided:
        return np.asarray(square, np.float64)
    return np.asarray(square + np.log(2) + log_ndtr(z * np.sqrt(r / (1 + r))), np.float64)


def radius(scale: ArrayLike, alpha: float, two_sided: bool = True, dof: ArrayLike | None = None) -> F64:
    """How many standard errors the interval reaches from the effect at each look; where |z| exceeds it, p < alpha.

    Infinite where degrees of freedom do not suffice for any interval yet.
    """
    r = np.asarray(scale, np.float64)
    if two_sided and dof is None:
        return np.asarray(np.sqrt((1 + r) / r * (np.log1p(r) - 2 * np.log(alpha))), np.float64)
    if two_sided:
        nu = np.asarray(dof, np.float64)
        power = np.exp((2 * np.log(alpha) - np.log1p(r)) / (nu + 1))
        room = power - 1 / (1 + r)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(room > 0, np.sqrt(nu * (1 - power) / room), np.inf), np.float64)
    return _one_sided(r, -np.log(alpha))


def _one_sided(scale: F64, level: float) -> F64:
    """The z at which one-sided evidence reaches the level, by bisection; the two-sided bound lies above it."""
    high = np.sqrt((1 + scale) / scale * (np.log1p(scale) + 2 * level))
    low = np.zeros_like(high)
    for _ in range(60):
        middle = (low + high) / 2
        over = log_evidence(middle, scale, two_sided=False) > level
        low, high = np.where(over, low, middle), np.where(over, middle, high)
    return high


def p_value(z: ArrayLike, scale: ArrayLike, two_sided: bool = True, dof: ArrayLike | None = None) -> F64:
    """Always-valid p-values along the last axis: the smallest 1 / evidence so far, at most 1."""
    now = np.exp(-np.maximum(log_evidence(z, scale, two_sided, dof), 0.0))
    return np.asarray(np.minimum.accumulate(np.atleast_1d(now), axis=-1), np.float64)


def running(low: ArrayLike, high: ArrayLike) -> tuple[F64, F64]:
    """The running intersection of intervals along the last axis, which is as valid as each of them.

    An empty one (low above high) says that the effect drifted or an assumption failed.
    """
    lows = np.maximum.accumulate(np.asarray(low, np.float64), axis=-1)
    highs = np.minimum.accumulate(np.asarray(high, np.float64), axis=-1)
    return np.asarray(lows, np.float64), np.asarray(highs, np.float64)
