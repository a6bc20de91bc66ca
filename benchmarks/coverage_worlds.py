"""Worlds with a known effect for `benchmarks.coverage`: each draws one experiment and says which intervals held it.

WORLDS["mean"](rng)      # {"mean, Welch": Drawn(covered, effect, se), ...}
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.analysis.effects import Inference, difference, lift, non_inferiority
from experiments.analysis.estimate import Adjustment, Pair, Term, compare
from experiments.analysis.moments import Moments
from experiments.analysis.proportions import compare_proportions
from experiments.analysis.quantiles import compare_quantiles

F64 = NDArray[np.float64]
N = 1000  # units per arm
RHO = 0.8  # correlation of outcome and covariate where the world says so
Rng = np.random.Generator


@dataclass(frozen=True)
class Drawn:
    covered: bool
    effect: float
    se: float


Draws = dict[str, Drawn]


def _drawn(found: Inference, truth: float) -> Drawn:
    return Drawn(found.interval.covers(truth), found.effect, found.se)


def _pair(
    names: tuple[str, ...],
    control: list[F64],
    treatment: list[F64],
    term: Term,
    how: Adjustment = "interacted",
) -> Pair:
    arms = [Moments.of(names, np.stack(columns, axis=1)) for columns in (control, treatment)]
    return compare(arms[0], arms[1], term, how)


def mean(rng: Rng) -> Draws:
    """Gamma values (skewness 1.4), different spread per arm; a lift on a positive and on a negative baseline."""
    c, t = rng.gamma(2, 5, N), rng.gamma(2, 5.5, N)
    pair = _pair(("y",), [c], [t], Term("y"))
    below = _pair(("y",), [c - 30], [t - 30], Term("y"))
    return {
        "mean, Welch": _drawn(difference(pair), 1.0),
        "lift of a mean, Fieller": _drawn(lift(pair), 0.1),
        "lift of a mean, delta": _drawn(lift(pair, method="delta"), 0.1),
        "lift on a negative baseline, Fieller": _drawn(lift(below), 1 / 20),
    }


def near_zero(rng: Rng) -> Draws:
    """A baseline 3.5 standard errors from 0: the delta method's symmetry fails, and Fieller's unbounded sets, given as
    the whole line, cover too often."""
    c, t = rng.normal(0.11, 1, N), rng.normal(0.33, 1, N)
    pair = _pair(("y",), [c], [t], Term("y"))
    return {
        "lift on a baseline near 0, Fieller": _drawn(lift(pair), 2.0),
        "lift on a baseline near 0, delta": _drawn(lift(pair, method="delta"), 2.0),
    }


def proportion(rng: Rng) -> Draws:
    """5% against 6.5% of 1,000, and 1% against 1.5%."""
    out = {}
    for name, p0, p1 in (("5%", 0.05, 0.065), ("1%", 0.01, 0.015)):
        counts = (int(rng.binomial(N, p0)), int(rng.binomial(N, p1)))
        found = compare_proportions(counts, (N, N))
        out[f"proportion at {name}, score"] = _drawn(found, p1 - p0)
    return out


def _listeners(rng: Rng, skip_rate: float) -> tuple[F64, F64, F64, F64]:
    """Plays and skips now and before; heavy listeners skip less, and who they are lasts."""
    heavy = rng.random(N) < 0.3
    rate = np.where(heavy, 20.0, 5.0) * rng.gamma(8, 1 / 8, N)
    q = np.where(heavy, 0.6, 1.2) * rng.beta(8, 12, N)
    before, now = 1 + rng.poisson(rate), 1 + rng.poisson(rate)
    pre = rng.binomial(before, np.minimum(q, 1)).astype(float)
    post = rng.binomial(now, np.minimum(q * skip_rate, 1)).astype(float)
    return now.astype(float), post, before.astype(float), pre


def _skip_rate(scale: float) -> float:
    """E[skips] / E[plays] of that world; the mean of the clipped beta by the midpoint rule."""
    x = (np.arange(20_000) + 0.5) / 20_000
    density = x**7 * (1 - x) ** 11
    heavy, light = (float(density @ np.minimum(f * x * scale, 1)) / density.sum() for f in (0.6, 1.2))
    return float((0.3 * 21 * heavy + 0.7 * 6 * light) / (0.3 * 21 + 0.7 * 6))


BASE, SCALED = _skip_rate(1.0), _skip_rate(0.95)


def ratio(rng: Rng) -> Draws:
    """Skips per play, clustered by listener; plain, and adjusted for the listener's own earlier skips and plays."""
    names = ("plays", "skips", "plays.pre", "skips.pre")
    c, t = list(_listeners(rng, 1.0)), list(_listeners(rng, 0.95))
    plain = _pair(names, c, t, Term("skips", "plays"))
    adjusted = _pair(names, c, t, Term("skips", "plays", ("skips.pre", "plays.pre")))
    truth = SCALED - BASE
    return {
        "ratio, delta": _drawn(difference(plain), truth),
        "lift of a ratio, Fieller": _drawn(lift(plain), truth / BASE),
        "ratio, CUPED": _drawn(difference(adjusted), truth),
        "lift of a ratio, CUPED": _drawn(lift(adjusted), truth / BASE),
        "ratio, rows taken as independent": _drawn(_by_rows(c, t), truth),
    }


