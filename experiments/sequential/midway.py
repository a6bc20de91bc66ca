"""Mid-experiment power: how likely a running test still ends with an effect shown, from where it stands.

conditional(z=1.2, fraction=0.5, drift=2.8)            # if the effect is the one planned for
predictive(z=1.2, fraction=0.5)                        # averaged over what the data say of the effect so far
chances(rule, history, projected(history, times=[0.75, 1.0]), effect=0.1)   # of a group-sequential rule as it stands

Sources: stochastic curtailment with B-values, Lan & Wittes 1988; predictive power, Spiegelhalter, Freedman & Blackburn
1986. With interim looks still to come, the remaining bounds are integrated exactly. Low values justify giving up (a
futility stop never raises the error); high ones do not justify stopping for success.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from experiments.sequential.bounds import bounds
from experiments.sequential.brownian import State, exits
from experiments.sequential.group_rule import GroupSequential
from experiments.sequential.looks import Look, passed
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


@dataclass(frozen=True)
class Chances:
    """Probabilities that a running test still ends with an effect shown, in the direction it tests."""

    planned: float | None  # if the effect is the one given
    trend: float  # if the present estimate goes on
    predictive: float  # averaged over what the data say so far


def chances(
    rule: GroupSequential, history: Sequence[Look], ahead: Sequence[Look], effect: float | None = None
) -> Chances:
    """Mid-experiment power of a group-sequential rule: `ahead` are the looks still to come, with the standard errors
    expected there (their effects are not read), the last of them the end. Increments are taken as independent.

    `effect` is that against which the test was planned, on the metric's scale; it is compared with the rule's null.

    Raises:
        BadInput: the test has stopped, or no look ahead brings new information.
    """
    if not history or rule.look(history).stop:
        raise BadInput("the test has stopped, or not begun: there is no chance left to tell")
    looks = [*history, *ahead[:-1], replace(ahead[-1], final=True)] if ahead else list(history)
    taken = rule.taken([replace(look, correlations=()) for look in looks])
    done = sum(number < len(history) for number in taken.numbers)
    if not 0 < done < len(taken.numbers):
        raise BadInput("chances are told between a look and one ahead that brings new information")
    share = np.array(taken.information) / taken.information[-1]
    upper = bounds(replace(rule.design, futility=None), share, taken.fractions, final=True).upper[done:]
    now, last = looks[taken.numbers[done - 1]], looks[taken.numbers[-1]]
    z, fraction, rest = rule.statistic(now), float(share[done - 1]), share[done:]
    planned = None
    if effect is not None:
        drift = rule.statistic(replace(last, effect=effect))
        planned = conditional(z, fraction, drift, rest, upper, rule.two_sided)
    return Chances(
        planned,
        conditional(z, fraction, None, rest, upper, rule.two_sided),
        predictive(z, fraction, rest, upper, rule.two_sided),
    )


def projected(history: Sequence[Look], times: Sequence[float]) -> list[Look]:
    """Looks to come at shares of the planned time, with standard errors as the looks so far foretell them.

    The variance of a mean over days of the same units is a + b / days where their days are equally alike: a and b are
    fitted to the squared standard errors so far, neither below 0; from one look alone, a is 0.

    Raises:
        BadInput: a look does not say when it was.
    """
    inverse, variance = np.array([[1 / passed(k), k.se**2] for k in history]).T
    slope = variance[-1] / inverse[-1]
    if len(history) > 1 and np.ptp(inverse) > 0:
        off = inverse - inverse.mean()
        slope = float(np.clip(off @ variance / (off @ off), 0.0, slope))
    level = max(variance[-1] - slope * inverse[-1], 0.0)  # through the newest look
    last = history[-1]
    return [replace(last, se=float(np.sqrt(level + slope / t)), time=t, final=False, at="") for t in times]
