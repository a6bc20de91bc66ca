"""What a design promises before it runs: power, how many units more it needs than one look, when it stops.

promise(design, looks=[0.25, 0.5, 0.75, 1.0], drift=2.8)
inflation(design, [0.25, 0.5, 0.75, 1.0], power=0.8)      # multiply the fixed sample size by this

Exact for Gaussian statistics, by the recursive integration of brownian.py; an always-valid rule looked at k times is
a set of bounds too, so that its error and power at those looks come out exactly as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from experiments.sequential.bounds import Bounds, Design, bounds
from experiments.sequential.brownian import exits, rising
from experiments.sequential.mixture import radius, tuned

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Promise:
    """Operating characteristics under one effect."""

    power: (
        float  # of a stop for an effect in the direction of the drift (either direction where there is none)
    )
    stops: F64  # (k,) probability of stopping at each look, whatever for; the last takes what remains
    expected: float  # expected information at the stop, as a fraction of the plan


def promise(design: Design, looks: ArrayLike, drift: float) -> Promise:
    """What the design does if z at fraction 1 has mean `drift`; a futility bound is obeyed."""
    return of_bounds(bounds(design, looks), drift)


def of_bounds(found: Bounds, drift: float) -> Promise:
    """The same for bounds at hand."""
    low = np.maximum(found.lower, found.futility)
    out = exits(found.information, low, found.upper, drift)
    stops = out.upper + out.lower
    stops = np.append(stops[:-1], 1 - stops[:-1].sum())
    two_sided = np.isfinite(found.lower).any()
    up, down = float(out.upper.sum()), float(out.lower.sum()) if two_sided else 0.0
    power = up + down if drift == 0 else (up if drift > 0 else down)
    return Promise(power, stops, float(stops @ found.information))


def always_valid(
    looks: ArrayLike, drift: float, alpha: float = 0.05, best_at: float = 0.5, two_sided: bool = True
) -> Promise:
    """What an always-valid rule does if it is looked at these fractions of the planned units only, and ends at the
    last."""
    times = rising(looks)
    high = radius(tuned(times, best_at, alpha, two_sided), alpha, two_sided)
    none = np.full(len(times), -np.inf)
    return of_bounds(Bounds(times, high, -high if two_sided else none, none, none), drift)


def drift_for(design: Design, looks: ArrayLike, power: float) -> float:
    """The mean of z at fraction 1 with which the design has the power."""
    found = bounds(design, looks)
    start = float(norm.isf(design.side_alpha) + norm.ppf(power))
    return float(brentq(lambda d: of_bounds(found, d).power - power, max(start, 0.0) * 0.5, 3 * start + 5))


def inflation(design: Design, looks: ArrayLike, power: float) -> float:
    """How many times the units of a test with one look the design must plan for, to have the same power.

    The factor R of Jennison & Turnbull 2000 (tables 2.2 and 2.4).
    """
    one = drift_for(Design(design.spending, design.alpha, design.sides), [1.0], power)
    return (drift_for(design, looks, power) / one) ** 2


def always_valid_inflation(
    looks: ArrayLike, power: float, alpha: float = 0.05, best_at: float = 1.0, two_sided: bool = True
) -> float:
    """The same factor for an always-valid rule that is looked at these fractions of its units only.

    `best_at` is where its interval is tightest, in units of the fixed test. The rule's own power, at looks and tuning
    that stay in proportion, is integrated exactly.
    """
    one = float(norm.isf(alpha / 2 if two_sided else alpha) + norm.ppf(power))

    def gap(drift: float) -> float:
        return always_valid(looks, drift, alpha, best_at * (one / drift) ** 2, two_sided).power - power

    return float(brentq(gap, one * 0.99, 4 * one + 10)) ** 2 / one**2
