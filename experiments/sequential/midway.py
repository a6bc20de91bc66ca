"""Mid-experiment power: how likely a running test still ends with an effect shown, from where it stands.

conditional(z=1.2, fraction=0.5, drift=2.8)            # if the effect is the one planned for
predictive(z=1.2, fraction=0.5)                        # averaged over what the data say of the effect so far

Sources: stochastic curtailment with B-values, Lan & Wittes 1988; predictive power, Spiegelhalter, Freedman & Blackburn
1986. With interim looks still to come, the remaining bounds are integrated exactly. Low values justify giving up (a
futility stop never raises the error); high ones do not justify stopping for success.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from experiments.sequential.brownian import State, exits
from recsys.errors import BadInput

F64 = NDArray[np.float64]
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(48)


def conditional(
    z: float,
    fraction: float,
    drift: float | None = None,
    looks: ArrayLike = (1.0,),
    upper: ArrayLike | None = None,
    two_sided: bool = True,
    alpha: float = 0.05,
) -> float:
    """P(crossing upwards, or either way if two-sided, at the remaining looks | z at this fraction of the information).

    `looks` (k,) are the fractions still to come and `upper` (k,) their bounds, by default one fixed test at the end.
    `drift` is the mean of z at fraction 1; by default the present estimate goes on (the current trend).

    Raises:
        BadInput: the fraction is not within 0 and 1, or the looks do not come after it.
    """
    if not 0 < fraction < 1:
        raise BadInput(f"the fraction must lie between 0 and 1, not {fraction:g}")
    times = np.atleast_1d(np.asarray(looks, np.float64))
    fixed = norm.isf(alpha / 2 if two_sided else alpha)
    high = np.full(len(times), fixed) if upper is None else np.asarray(upper, np.float64)
    now = State(fraction, np.array([z * np.sqrt(fraction)]), np.ones(1))
    per_unit = z / np.sqrt(fraction) if drift is None else drift
    low = -high if two_sided else np.full(len(times), -np.inf)
    return exits(times, low, high, per_unit, now).total


def predictive(
    z: float,
    fraction: float,
    looks: ArrayLike = (1.0,),
    upper: ArrayLike | None = None,
    two_sided: bool = True,
    alpha: float = 0.05,
    prior: tuple[float, float] | None = None,
) -> float:
    """Conditional power averaged over the posterior of the drift: flat prior, or normal with (mean, sd) on its scale.

    Raises:
        BadInput: as `conditional`.
    """
    weight, mean = fraction, z * np.sqrt(fraction)
    if prior is not None:
        weight, mean = fraction + prior[1] ** -2, mean + prior[0] * prior[1] ** -2
    drifts = mean / weight + _NODES / np.sqrt(weight)
    powers = [conditional(z, fraction, float(d), looks, upper, two_sided, alpha) for d in drifts]
    return float(np.dot(_WEIGHTS, powers) / _WEIGHTS.sum())
