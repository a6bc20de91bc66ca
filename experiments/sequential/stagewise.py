"""After a group-sequential stop: p-value, median-unbiased estimate and interval that take the stopping into account.

result = adjusted([0.3, 0.6], upper=[3.4, 2.4], z=2.7, two_sided=True)   # stopped at the second look
result.low, result.high                                                   # in standard errors at the stop

Method: stage-wise ordering of the outcomes (Armitage 1957; Tsiatis, Rosner & Mehta 1984): a stop upwards at an
earlier look is stronger evidence than at a later one, at the same look z decides. It needs no knowledge of looks
that were not taken. Interval and p-value agree with the bounds: 0 lies outside exactly when a bound was crossed. The
usual estimate is biased away from 0 after an early stop, and its interval covers too rarely.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from experiments.sequential.brownian import START, State, rising

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Adjusted:
    """What to report: multiply estimate, low and high by the standard error at the stop to get effects."""

    p: float  # of no effect, two-sided or upwards as the test was
    estimate: float  # median-unbiased, in standard errors
    low: float
    high: float  # infinite for a one-sided test


def exceedance(
    information: ArrayLike, upper: ArrayLike, z: float, drift: float, two_sided: bool = True
) -> float:
    """P(an outcome at least as high as z at the last look), in the stage-wise ordering; rises with the drift.

    `information` (k,) and `upper` (k,) are those of the looks up to the stop; `drift` is per unit of information.
    """
    times, high = rising(information), np.asarray(upper, np.float64)
    state: State = START
    above = 0.0
    for k, time in enumerate(times[:-1]):
        top = high[k] * np.sqrt(time)
        above += float(state.above(time, top, drift)) if np.isfinite(top) else 0.0
        state = state.step(time, -top if two_sided else -np.inf, top, drift, times[k + 1])
    return above + float(state.above(times[-1], z * np.sqrt(times[-1]), drift))


def adjusted(
    information: ArrayLike,
    upper: ArrayLike,
    z: float,
    two_sided: bool = True,
    alpha: float = 0.05,
) -> Adjusted:
    """Report of a stop at the last of the given looks with z there.

    A two-sided interval has coverage 1 - alpha; a one-sided test gets a lower limit of that coverage. Non-binding
    futility bounds do not enter.

    Raises:
        BadInput: the information does not rise by at least a thousandth at each look.
    """
    times = rising(information) / np.atleast_1d(np.asarray(information, np.float64))[-1]
    return report(lambda drift: exceedance(times, upper, z, drift, two_sided), z, two_sided, alpha)


def report(exceeds: Callable[[float], float], z: float, two_sided: bool, alpha: float) -> Adjusted:
    """P-value, median-unbiased estimate and interval from P(an outcome at least as high | drift)."""

    def root(level: float) -> float:
        def excess(drift: float) -> float:
            return exceeds(drift) - level

        low, high = z - 3.0, z + 3.0
        while excess(low) > 0:
            low -= 4.0
        while excess(high) < 0:
            high += 4.0
        return float(brentq(excess, low, high, xtol=1e-9))

    none = exceeds(0.0)
    p = min(1.0, 2 * min(none, 1 - none)) if two_sided else none
    side = alpha / 2 if two_sided else alpha
    return Adjusted(p, root(0.5), root(side), root(1 - side) if two_sided else np.inf)