def _by_rows(c: list[F64], t: list[F64]) -> Inference:
    """A test of proportions of plays: what a library without the delta method does."""
    skips, plays = (int(c[1].sum()), int(t[1].sum())), (int(c[0].sum()), int(t[0].sum()))
    return compare_proportions(skips, plays)


def adjusted_mean(rng: Rng) -> Draws:
    """One covariate of correlation RHO; the same with effects that differ along it, a fifth missing, two covariates."""
    out: Draws = {}
    x = rng.normal(size=(2, N))
    noise = rng.normal(size=(2, N)) * math.sqrt(1 / RHO**2 - 1)
    y = [5 + x[0] + noise[0], 5.2 + x[1] + noise[1]]
    pair = _pair(("y", "x"), [y[0], x[0]], [y[1], x[1]], Term("y", None, ("x",)))
    out["mean, CUPED (slope per arm)"] = _drawn(difference(pair), 0.2)
    pooled = _pair(("y", "x"), [y[0], x[0]], [y[1], x[1]], Term("y", None, ("x",)), "pooled")
    out["mean, CUPED (one slope)"] = _drawn(difference(pooled), 0.2)
    out["lift of a mean, CUPED"] = _drawn(lift(pair), 0.2 / 5)
    out["mean, same draws unadjusted"] = _drawn(difference(_pair(("y",), [y[0]], [y[1]], Term("y"))), 0.2)
    z, known = rng.exponential(size=(2, N)), rng.random((2, N)) > 0.2
    worked = [y[0] + z[0], y[1] + z[1] + 0.5 * x[1] + 0.3 * (z[1] - 1)]
    columns = [[worked[i], np.where(known[i], x[i], 0), (~known[i]).astype(float), z[i]] for i in (0, 1)]
    term = Term("y", None, ("x", "x.missing", "z"))
    mixed = _pair(("y", "x", "x.missing", "z"), columns[0], columns[1], term)
    out["mean, covariates, effects vary, some missing"] = _drawn(difference(mixed), 0.2)
    return out


def stratified(rng: Rng) -> Draws:
    """Three strata of unequal means and effects; cells as indicators."""
    levels, effects = np.array([0.0, 3.0, 8.0]), np.array([0.1, 0.3, 0.5])
    columns = []
    for treated in (0, 1):
        stratum = rng.choice(3, N, p=[0.5, 0.3, 0.2])
        y = levels[stratum] + treated * effects[stratum] + rng.normal(size=N)
        columns.append([y, (stratum == 1).astype(float), (stratum == 2).astype(float)])
    pair = _pair(("y", "b", "c"), columns[0], columns[1], Term("y", None, ("b", "c")))
    return {"mean, post-stratified": _drawn(difference(pair), 0.5 * 0.1 + 0.3 * 0.3 + 0.2 * 0.5)}


def quantile(rng: Rng) -> Draws:
    """Log-normal rows: medians of independent rows, and 90% points of rows that are alike within listeners."""
    c, t = np.exp(rng.normal(size=N)), 1.1 * np.exp(rng.normal(size=N))
    out = {"median, independent rows": _drawn(difference(compare_quantiles(c, t, 0.5)), 0.1)}
    rows = [1 + rng.poisson(5, N) for _ in (0, 1)]
    code = [np.repeat(np.arange(N), r) for r in rows]
    values = [
        np.exp(0.5 * rng.normal(size=N)[k] + 0.5 * rng.normal(size=len(k))) * (1 + 0.1 * i)
        for i, k in enumerate(code)
    ]
    truth = 0.1 * math.exp(1.2815515655446004 * math.sqrt(0.5))
    pair = compare_quantiles(values[0], values[1], 0.9, (code[0], code[1]))
    alone = compare_quantiles(values[0], values[1], 0.9)
    out["90% quantile, clustered rows"] = _drawn(difference(pair), truth)
    out["lift of that quantile, Fieller"] = _drawn(lift(pair), 0.1)
    out["the same, clusters ignored"] = _drawn(difference(alone), truth)
    return out


def capped(rng: Rng) -> Draws:
    """Heavy-tailed values without an effect: caps at the 99% point of both arms together, and of each arm alone."""
    values = [np.exp(1.5 * rng.normal(size=N)) for _ in (0, 1)]
    both = float(np.quantile(np.concatenate(values), 0.99))
    pair = _pair(("y",), [np.minimum(values[0], both)], [np.minimum(values[1], both)], Term("y"))
    own = [np.minimum(v, np.quantile(v, 0.99)) for v in values]
    apart = _pair(("y",), [own[0]], [own[1]], Term("y"))
    return {
        "capped mean, common caps": _drawn(difference(pair), 0.0),
        "capped mean, caps per arm": _drawn(difference(apart), 0.0),
    }


def margin(rng: Rng) -> Draws:
    """Exactly at a relative margin of 10%: how often non-inferiority is not claimed (97.5% wanted)."""
    c, t = rng.gamma(2, 5, N), rng.gamma(2, 4.5, N)
    pair = _pair(("y",), [c], [t], Term("y"))
    passed = non_inferiority(pair, relative=0.1).passed
    return {"at a non-inferiority margin, not passed": Drawn(not passed, pair.effect, pair.se)}


WORLDS: dict[str, Callable[[Rng], Draws]] = {
    "mean": mean,
    "near_zero": near_zero,
    "proportion": proportion,
    "ratio": ratio,
    "adjusted_mean": adjusted_mean,
    "stratified": stratified,
    "quantile": quantile,
    "capped": capped,
    "margin": margin,
}
