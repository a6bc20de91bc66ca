"""Paired tests of two models on the same queries, where queries of one unit (session, sequence, user) go together.

    found = compare(ours, theirs, units)     # (q,) metric values each; difference with 95% interval, p
    adjusted = holm([p1, p2, ...])           # bandits.uniformity: over all comparisons of a table

The interval is a percentile bootstrap over units; p is two-sided, by flipping the signs of whole units (a permutation
test of paired samples: Fisher 1935; Smucker, Allan & Carterette, CIKM 2007, on rankings).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.evaluation.bootstrap import Interval, paired_difference

F64 = NDArray[np.float64]
FLIPS, _AT_ONCE = 10_000, 500


@dataclass(frozen=True)
class Comparison:
    """Mean of ours minus theirs over queries."""

    difference: Interval
    p: float


def compare(
    ours: F64, theirs: F64, units: NDArray[np.integer], flips: int = FLIPS, seed: int = 0
) -> Comparison:
    """Of values (q,) of the same queries; `units` (q,) says which belong together."""
    interval = paired_difference(ours, theirs, units, seed)
    return Comparison(interval, sign_flip(ours - theirs, units, flips, seed))


def sign_flip(difference: F64, units: NDArray[np.integer], flips: int = FLIPS, seed: int = 0) -> float:
    """Two-sided p of the hypothesis that a unit's difference is as likely to be turned round; never 0."""
    sums = np.bincount(np.unique(units, return_inverse=True)[1], weights=difference)
    sums = sums[sums != 0]
    rng = np.random.default_rng(seed)
    observed, reached = abs(sums.sum()) - 1e-12, 0
    rounds = max(1, flips // _AT_ONCE)
    for _ in range(rounds):
        signs = rng.integers(0, 2, (_AT_ONCE, len(sums)), dtype=np.int8) * 2.0 - 1.0
        reached += int((np.abs(signs @ sums) >= observed).sum())
    return (1 + reached) / (1 + rounds * _AT_ONCE)
