"""Does a policy draw from the distribution it states? Randomised probability integral transform, tested.

For draws X ~ F and V uniform, U = F(X-) + V P(X) is exactly uniform on [0, 1] when F is the stated discrete
distribution (Czado, Gneiting & Held 2009, "Predictive model assessment for count data"). Candidates are laid
out in ascending order of stated probability, so that a rare one is not hidden between common ones. Each context gets a
chi-square test over equal bins; Holm (1979) corrects over contexts. A draw to which the stated distribution
gives no probability at all (a cap that was ignored) rejects by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
BINS = 50


@dataclass(frozen=True)
class Verdict:
    """p-values of the contexts, Holm-adjusted."""

    p: Floats  # (contexts,)
    impossible: int  # draws of stated probability 0

    def rejected(self, level: float = 0.01) -> bool:
        return self.impossible > 0 or bool(self.p.min() < level)


def transform(stated: Floats, drawn: NDArray[np.integer], uniform: Floats) -> Floats:
    """Randomised PIT of draws from one stated distribution.

    Args:
        stated: (n,) probabilities. drawn: (d,) rows drawn. uniform: (d,) draws of V.
    """
    order = np.argsort(stated, kind="stable")
    below = np.empty(len(stated))
    below[order] = np.cumsum(stated[order]) - stated[order]
    return np.asarray(below[drawn] + uniform * stated[drawn])


def check(stated: Sequence[Floats], drawn: Sequence[NDArray[np.integer]], seed: int) -> Verdict:
    """Tests every context's draws against its stated conditional distribution.

    Args:
        stated: one (n,) distribution a context. drawn: the (d,) rows drawn in each.
    """
    from scipy.stats import chisquare

    rng = np.random.default_rng(seed)
    p_values, impossible = [], 0
    for distribution, rows in zip(stated, drawn, strict=True):
        impossible += int((distribution[rows] <= 0).sum())
        u = np.clip(transform(distribution, rows, rng.random(len(rows))), 0, np.nextafter(1, 0))
        p_values.append(float(chisquare(np.bincount((u * BINS).astype(np.int64), minlength=BINS)).pvalue))
    return Verdict(holm(np.array(p_values)), impossible)


def holm(p: Floats) -> Floats:
    """Holm's step-down adjusted p-values."""
    order = np.argsort(p, kind="stable")
    steps = p[order] * (len(p) - np.arange(len(p)))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
