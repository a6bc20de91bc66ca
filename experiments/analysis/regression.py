"""Least squares with variances that do not trust the residuals to be independent and alike: HC, clusters, HAC.

fit(y, x, cluster=listener)        # x: (n, k) with its own column of ones
HC0..HC3: White 1980, MacKinnon & White 1985. Clusters: Liang & Zeger 1986, one or two ways (Cameron, Gelbach & Miller
2011). Autocorrelation: Bartlett weights (Newey & West 1987), or equally weighted
cosines with Student's t (Lazarus, Lewis, Stock & Watson, JBES 2018), which keeps its level in short series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from experiments.analysis.moments import F64

Codes = NDArray[np.integer]
HC = Literal["HC0", "HC1", "HC2", "HC3"]


@dataclass(frozen=True)
class Fit:
    """Coefficients (k,), their covariance (k, k), residual degrees of freedom, residuals (n,)."""

    coefficients: F64
    covariance: F64
    df: float
    residuals: F64

    def combine(self, weights: F64) -> tuple[float, float]:
        """A linear combination of the coefficients and its standard error."""
        variance = float(weights @ self.covariance @ weights)
        return float(weights @ self.coefficients), float(np.sqrt(max(variance, 0.0)))


def fit(y: F64, x: F64, kind: HC = "HC2") -> Fit:
    """Independent rows, any variances."""
    b, inverse, residuals = _solve(y, x)
    n, k = x.shape
    squares = residuals**2
    if kind in ("HC2", "HC3"):
        leverage = np.einsum("nk,kl,nl->n", x, inverse, x)
        squares = squares / (1 - leverage) ** (1 if kind == "HC2" else 2)
    meat = (x * squares[:, None]).T @ x
    scale = n / (n - k) if kind == "HC1" else 1.0
    return Fit(b, scale * inverse @ meat @ inverse, n - k, residuals)


def fit_clustered(y: F64, x: F64, cluster: Codes, second: Codes | None = None) -> Fit:
    """Rows alike within clusters, of one way or two; G / (G - 1) (n - 1) / (n - k) corrects each part.

    A two-way covariance that is not positive semi-definite is made so by setting negative eigenvalues to 0. The
    degrees of freedom are those of the smaller number of clusters.
    """
    b, inverse, residuals = _solve(y, x)
    first_part, groups = _cluster_part(x, residuals, cluster)
    if second is None:
        return Fit(b, inverse @ first_part @ inverse, groups - 1, residuals)
    second_part, others = _cluster_part(x, residuals, second)
    both = np.unique(np.stack([cluster, second]), axis=1, return_inverse=True)[1].ravel()
    meat = first_part + second_part - _cluster_part(x, residuals, both)[0]
    values, vectors = np.linalg.eigh(inverse @ meat @ inverse)
    return Fit(b, (vectors * np.maximum(values, 0)) @ vectors.T, min(groups, others) - 1, residuals)


def fit_hac(y: F64, x: F64, bandwidth: int, series: Codes | None = None) -> Fit:
    """Rows in time order within each series, correlated up to `bandwidth` steps; n / (n - k) corrects."""
    b, inverse, residuals = _solve(y, x)
    n, k = x.shape
    scores = x * residuals[:, None]
    code = np.zeros(n, np.int64) if series is None else np.unique(series, return_inverse=True)[1]
    meat = np.zeros((k, k))
    for one in range(int(code.max()) + 1):
        own = scores[code == one]
        meat += own.T @ own
        for lag in range(1, min(bandwidth, len(own) - 1) + 1):
            cross = own[lag:].T @ own[:-lag]
            meat += (1 - lag / (bandwidth + 1)) * (cross + cross.T)
    return Fit(b, n / (n - k) * inverse @ meat @ inverse, n - k, residuals)


def fit_cosine(y: F64, x: F64, series: Codes | None = None) -> Fit:
    """Rows in time order within each series: B = 0.4 T^(2/3) cosine averages of the scores per series, t with their
    total number of degrees of freedom."""
    b, inverse, residuals = _solve(y, x)
    n, k = x.shape
    scores = x * residuals[:, None]
    code = np.zeros(n, np.int64) if series is None else np.unique(series, return_inverse=True)[1]
    meat, df = np.zeros((k, k)), 0
    for one in range(int(code.max()) + 1):
        own = scores[code == one]
        length = len(own)
        count = max(int(0.4 * length ** (2 / 3)), 1)
        waves = np.cos(np.pi * np.outer(np.arange(1, count + 1), np.arange(length) + 0.5) / length)
        averages = np.sqrt(2 / length) * waves @ own
        meat += length / count * averages.T @ averages
        df += count
    return Fit(b, n / (n - k) * inverse @ meat @ inverse, df, residuals)


def _solve(y: F64, x: F64) -> tuple[F64, F64, F64]:
    inverse: F64 = np.linalg.pinv(x.T @ x, hermitian=True).astype(np.float64)
    b: F64 = inverse @ (x.T @ y)
    return b, inverse, y - x @ b


def _cluster_part(x: F64, residuals: F64, cluster: Codes) -> tuple[F64, int]:
    code = np.unique(cluster, return_inverse=True)[1]
    groups = int(code.max()) + 1
    sums = np.zeros((groups, x.shape[1]))
    np.add.at(sums, code, x * residuals[:, None])
    n, k = x.shape
    return sums.T @ sums * groups / max(groups - 1, 1) * (n - 1) / (n - k), groups
