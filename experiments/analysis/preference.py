"""Which of two interleaved rankings listeners prefer: from clicks and credits to a test.

preference(score, listener)          # score (n,): sum of credits of what was clicked in each list shown
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

from experiments.analysis.effects import Inference, infer
from experiments.analysis.interleave import Interleaved
from experiments.analysis.moments import F64
from recsys.errors import BadInput


@dataclass(frozen=True)
class Preference:
    """`lead`: (wins a + ties / 2) / lists - 1/2 (Chapelle, Joachims, Radlinski & Yue, TOIS 2012), by list, errors
    clustered by listener. `mean_credit`: the same for the credits themselves, more sensitive where lists get several
    clicks. `sign_p`: the exact binomial test over listeners (each votes for whom more of its lists were won)."""

    lead: Inference
    mean_credit: Inference
    sign_p: float
    wins_a: int
    wins_b: int
    ties: int
    listeners: int


def score(shown: Interleaved, clicked: NDArray[np.bool_]) -> float:
    """The credit of one list: positive is for a."""
    return float(shown.credit[clicked].sum())


def preference(
    scores: F64, listener: NDArray[np.integer] | None = None, confidence: float = 0.95
) -> Preference:
    """`scores` (n,), one per list shown; `listener` (n,) who saw it, None: all different.

    Raises:
        BadInput: fewer than two listeners.
    """
    code = np.arange(len(scores)) if listener is None else np.unique(listener, return_inverse=True)[1]
    listeners = int(code.max(initial=-1)) + 1
    if listeners < 2:
        raise BadInput("a preference needs lists of at least two listeners")
    won = np.sign(np.where(np.abs(scores) < 1e-12, 0.0, scores))
    votes = np.sign(np.bincount(code, weights=won))
    return Preference(
        _mean(won / 2, code, confidence),
        _mean(np.asarray(scores, float), code, confidence),
        _sign_test(int((votes > 0).sum()), int((votes < 0).sum())),
        int((won > 0).sum()),
        int((won < 0).sum()),
        int((won == 0).sum()),
        listeners,
    )


def _mean(values: F64, code: NDArray[np.integer], confidence: float) -> Inference:
    """Mean over lists, a ratio over listeners (delta method)."""
    sums, rows = np.bincount(code, weights=values), np.bincount(code)
    mean = float(sums.sum() / rows.sum())
    off = (sums - mean * rows) / rows.mean()
    n = len(rows)
    return infer(mean, float(np.sqrt(off @ off / (n - 1) / n)), n - 1, confidence)


def _sign_test(a: int, b: int) -> float:
    """Two-sided exact binomial test of equal chances; ties are left out."""
    if a + b == 0:
        return 1.0
    upper = float(betainc(max(a, b), min(a, b) + 1, 0.5))  # P(X >= max)
    return min(1.0, 2 * upper)
