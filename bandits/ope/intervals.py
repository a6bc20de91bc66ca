"""Intervals of an estimate with listeners as the independent units: cluster-robust, bootstrap, empirical Bernstein.

units = terms.by_listener(listener)
asymptotic(units); bootstrap(units, seed=1); bernstein(units, low=0, high=20)

Decisions of one listener share their taste, so intervals over decisions would be too narrow. One look at the data is
assumed; `sequences.py` has what may be read while logs grow.
"""

from __future__ import annotations

import numpy as np

from bandits.ope.terms import F64, Units
from recsys.errors import BadInput

Interval = tuple[float, float]
_BLOCK = 4_000_000  # bootstrap counts held at once


def standard_error(units: Units) -> float:
    """Cluster-robust standard error of the ratio of sums (linearised; Liang & Zeger 1986), with C / (C - 1)."""
    error = units.top - units.value * units.bottom
    return float(np.sqrt(len(units) / (len(units) - 1) * error @ error) / abs(units.bottom.sum()))


def asymptotic(units: Units, level: float = 0.95) -> Interval:
    """Estimate and cluster-robust error with Student's t on C - 1 degrees of freedom (Bell & McCaffrey 2002).

    Asymptotic in the number of listeners; below some 30, or with a few of great weight, it is too narrow.
    """
    from scipy.stats import t

    _enough(units)
    reach = float(t.ppf((1 + level) / 2, len(units) - 1)) * standard_error(units)
    return units.value - reach, units.value + reach


def bootstrap(units: Units, level: float = 0.95, replicates: int = 1000, seed: int = 0) -> Interval:
    """Studentised bootstrap of whole listeners (Efron & Tibshirani 1993, section 12.5; Cameron, Gelbach & Miller 2008).

    Second-order right: it leans where the weights are skewed, as the symmetric interval cannot.
    """
    _enough(units)
    value, error = units.value, standard_error(units)
    if error == 0:
        return value, value
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // len(units))
    parts = [_pivots(units, value, min(step, replicates - i), rng) for i in range(0, replicates, step)]
    low, high = np.quantile(np.concatenate(parts), [(1 - level) / 2, (1 + level) / 2])
    return float(value - high * error), float(value - low * error)


def _pivots(units: Units, value: float, replicates: int, rng: np.random.Generator) -> F64:
    """(replicates,) resampled (estimate - value) / standard error."""
    count = len(units)
    draws = rng.integers(0, count, (replicates, count)) + np.arange(replicates)[:, None] * count
    times = (
        np.bincount(draws.ravel(), minlength=replicates * count).reshape(replicates, count).astype(np.float64)
    )
    a, b = units.top, units.bottom
    sums = times @ np.stack([a, b, a * a, a * b, b * b], axis=1)
    again = sums[:, 0] / sums[:, 1]
    squares = np.maximum(sums[:, 2] - 2 * again * sums[:, 3] + again**2 * sums[:, 4], 0)
    error = np.sqrt(count / (count - 1) * squares) / np.abs(sums[:, 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        pivots = (again - value) / error
    return np.asarray(pivots[np.isfinite(pivots)])


def bernstein(units: Units, low: float, high: float, level: float = 0.95) -> Interval:
    """Empirical Bernstein bound: holds at every sample size, for independent listeners.

    Method: Maurer & Pontil 2009, theorem 11. Only for plain means of terms that are independent between listeners: IPS
    and its kin, not ratios, not models fitted to the same logs. Given how many decisions each listener has.

    Args:
        low, high: what one decision's weight * reward cannot leave, known beforehand (not read off the data).

    Raises:
        BadInput: not a plain mean, or a listener's terms leave the bounds.
    """
    scaled = unit_interval(units, low, high)
    count, each = len(scaled), np.log(4 / (1 - level))
    radius = np.sqrt(2 * scaled.var(ddof=1) * each / count) + 7 * each / (3 * (count - 1))
    span = (high - low) * units.count.max() * count / units.count.sum()
    centre = float(scaled.mean())
    return float(low + max(centre - radius, 0.0) * span), float(min(low + (centre + radius) * span, high))


def unit_interval(units: Units, low: float, high: float) -> F64:
    """(C,) each listener's sum of (term - low), over its greatest possible value for any listener: within [0, 1].

    Raises:
        BadInput: as `bernstein`.
    """
    _enough(units)
    if not np.array_equal(units.bottom, units.count):
        raise BadInput(
            "finite-sample bounds need a plain mean: self-normalised estimates have asymptotic ones only"
        )
    scaled = (units.top - low * units.count) / ((high - low) * units.count.max())
    if scaled.min() < -1e-12 or (units.top - high * units.count > 1e-9 * abs(high)).any():
        raise BadInput(
            f"terms leave the stated bounds {low:g}..{high:g}: state the greatest weight * reward that is possible"
        )
    return np.clip(scaled, 0.0, 1.0)


def _enough(units: Units) -> None:
    if len(units) < 2:
        raise BadInput("an interval needs at least two listeners: they are its independent units")
