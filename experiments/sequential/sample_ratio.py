"""Did the arms get the shares of units that they should? Fixed tests, a sequential one, and where a mismatch sits.

check([5012, 4988], [0.5, 0.5])                       # once, at the end
sequential([[100, 90], [210, 180]], [0.5, 0.5])       # at every look: cumulative counts, one row a look
diagnose({"ios": [500, 400], "web": [498, 502]}, [0.5, 0.5])

Test at alpha = .001 or so: a mismatch means that the experiment is broken, not that it has an effect (Fabijan et al.
2019). A chi-square test repeated at every look raises a false alarm far more often than its alpha; the sequential
test does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, xlogy
from scipy.stats import chi2

from experiments.sequential.bounded import profile_limits
from experiments.sequential.mixture import best_ratio
from recsys.errors import BadInput

F64 = NDArray[np.float64]
ALPHA = 0.001
MOST = 200_000
"""Tables that the exact test may enumerate."""


@dataclass(frozen=True)
class Check:
    """A fixed test: its p-value, whether it raises the alarm, and each arm's observed and planned share."""

    p: float
    mismatch: bool
    method: str  # chi-square or exact
    observed: tuple[float, ...]
    planned: tuple[float, ...]


def check(counts: ArrayLike, weights: ArrayLike, alpha: float = ALPHA) -> Check:
    """Tests the counts of k arms against their weights, once: exact multinomial where an arm expects fewer than 5
    units, chi-square else.

    Raises:
        BadInput: counts and weights do not fit, or a unit is in an arm of weight 0.
    """
    n, w = _table(counts, weights)
    if n.ndim != 1:
        raise BadInput("one fixed check takes one row of counts")
    total = n.sum()
    small = (total * w < 5).any() and comb(int(total) + len(w) - 1, len(w) - 1) <= MOST
    p = exact_p(n, w) if small else float(chi_square_p(n, w))
    shares = n / total if total else w
    return Check(p, p <= alpha, "exact" if small else "chi-square", tuple(shares.tolist()), tuple(w.tolist()))


def chi_square_p(counts: ArrayLike, weights: ArrayLike) -> F64:
    """Pearson's chi-square p-values, for each row of counts (..., k); 1 where there is no unit."""
    n, w = _table(counts, weights)
    n, w = n[..., w > 0], w[w > 0]
    expected = n.sum(axis=-1, keepdims=True) * w
    with np.errstate(invalid="ignore"):
        terms = np.where(expected > 0, (n - expected) ** 2 / expected, 0.0)
    return np.asarray(chi2.sf(terms.sum(axis=-1), n.shape[-1] - 1), np.float64)


def exact_p(counts: ArrayLike, weights: ArrayLike) -> float:
    """The exact multinomial test: the probability of all tables that are no more probable than this one."""
    n, w = _table(counts, weights)
    n, w = n[w > 0], w[w > 0]
    tables = _compositions(int(n.sum()), len(n))
    logs = gammaln(n.sum() + 1) + (xlogy(tables, w) - gammaln(tables + 1)).sum(axis=1)
    own = gammaln(n.sum() + 1) + (xlogy(n, w) - gammaln(n + 1)).sum()
    return float(min(1.0, np.exp(logs[logs <= own + 1e-9]).sum()))


def _compositions(total: int, arms: int) -> F64:
    """All tables of `arms` counts that sum to `total`, (m, arms)."""
    rows = np.arange(total + 1, dtype=np.int64)[:, None]
    for _ in range(arms - 2):
        left = total - rows.sum(axis=1)
        each = np.repeat(np.arange(len(rows)), left + 1)
        rest = np.arange(len(each)) - np.repeat(np.cumsum(left + 1) - (left + 1), left + 1)
        rows = np.column_stack([rows[each], rest])
    if arms == 1:
        return np.full((1, 1), float(total))
    return np.column_stack([rows, total - rows.sum(axis=1)]).astype(np.float64)


def concentration_for(units: float, alpha: float = ALPHA) -> float:
    """The Dirichlet concentration with which a mismatch is found soonest around so many units.

    For two arms: a concentration plays the part of the mixture's precision, so the optimum of Howard et al. 2021
    applies.
    """
    return max(1.0, units / best_ratio(alpha))


