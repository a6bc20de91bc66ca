"""Many comparisons: adjusted p-values (Holm; Benjamini–Hochberg, –Yekutieli) and the intervals that go with them.

holm(p), benjamini_hochberg(p), levels(p, "holm", 0.95)
Holm (Scand. J. Stat. 1979) holds the chance of any false claim, under every dependence. Benjamini & Hochberg
(JRSS-B 1995) holds the expected share of false claims among claims, for independent or positively dependent tests;
Benjamini & Yekutieli (Ann. Stat. 2001) under every dependence. NaN p-values are no tests: they stay NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from experiments.analysis.moments import F64

Correction = Literal["none", "holm", "benjamini_hochberg"]


def holm(p: Sequence[float]) -> F64:
    """Holm's step-down adjusted p-values, in the order given."""
    return _stepwise(p, lambda m: np.arange(m, 0.0, -1), down=True)


def benjamini_hochberg(p: Sequence[float]) -> F64:
    """Benjamini–Hochberg adjusted p-values (q-values), in the order given."""
    return _stepwise(p, lambda m: m / np.arange(1, m + 1), down=False)


def benjamini_yekutieli(p: Sequence[float]) -> F64:
    """Benjamini–Yekutieli adjusted p-values, for any dependence."""
    return _stepwise(p, lambda m: (1 / np.arange(1, m + 1)).sum() * m / np.arange(1, m + 1), down=False)


def adjust(p: Sequence[float], correction: Correction) -> F64:
    """Adjusted p-values by the correction's name."""
    if correction == "none":
        return np.asarray(p, float)
    return holm(p) if correction == "holm" else benjamini_hochberg(p)


def levels(p: Sequence[float], correction: Correction, confidence: float = 0.95) -> F64:
    """The confidence level of each comparison's adjusted interval, in the order given.

    "holm": Bonferroni's, simultaneous for all m (Holm itself has no two-sided intervals in general use: a claim may
    be Holm's and its interval still hold 0). "benjamini_hochberg": of R claims, each gets 1 - R (1 - confidence) / m,
    which holds the false coverage rate of the claimed ones (Benjamini & Yekutieli, JASA 2005); the others' intervals
    are as of one claim more and carry no claim.
    """
    values, alpha = np.asarray(p, float), 1 - confidence
    m = max(int(np.isfinite(values).sum()), 1)
    if correction == "none":
        return np.full(len(values), confidence)
    if correction == "holm":
        return np.full(len(values), 1 - alpha / m)
    claimed = benjamini_hochberg(p) <= alpha
    count = np.where(claimed, claimed.sum(), min(claimed.sum() + 1, m))
    out: F64 = 1 - count * alpha / m
    return out


def _stepwise(p: Sequence[float], factors: Callable[[int], F64], down: bool) -> F64:
    values = np.asarray(p, float)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    scaled = values[order] * factors(len(order))
    scaled = np.maximum.accumulate(scaled) if down else np.minimum.accumulate(scaled[::-1])[::-1]
    out = np.full(len(values), np.nan)
    out[order] = np.minimum(scaled, 1.0)
    return out
