"""Intervals of an estimate with listeners as the independent units: cluster-robust, bootstrap, empirical Bernstein.

units = terms.by_listener(listener)
asymptotic(units); bootstrap(units, seed=1); bernstein(units, low=0, high=20)

Decisions of one listener share their taste, so intervals over decisions would be too narrow. One look at the data is
assumed; `sequences.py` has what may be read while logs grow.
"""

from __future__ import annotations

from functools import lru_cache

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
    _enough(units)
    reach = quantile(len(units), level) * standard_error(units)
    return units.value - reach, units.value + reach


def quantile(units: int, level: float) -> float:
    """How many standard errors a two-sided interval reaches."""
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, units - 1))


def difference(a: Units, b: Units) -> tuple[float, float]:
    """Of two estimates from the same listeners, a - b, and its cluster-robust standard error."""
    parts = [(u.top - u.value * u.bottom) / u.bottom.sum() for u in (a, b)]
    error = parts[0] - parts[1]
    return a.value - b.value, float(np.sqrt(len(a) / (len(a) - 1) * error @ error))


def bootstrap(units: Units, level: float = 0.95, replicates: int = 1000, seed: int = 0) -> Interval:
    """Studentised bootstrap of whole listeners (Efron & Tibshirani 1993, section 12.5; Cameron, Gelbach & Miller 2008).

    Second-order right: it leans where the weights are skewed, as the symmetric interval cannot.
    """
    _enough(units)
    value, error = units.value, standard_error(units)
    if error == 0:
        return value, value
    a, b = units.top, units.bottom
    columns = np.stack([a, b, a * a, a * b, b * b], axis=1)
    step = max(1, _BLOCK // len(units))
    blocks = range(0, replicates, step)
    sums = [_resamples(len(units), min(step, replicates - i), seed + i) @ columns for i in blocks]
    low, high = np.quantile(
        _pivots(np.concatenate(sums), len(units), value), [(1 - level) / 2, (1 + level) / 2]
    )
    return float(value - high * error), float(value - low * error)


@lru_cache(maxsize=2)
def _resamples(count: int, replicates: int, seed: int) -> F64:
    """(replicates, count) how often each listener is drawn; the same for every estimator of one report."""
    draws = np.random.default_rng(seed).integers(0, count, (replicates, count))
    flat = (draws + np.arange(replicates)[:, None] * count).ravel()
    times = np.bincount(flat, minlength=replicates * count).reshape(replicates, count)
    return times.astype(np.float64)


def _pivots(sums: F64, count: int, value: float) -> F64:
    """Resampled (estimate - value) / standard error, from (replicates, 5) sums of a, b, aa, ab, bb."""
    with np.errstate(divide="ignore", invalid="ignore"):
        again = sums[:, 0] / sums[:, 1]
        squares = np.maximum(sums[:, 2] - 2 * again * sums[:, 3] + again**2 * sums[:, 4], 0)
        pivots = (again - value) / (np.sqrt(count / (count - 1) * squares) / np.abs(sums[:, 1]))
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
    if not low < high:
        raise BadInput(
            f"bounds run from the least to the greatest possible weight * reward, not {low:g}..{high:g}"
        )
    if not np.array_equal(units.bottom, units.count):
        raise BadInput(
            "finite-sample bounds need a plain mean: self-normalised estimates have asymptotic ones only"
        )
    scaled = (units.top - low * units.count) / ((high - low) * units.count.max())
    if scaled.min() < -1e-12 or (units.top - high * units.count > 1e-9 * abs(high)).any():
        raise BadInput(
            f"terms leave the stated bounds {low:g}..{high:g}: state the greatest weight * reward that is possible"
        )
    return np.asarray(np.clip(scaled, 0.0, 1.0), np.float64)


def _enough(units: Units) -> None:
    if len(units) < 2:
        raise BadInput("an interval needs at least two listeners: they are its independent units")
