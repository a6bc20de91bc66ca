"""Quantiles of rows or of units, with intervals that hold where rows of one unit are alike.

compare_quantiles(values_control, values_treatment, 0.95, clusters=(unit_control, unit_treatment))
Deng, Knoblich & Lu (KDD 2018), "outer" interval: the empirical share below the quantile is a ratio metric of the
units, its error (delta method) is turned into ranks, and the values at those ranks are the arm's interval. No density
is estimated. With one row a unit this is the order-statistic interval (David & Nagaraja, Order Statistics, 2003,
section 7.1) in its normal form. The difference is normal with the arms' errors, half-widths over z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.analysis.effects import Interval, critical
from experiments.analysis.estimate import Pair
from experiments.analysis.moments import F64

Codes = NDArray[np.integer]


@dataclass(frozen=True)
class Quantile:
    """One arm's quantile. `se` is NaN where the interval would reach beyond the data."""

    value: float
    se: float
    interval: Interval
    rows: int
    units: int


def quantile(values: F64, level: float, clusters: Codes | None = None, confidence: float = 0.95) -> Quantile:
    """The quantile of (n,) values as the smallest value with at least a share `level` at or below it.

    `clusters` (n,) says which unit a row is of; None: rows are units.

    Raises:
        ValueError: no values, or a level outside (0, 1).
    """
    if not len(values) or not 0 < level < 1:
        raise ValueError("a quantile needs values, and a level between 0 and 1")
    n, z = len(values), critical(confidence)
    spread, units = _error_of_share(values, level, clusters)
    low, high = level - z * spread, level + z * spread
    inside = low * n >= 1 and high * n <= n
    ranks = [_rank(share, n) for share in (low, level, high)]
    found = np.partition(values, sorted(set(ranks)))[ranks]
    if not inside or math.isnan(spread):
        return Quantile(float(found[1]), float("nan"), Interval(-math.inf, math.inf), n, units)
    interval = Interval(float(found[0]), float(found[2]))
    return Quantile(float(found[1]), (interval.high - interval.low) / (2 * z), interval, n, units)


def compare_quantiles(
    control: F64,
    treatment: F64,
    level: float,
    clusters: tuple[Codes | None, Codes | None] = (None, None),
    confidence: float = 0.95,
) -> Pair:
    """Both arms' quantiles as a pair for effects.difference and effects.lift (normal reference)."""
    c, t = (quantile(v, level, k, confidence) for v, k in zip((control, treatment), clusters, strict=True))
    plain = c.se**2 + t.se**2
    return Pair(c.value, t.value, c.se**2, t.se**2, 0.0, math.inf, c.units, t.units, plain)


def _rank(share: float, n: int) -> int:
    return min(max(math.ceil(share * n - 1e-9) - 1, 0), n - 1)


def _error_of_share(values: F64, level: float, clusters: Codes | None) -> tuple[float, int]:
    """Standard error of the share of rows at or below the quantile, and the number of units."""
    n = len(values)
    if clusters is None:
        return math.sqrt(level * (1 - level) / n), n
    cut = np.partition(values, _rank(level, n))[_rank(level, n)]
    code = np.unique(clusters, return_inverse=True)[1]
    rows = np.bincount(code).astype(np.float64)
    below = np.bincount(code, weights=values <= cut)
    units = len(rows)
    if units < 2:
        return float("nan"), units
    influence = (below - below.sum() / n * rows) / (n / units)
    return float(np.sqrt(influence @ influence / (units - 1) / units)), units
