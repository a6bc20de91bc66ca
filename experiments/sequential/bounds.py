"""Group-sequential bounds: how large |z| must be at each look so that all looks together err with probability alpha.

design = Design(Spending("obrien_fleming"), alpha=0.05, sides=2)
bounds(design, [0.25, 0.5, 0.75, 1.0]).upper

Looks may be unequal and unplanned (Lan & DeMets 1983). A futility bound is non-binding: the efficacy bound is computed
as if it were not there, so that passing over it costs no error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from experiments.sequential.brownian import START, State, exits, rising
from experiments.sequential.spending import Spending, spent
from recsys.errors import BadInput

F64 = NDArray[np.float64]
_LEAST = 1e-14
"""Error below which a bound counts as infinite: it lies beyond z = 7.5."""
_ALPHAS = (1e-12, 0.999)
"""What a repeated p-value is sought between."""


@dataclass(frozen=True)
class Design:
    """What a group-sequential test is, before any look.

    With sides 2, each side may use up alpha / 2. `futility` spends beta = 1 - power under the effect that the design
    has that power for; for one-sided tests only.

    Raises:
        BadInput: alpha outside (0, 1), sides other than 1 and 2, futility of a two-sided test, power outside (0, 1).
    """

    spending: Spending = field(default_factory=Spending)
    alpha: float = 0.05
    sides: int = 2
    futility: Spending | None = None
    power: float = 0.8

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1 or self.sides not in (1, 2):
            raise BadInput(
                f"alpha must be within 0 and 1 and sides 1 or 2, not {self.alpha:g} and {self.sides}"
            )
        if self.futility is not None and self.sides == 2:
            raise BadInput("a futility bound needs a one-sided test: set sides to 1")
        if not 0 < self.power < 1:
            raise BadInput(f"power must lie between 0 and 1, not {self.power:g}")

    @property
    def side_alpha(self) -> float:
        return self.alpha / self.sides


@dataclass(frozen=True)
class Bounds:
    """Bounds on the z scale at each of k looks: stop for an effect above `upper` or below `lower`, give up below
    `futility`; infinite where a look cannot stop. `spent` is the error used up so far, both sides together."""

    information: F64
    upper: F64
    lower: F64
    futility: F64
    spent: F64


def bounds(
    design: Design,
    information: ArrayLike,
    time: ArrayLike | None = None,
    final: bool = False,
    drift: float | None = None,
) -> Bounds:
    """The bounds of looks at `information` (k,), rising, as fractions of what is planned.

    `time` (k,) are the fractions to spend error by, where they differ from the information (Lan & DeMets 1989). A
    look at 1 or later, or the last one if `final`, uses up all that remains. `drift` is the z expected at fraction 1
    that futility is judged by; by default the one for which the design has its power at these looks.

    Raises:
        BadInput: the information does not rise by at least a thousandth at each look.
    """
    times = rising(information)
    fractions = times if time is None else np.asarray(time, np.float64)
    allowed = spent(design.spending, fractions, design.side_alpha)
    if final:
        allowed[-1] = design.side_alpha
    upper = _efficacy(times, np.maximum.accumulate(allowed), design.sides)
    none = np.full(len(times), -np.inf)
    lower = -upper if design.sides == 2 else none
    futility = none if design.futility is None else _futility(design, times, fractions, upper, drift, final)
    used = exits(times, lower, upper, 0.0)
    return Bounds(times, upper, lower, futility, np.cumsum(used.upper + used.lower))


def _efficacy(times: F64, allowed: F64, sides: int) -> F64:
    """Upper bounds whose exits under no effect add up to `allowed` (k,)."""
    upper, state, used = np.full(len(times), np.inf), START, 0.0
    for k, time in enumerate(times):
        upper[k] = _level(state, time, allowed[k] - used, 0.0)
        high = upper[k] * np.sqrt(time)
        used += float(state.above(time, high, 0.0)) if np.isfinite(high) else 0.0
        if k + 1 < len(times):
            state = state.step(time, -high if sides == 2 else -np.inf, high, 0.0, times[k + 1])
    return upper


def _level(state: State, time: float, error: float, drift: float, below: bool = False) -> float:
    """The z that is exceeded (or undershot) with probability `error`; infinite where the error is nil."""
    if error < _LEAST:
        return -np.inf if below else np.inf
    root, far = np.sqrt(time), 40.0
    side = state.below if below else state.above
    if error >= side(time, far * root if below else -far * root, drift):
        return far if below else -far
    return float(brentq(lambda z: float(side(time, z * root, drift)) - error, -far, far, xtol=1e-10))


def _futility(
    design: Design, times: F64, fractions: F64, upper: F64, drift: float | None, final: bool
) -> F64:
    drift = futility_drift(design, times, upper) if drift is None else drift
    assert design.futility is not None
    allowed = spent(design.futility, fractions, 1 - design.power)
    lower = _lower(times, allowed, upper, drift)
    if final or fractions[-1] >= 1:
        lower[-1] = upper[-1]  # the last look decides one way or the other
    return np.minimum(lower, upper)


def _lower(times: F64, allowed: F64, upper: F64, drift: float) -> F64:
    """Futility bounds whose exits under `drift` add up to `allowed` (k,), with the efficacy bounds in place."""
    lower, state, used = np.full(len(times), -np.inf), START, 0.0
    for k, time in enumerate(times):
        lower[k] = min(_level(state, time, allowed[k] - used, drift, below=True), upper[k])
        low = lower[k] * np.sqrt(time)
        used += float(state.below(time, low, drift)) if np.isfinite(low) else 0.0
        if k + 1 < len(times):
            state = state.step(time, low, upper[k] * np.sqrt(time), drift, times[k + 1])
    return lower


def futility_drift(design: Design, information: ArrayLike, upper: ArrayLike | None = None) -> float:
    """The z expected at fraction 1 for which futility and efficacy bounds meet at the last look, error beta spent.

    Method: Pampallona, Tsiatis & Kim 2001; it is the drift that the design's power holds for if all obey the
    futility bound.
    """
    times = rising(information)
    if times[-1] < 1:
        times, upper = np.append(times, 1.0), None
    fractions = np.minimum(times, 1.0)
    high = np.asarray(upper, np.float64) if upper is not None else None
    if high is None:
        high = _efficacy(times, spent(design.spending, fractions, design.side_alpha), design.sides)
    allowed = spent(design.futility or design.spending, fractions, 1 - design.power)
    open_ended = np.append(high[:-1], np.inf)

    def gap(drift: float) -> float:
        return float(_lower(times, allowed, open_ended, drift)[-1] - high[-1])

    return float(brentq(gap, 0.0, 20.0, xtol=1e-8))


def repeated_p(
    design: Design, information: ArrayLike, z: float, time: ArrayLike | None = None, final: bool = False
) -> float:
    """The smallest alpha with which this design would have stopped for an effect at the last look; 1 if none would.

    It may be quoted while the test runs: it is at most alpha exactly where z reaches the bound (Jennison & Turnbull
    2000, section 9.5). With sides 2 the sign of z does not matter. Values below 1e-12 are given as that.
    """

    def upper(alpha: float) -> float:
        return float(bounds(replace(design, alpha=alpha, futility=None), information, time, final).upper[-1])

    return smallest_alpha(upper, abs(z) if design.sides == 2 else z)


def smallest_alpha(upper: Callable[[float], float], value: float) -> float:
    """The alpha at which the last bound, which falls as alpha rises, is just reached."""
    low, high = np.log(_ALPHAS)

    def gap(log_alpha: float) -> float:
        return min(upper(float(np.exp(log_alpha))), 1e3) - value

    if gap(high) > 0:
        return 1.0
    return _ALPHAS[0] if gap(low) <= 0 else float(np.exp(brentq(gap, low, high, xtol=1e-9)))


def classical(looks: int, alpha: float = 0.05, shape: float = 0.5, sides: int = 2) -> F64:
    """The bounds of Wang & Tsiatis 1987 at equally spaced looks, (looks,): shape 0.5 is Pocock 1977, 0 O'Brien &
    Fleming 1979. They need the number of looks in advance; kept as a yardstick for the spending versions."""
    times = np.arange(1, looks + 1) / looks
    form = times ** (shape - 0.5)

    def error(constant: float) -> float:
        high = constant * form
        return exits(times, -high if sides == 2 else np.full(looks, -np.inf), high, 0.0).total - alpha

    fixed = float(norm.isf(alpha / sides))
    return np.asarray(brentq(error, fixed - 1e-9, 2 * fixed + 2, xtol=1e-9) * form, np.float64)