def log_evidence(counts: ArrayLike, weights: ArrayLike, concentration: float) -> F64:
    """Log Bayes factor of a mismatch for each row of cumulative counts (..., k).

    Method: multinomial likelihood mixed over Dirichlet(concentration * weights), against the planned weights (Lindon
    & Malek 2022). A test martingale over single units, so it may be looked at whenever.
    """
    n, w = _table(counts, weights)
    n, w = n[..., w > 0], w[w > 0]
    prior = concentration * w
    mixed = (gammaln(prior + n) - gammaln(prior)).sum(axis=-1)
    norm = gammaln(prior.sum()) - gammaln(prior.sum() + n.sum(axis=-1))
    return np.asarray(mixed + norm - xlogy(n, w).sum(axis=-1), np.float64)


@dataclass(frozen=True)
class Sequential:
    """A sequential check at its last look: always-valid p, the first look (from 0) that raised the alarm, and limits
    (k,) of each arm's share that hold at all looks together."""

    p: float
    mismatch: bool
    first: int | None
    low: tuple[float, ...]
    high: tuple[float, ...]


def sequential(
    counts: ArrayLike, weights: ArrayLike, alpha: float = ALPHA, concentration: float = 1000.0
) -> Sequential:
    """Checks cumulative counts (looks, k); false alarms over all looks together have probability at most alpha.

    Raises:
        BadInput: counts and weights do not fit, or the counts fall from one look to the next.
    """
    n, w = _table(counts, weights)
    n = np.atleast_2d(n)
    if (np.diff(n, axis=0) < 0).any():
        raise BadInput("counts of a sequential check are cumulative: they cannot fall")
    logs = np.maximum.accumulate(log_evidence(n, w, concentration))
    p = np.exp(-np.maximum(logs, 0.0))
    alarms = np.flatnonzero(p <= alpha)
    low, high = shares(n, w, alpha, concentration)
    return Sequential(
        p=float(p[-1]),
        mismatch=bool(alarms.size),
        first=int(alarms[0]) if alarms.size else None,
        low=tuple(low.max(axis=0).tolist()),
        high=tuple(high.min(axis=0).tolist()),
    )


def shares(counts: ArrayLike, weights: ArrayLike, alpha: float, concentration: float) -> tuple[F64, F64]:
    """Limits (..., k) of each arm's share, together with probability 1 - alpha at all looks.

    The set of shares whose evidence against them stays below 1 / alpha, projected on each arm: the other arms are then
    in proportion to their counts, so that one dimension is left.
    """
    n, w = _table(counts, weights)
    total = n.sum(axis=-1, keepdims=True)
    rest = total - n
    level = log_evidence(n, w, concentration)[..., None] + xlogy(n, w).sum(axis=-1, keepdims=True)
    others = xlogy(n, n).sum(axis=-1, keepdims=True) - xlogy(n, n) - xlogy(rest, rest)
    return profile_limits(n, np.broadcast_to(total, n.shape), level + np.log(alpha) - others)


@dataclass(frozen=True)
class Segment:
    """One part of the units: its counts, its chi-square p (Holm-corrected over the parts), and the p of all the
    rest."""

    name: str
    counts: tuple[int, ...]
    p: float
    rest_p: float  # of the units outside this part; near 1 when this part alone makes the mismatch


def diagnose(segments: Mapping[str, ArrayLike], weights: ArrayLike) -> list[Segment]:
    """Which cohort, country or day carries a mismatch, the worst first.

    Raises:
        BadInput: there is no segment, or counts and weights do not fit.
    """
    if not segments:
        raise BadInput("a diagnosis needs at least one segment")
    n, w = _table(np.array([np.asarray(c) for c in segments.values()]), weights)
    raw, rest = chi_square_p(n, w), chi_square_p(n.sum(axis=0) - n, w)
    order = np.argsort(raw, kind="stable")
    holm = np.minimum(1.0, np.maximum.accumulate(raw[order] * (len(raw) - np.arange(len(raw)))))
    names = list(segments)
    return [
        Segment(names[i], tuple(int(c) for c in n[i]), float(p), float(rest[i]))
        for i, p in zip(order, holm, strict=True)
    ]


def _table(counts: ArrayLike, weights: ArrayLike) -> tuple[F64, F64]:
    n, w = np.asarray(counts, np.float64), np.asarray(weights, np.float64)
    if w.ndim != 1 or len(w) < 2 or (w < 0).any() or not w.sum() > 0:
        raise BadInput("weights must be a list of at least two numbers, none negative")
    if not n.ndim or n.shape[-1] != len(w):
        raise BadInput(f"{len(w)} weights need {len(w)} counts a row, not {n.shape[-1] if n.ndim else 0}")
    if not np.isfinite(n).all() or (n < 0).any() or (n != np.round(n)).any():
        raise BadInput("counts must be whole numbers, none negative")
    if n[..., w == 0].any():
        raise BadInput("there are units in an arm of weight 0")
    return n, w / w.sum()
