"""Adjusted arm means from moments: means and ratios, plain or with covariates (CUPED, regression adjustment).

Every metric is written as a smooth function of column means; its influence function is linear in the columns, so
moments are enough. Ratios: delta method (Deng, Knoblich & Lu, KDD 2018), with the randomised unit as the unit of
analysis, which is what makes clustered rows right. Covariates "interacted": a slope per arm (Lin, Ann. Appl. Stat.
2013; ANCOVA2, Yang & Tsiatis 2001), variances per arm, plus what the pooled covariate mean adds where slopes differ
(Negi & Wooldridge, Econometric Reviews 2021). "pooled": one slope from both arms together (CUPED, Deng et al.,
WSDM 2013). A ratio's covariates act on its influence function (Jin & Ba, Technometrics 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from experiments.analysis.moments import F64, Moments

Adjustment = Literal["interacted", "pooled", "none"]


@dataclass(frozen=True)
class Term:
    """A metric in terms of moment columns: mean of `numerator`, or its ratio to the mean of `denominator`."""

    numerator: str
    denominator: str | None = None
    covariates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair:
    """Two arms' estimates and their joint variance; everything that a comparison needs."""

    control: float
    treatment: float
    variance_control: float  # of the estimate
    variance_treatment: float
    covariance: float  # of the two estimates: not 0 where covariates are centred at the mean of both arms
    df: float  # Welch–Satterthwaite
    n_control: int
    n_treatment: int
    plain_variance: float  # of the difference without covariates

    @property
    def effect(self) -> float:
        return self.treatment - self.control

    @property
    def variance(self) -> float:
        return self.variance_treatment + self.variance_control - 2 * self.covariance

    @property
    def se(self) -> float:
        return float(np.sqrt(max(self.variance, 0.0)))

    @property
    def variance_reduction(self) -> float:
        """Share of the difference's variance that the covariates took away."""
        return 1 - self.variance / self.plain_variance if self.plain_variance > 0 else 0.0

    def swapped(self) -> Pair:
        """The same with the arms' roles exchanged."""
        return Pair(
            self.treatment,
            self.control,
            self.variance_treatment,
            self.variance_control,
            self.covariance,
            self.df,
            self.n_treatment,
            self.n_control,
            self.plain_variance,
        )


@dataclass(frozen=True)
class _Arm:
    """One arm's estimate before adjustment, and how its influence function varies with the covariates."""

    n: int
    value: float
    influence: float  # variance of the influence function
    with_x: F64  # (q,) its covariance with the covariates
    x_mean: F64  # (q,)
    x_cov: F64  # (q, q)


def compare(control: Moments, treatment: Moments, term: Term, adjustment: Adjustment = "interacted") -> Pair:
    """The two arms' values of a metric with their variances, from their moments over units."""
    covariates = () if adjustment == "none" else term.covariates
    c, t = (_arm(m, term.numerator, term.denominator, covariates) for m in (control, treatment))
    plain = c.influence / c.n + t.influence / t.n if c.n and t.n else float("nan")
    n = c.n + t.n
    centre = (c.n * c.x_mean + t.n * t.x_mean) / max(n, 1)
    slope_c, slope_t, used = _slopes(c, t, control, treatment, term, adjustment, covariates)
    rest_c, rest_t = (_residual(arm, b, used) for arm, b in ((c, slope_c), (t, slope_t)))
    spread = ((c.n - 1) * c.x_cov + (t.n - 1) * t.x_cov) / max(n - 2, 1) / max(n, 1)
    return Pair(
        c.value - float(slope_c @ (c.x_mean - centre)),
        t.value - float(slope_t @ (t.x_mean - centre)),
        rest_c + float(slope_c @ spread @ slope_c),
        rest_t + float(slope_t @ spread @ slope_t),
        float(slope_c @ spread @ slope_t),
        _welch(rest_c, c.n - 1 - used, rest_t, t.n - 1 - used),
        c.n,
        t.n,
        plain,
    )


