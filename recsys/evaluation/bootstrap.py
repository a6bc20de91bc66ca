"""Intervals over listeners: queries of one listener are not independent, so whole listeners are resampled.

Percentile bootstrap of clusters (Efron & Tibshirani 1993; Field & Welsh, JRSS-B 2007) for means over
queries, a delete-a-group jackknife (Kott, J. Official Statistics 2001) for figures of all lists together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.plays import I64

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Resampler:
    """One fixed set of bootstrap weights per listener, so that every model is resampled alike (paired)."""

    cluster: I64  # (q,) dense cluster number of each query
    weights: NDArray[np.int32]  # (replicates, clusters) how often each listener is drawn

    @classmethod
    def of(cls, listener: NDArray[np.integer], replicates: int = 500, seed: int = 0) -> Resampler:
        cluster = np.unique(listener, return_inverse=True)[1].astype(np.int64)
        clusters = int(cluster.max(initial=-1)) + 1
        rng = np.random.default_rng(seed)
        draws = rng.integers(0, max(1, clusters), (replicates, clusters))
        flat = draws + np.arange(replicates)[:, None] * clusters
        weights = np.bincount(flat.ravel(), minlength=replicates * clusters)
        return cls(cluster, weights.reshape(replicates, clusters).astype(np.int32))

    def mean(self, values: F64, rows: I64 | None = None) -> Interval:
        """Mean over queries (of `rows`, whose values are given in that order); NaN values do not count."""
        cluster = self.cluster if rows is None else self.cluster[rows]
        known = np.isfinite(values)
        if not known.any():
            return Interval(float("nan"), float("nan"), float("nan"))
        sums = np.bincount(cluster[known], weights=values[known], minlength=self.weights.shape[1])
        counts = np.bincount(cluster[known], minlength=self.weights.shape[1])
        drawn = self.weights @ counts
        means = (self.weights @ sums)[drawn > 0] / drawn[drawn > 0]
        return _percentiles(float(values[known].mean()), means)

    def ratio(self, above: F64, below: F64) -> Interval:
        """Mean of `above` over mean of `below` (a ratio of means), both (q,)."""
        clusters = self.weights.shape[1]
        top = self.weights @ np.bincount(self.cluster, weights=above, minlength=clusters)
        bottom = self.weights @ np.bincount(self.cluster, weights=below, minlength=clusters)
        return _percentiles(float(above.mean() / below.mean()), top / bottom)


def _percentiles(value: float, replicates: F64) -> Interval:
    if not len(replicates):
        return Interval(value, value, value)
    low, high = np.quantile(replicates, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def paired_difference(a: F64, b: F64, listener: NDArray[np.integer], seed: int = 0) -> Interval:
    """Mean of a - b over the same queries, resampling listeners."""
    return Resampler.of(listener, seed=seed).mean(a - b)


def jackknife(
    statistic: Callable[[NDArray[np.bool_]], float],
    listener: NDArray[np.integer],
    groups: int = 20,
    seed: int = 0,
) -> Interval:
    """Interval of a figure of all lists; `statistic` gets the mask of the queries to use.

    Listeners fall into `groups` random groups; each replicate leaves one out. The bootstrap would bias such
    figures (a resample always shows fewer distinct tracks).
    """
    cluster = np.unique(listener, return_inverse=True)[1]
    clusters = int(cluster.max(initial=-1)) + 1
    value = statistic(np.ones(len(listener), bool))
    groups = min(groups, clusters)
    if groups < 2:
        return Interval(value, value, value)
    group = np.random.default_rng(seed).permutation(clusters)[cluster] % groups
    left_out = np.array([statistic(group != g) for g in range(groups)])
    error = np.sqrt((groups - 1) / groups * ((left_out - left_out.mean()) ** 2).sum())
    return Interval(value, float(value - 1.96 * error), float(value + 1.96 * error))
