"""Switchbacks: everybody gets one arm per period, and periods alternate; carry-over is modelled or washed out.

result = switchback(values, treated, lags=1)         # one value per period, in time order
Distributed lags of the treatment: the sum of their coefficients is the effect of always on against always off, as
far as effects last at most `lags` periods (Bojinov, Simchi-Levi & Zhao, Management Science 2023; Glynn, Johari &
Rasouli 2020). Errors allow for autocorrelation, series by series. Assumes that assignment does not react to outcomes,
and that regions given as separate series do not affect each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from experiments.analysis.effects import Inference, infer
from experiments.analysis.moments import F64
from experiments.analysis.regression import Fit, fit_cosine, fit_hac
from recsys.errors import BadInput

Codes = NDArray[np.integer]
Draw = Callable[[np.random.Generator], NDArray[np.integer]]


@dataclass(frozen=True)
class Switchback:
    """`total`: always on against always off. `immediate`: the period's own part. `carry_over_p`: are lags all 0?"""

    total: Inference
    immediate: Inference
    carry_over_p: float
    periods: int


def switchback(
    values: F64,
    treated: NDArray[np.integer],
    lags: int = 1,
    series: Codes | None = None,
    season: Codes | None = None,
    bandwidth: int | None = None,
    confidence: float = 0.95,
) -> Switchback:
    """`values` and `treated` (0 or 1), (n,), in time order within each series (region).

    `season` (n,): hour of day, day of week: an intercept for each. The first `lags` periods of a
    series only feed lags. Errors: cosine averages with Student's t; with a `bandwidth`, Newey–West's up to that many
    steps, which is too small in short, strongly correlated series.

    Raises:
        BadInput: fewer than 10 usable periods, or a treatment that never changes.
    """
    code = np.zeros(len(values), np.int64) if series is None else np.unique(series, return_inverse=True)[1]
    lagged, usable = _lagged(np.asarray(treated, float), code, lags)
    if usable.sum() < max(10, 3 * (lags + 2)) or np.ptp(lagged[usable, 0]) == 0:
        raise BadInput("a switchback needs at least 10 periods after its lags, and both arms among them")
    x = np.hstack([lagged, _dummies(code), *([] if season is None else [_dummies(season)[:, 1:]])])[usable]
    y, own = np.asarray(values, float)[usable], code[usable]
    fitted = fit_cosine(y, x, own) if bandwidth is None else fit_hac(y, x, bandwidth, own)
    total, immediate = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    total[: lags + 1], immediate[0] = 1, 1
    return Switchback(
        infer(*fitted.combine(total), fitted.df, confidence),
        infer(*fitted.combine(immediate), fitted.df, confidence),
        _wald(fitted, lags),
        int(usable.sum()),
    )


def washed(treated: NDArray[np.integer], periods: int, series: Codes | None = None) -> NDArray[np.bool_]:
    """Which periods are left when the first `periods` after every switch, and of every series, are dropped."""
    code = np.zeros(len(treated), np.int64) if series is None else np.asarray(series)
    switched = np.ones(len(treated), bool)
    switched[1:] = (treated[1:] != treated[:-1]) | (code[1:] != code[:-1])
    start = np.maximum.accumulate(np.where(switched, np.arange(len(treated)), 0))
    return np.arange(len(treated)) - start >= periods


def randomisation_p(
    values: F64, treated: NDArray[np.integer], draw: Draw, draws: int = 2000, seed: int = 0
) -> float:
    """Exact p-value of "no effect on any period, ever", by drawing the schedule anew as it was drawn (Fisher 1935).

    `draw(rng)` gives a schedule (n,) of the same design. The statistic is the difference of means.
    """
    rng = np.random.default_rng(seed)
    observed = abs(_gap(values, treated))
    reached = sum(abs(_gap(values, draw(rng))) >= observed - 1e-12 for _ in range(draws))
    return (1 + reached) / (1 + draws)


def _gap(values: F64, treated: NDArray[np.integer]) -> float:
    on = np.asarray(treated) == 1
    return float(values[on].mean() - values[~on].mean()) if on.any() and not on.all() else 0.0


def _lagged(treated: F64, code: Codes, lags: int) -> tuple[F64, NDArray[np.bool_]]:
    """(n, lags + 1) treatment now and before, and which rows have all of it in their own series."""
    out, usable = np.zeros((len(treated), lags + 1)), np.ones(len(treated), bool)
    out[:, 0] = treated
    for lag in range(1, lags + 1):
        out[lag:, lag] = treated[:-lag]
        usable[:lag] = False
        usable[lag:] &= code[lag:] == code[:-lag]
    return out, usable


def _dummies(code: Codes) -> F64:
    levels, place = np.unique(code, return_inverse=True)
    return np.eye(len(levels))[place]


def _wald(fitted: Fit, lags: int) -> float:
    """F test that all lagged coefficients are 0."""
    if not lags:
        return float("nan")
    b, cov = fitted.coefficients[1 : lags + 1], fitted.covariance[1 : lags + 1, 1 : lags + 1]
    distance = float(b @ np.linalg.pinv(cov, hermitian=True) @ b)
    return float(fdtrc(lags, fitted.df, max(distance, 0.0) / lags))