def influences(
    control: Moments, treatment: Moments, term: Term, adjustment: Adjustment = "interacted"
) -> tuple[F64, F64]:
    """What a unit's deviation from its arm's means (k,) adds to the arm's adjusted value, over the arm's units: weights
    (k,) of each arm. Products of these give covariances of estimates that share units."""
    covariates = () if adjustment == "none" else term.covariates
    c, t = (_arm(m, term.numerator, term.denominator, covariates) for m in (control, treatment))
    slopes = _slopes(c, t, control, treatment, term, adjustment, covariates)
    found = []
    for m, slope in ((control, slopes[0]), (treatment, slopes[1])):
        weights = influence(m, term.numerator, term.denominator)[1]
        weights[m.index(covariates)] -= slope
        found.append(weights)
    return found[0], found[1]


def influence(m: Moments, numerator: str, denominator: str | None) -> tuple[float, F64]:
    """A metric's value in one arm, and the weights (k,) of its influence function on the columns' deviations."""
    weights, y = np.zeros(len(m.names)), m.names.index(numerator)
    if denominator is None:
        weights[y] = 1.0
        return float(m.mean[y]), weights
    d = m.names.index(denominator)
    below = m.mean[d]
    value = m.mean[y] / below if below != 0 else float("nan")
    weights[y] += 1 / below if below != 0 else float("nan")
    weights[d] -= value / below if below != 0 else float("nan")
    return float(value), weights


def _arm(m: Moments, numerator: str, denominator: str | None, covariates: tuple[str, ...]) -> _Arm:
    value, weights = influence(m, numerator, denominator)
    at, cov = m.index(covariates), m.covariance
    weighted = cov @ weights
    return _Arm(m.n, value, float(weights @ weighted), weighted[at], m.mean[at], cov[np.ix_(at, at)])


def _slopes(
    c: _Arm,
    t: _Arm,
    control: Moments,
    treatment: Moments,
    term: Term,
    adjustment: Adjustment,
    covariates: tuple[str, ...],
) -> tuple[F64, F64, int]:
    """Each arm's slopes (q,), and the degrees of freedom that they cost per arm."""
    if not covariates or min(c.n, t.n) < len(covariates) + 3:
        none = np.zeros(len(covariates))
        return none, none, 0
    if adjustment == "pooled":
        both = _arm(control.merge(treatment), term.numerator, term.denominator, covariates)
        slope, _ = _solve(both.x_cov, both.with_x)
        return slope, slope, 0
    slope_c, used_c = _solve(c.x_cov, c.with_x)
    slope_t, used_t = _solve(t.x_cov, t.with_x)
    return slope_c, slope_t, max(used_c, used_t)


def _solve(x_cov: F64, with_x: F64) -> tuple[F64, int]:
    """Least-squares slopes and the rank; constant and collinear covariates get none of their own."""
    sd = np.sqrt(np.diag(x_cov))
    scale = np.where(sd > 0, 1 / np.where(sd > 0, sd, 1), 0.0)
    slope, _, rank, _ = np.linalg.lstsq(x_cov * np.outer(scale, scale), with_x * scale, rcond=1e-9)
    return slope * scale, int(rank)


def _residual(arm: _Arm, slope: F64, used: int) -> float:
    """Variance of the arm's mean residual: (n - 1) / (n - 1 - slopes) corrects for fitting them."""
    rest = float(arm.influence - 2 * slope @ arm.with_x + slope @ arm.x_cov @ slope)
    return float(max(rest, 0.0) * (arm.n - 1) / max(arm.n - 1 - used, 1) / max(arm.n, 1))


def _welch(control: float, df_control: float, treatment: float, df_treatment: float) -> float:
    total = control + treatment
    if not total > 0 or min(df_control, df_treatment) <= 0:
        return float(max(df_control + df_treatment, 1))
    return total**2 / (control**2 / df_control + treatment**2 / df_treatment)
