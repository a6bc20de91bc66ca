"""Whether a surrogate may be believed, where the month is over: calibration, and effects that pass it by.

found = surrogacy(surrogate, frame, outcome, policy)     # rows that did not teach
found.direct          # by policy, what acted past the signals, with errors; found.p_value: all of it chance?
found.slope           # true effects on foretold ones: 1 where the index keeps its scale

Surrogacy (Prentice 1989; Athey et al. 2025): given the signals, the outcome does not depend on the policy. What is left
of it is the mean residual of each policy, less that of all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import chi2

from experiments.analysis.moments import F64
from experiments.long_term.surrogate import Surrogate, clustered_means


@dataclass(frozen=True)
class Direct:
    """One policy: its true and foretold mean, and how far it is off the mean of all, in days."""

    policy: str
    units: int
    true: float
    told: float
    direct: float
    se: float


@dataclass(frozen=True)
class Surrogacy:
    """Of some policies.

    Attributes:
        p_value: of direct effects as large by chance, listeners clustered (Wald's test).
        slope, slope_se: true means of policies on foretold ones, through their centre.
        explained: share of the variance of listeners' outcomes that the index explains.
    """

    direct: tuple[Direct, ...]
    p_value: float
    slope: float
    slope_se: float
    explained: float


def surrogacy(surrogate: Surrogate, frame: pl.DataFrame, outcome: F64, policy: NDArray[np.str_]) -> Surrogacy:
    """Arguments as for `fit`; the same listeners may have lived under several policies."""
    names, which = np.unique(policy, return_inverse=True)
    told, true = surrogate.predict(frame), np.asarray(outcome, float)
    code = frame["unit"].cast(pl.String).rank("dense").to_numpy().astype(np.int64) - 1
    mean, covariance = clustered_means(true - told, which, code)
    k = len(names)
    centre = np.eye(k) - 1 / k
    direct, spread = centre @ mean, centre @ covariance @ centre
    statistic = float(direct @ np.linalg.pinv(spread, hermitian=True) @ direct)
    count = np.bincount(which)
    of_true, of_told = (centre @ (np.bincount(which, v) / count) for v in (true, told))
    square = float(of_told @ of_told)
    slope = float(of_told @ of_true) / square if square > 0 else float("nan")
    rest = of_true - slope * of_told
    slope_se = float(np.sqrt(rest @ rest / max(k - 2, 1) / square)) if square > 0 and k > 2 else float("nan")
    rows = tuple(
        Direct(
            str(names[j]),
            int(count[j]),
            float(true[which == j].mean()),
            float(told[which == j].mean()),
            float(direct[j]),
            float(np.sqrt(spread[j, j])),
        )
        for j in range(k)
    )
    left = float(np.mean((true - told) ** 2))
    explained = 1 - left / float(np.var(true)) if np.var(true) > 0 else float("nan")
    p_value = float(chi2.sf(statistic, k - 1)) if k > 1 else float("nan")
    return Surrogacy(rows, p_value, slope, slope_se, explained)


def calibration(told: F64, true: F64, bins: int = 10) -> pl.DataFrame:
    """Means of listeners in bins of equal size by what was foretold: told, true, se, n."""
    order = np.argsort(told, kind="stable")
    rows = [
        (
            float(told[part].mean()),
            float(true[part].mean()),
            float(true[part].std() / np.sqrt(len(part))),
            len(part),
        )
        for part in np.array_split(order, bins)
        if len(part)
    ]
    return pl.DataFrame(rows, schema=["told", "true", "se", "n"], orient="row")
