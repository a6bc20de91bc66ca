"""From two arms' estimates to tests and intervals: difference (Welch), relative lift (Fieller or delta), margins.

difference(pair), lift(pair), non_inferiority(pair, relative=0.01)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scipy.special import ndtr, ndtri, stdtr, stdtrit

from experiments.analysis.estimate import Pair

Direction = Literal["increase", "decrease"]
"""Which way is better."""


@dataclass(frozen=True)
class Interval:
    """Two ends, inclusive; infinite where the data set no bound."""

    low: float
    high: float

    def covers(self, value: float) -> bool:
        return self.low <= value <= self.high


NOTHING = Interval(-math.inf, math.inf)
"""The interval of data that say nothing."""


@dataclass(frozen=True)
class Inference:
    """An effect with its error, interval and two-sided p-value."""

    effect: float
    se: float
    interval: Interval
    p_value: float


@dataclass(frozen=True)
class NonInferiority:
    """Whether the treatment is worse than the control by less than the margin, one-sided."""

    margin: float  # absolute, in the metric's unit, positive
    bound: float  # the one-sided confidence bound of (difference + margin), in the direction that is better
    p_value: float
    passed: bool


def critical(confidence: float, df: float = math.inf) -> float:
    """The two-sided critical value of Student's t; of the normal where df is infinite."""
    upper = 0.5 + confidence / 2
    return float(ndtri(upper) if math.isinf(df) else stdtrit(df, upper))


def p_two_sided(statistic: float, df: float = math.inf) -> float:
    below = -abs(statistic)
    return float(2 * (ndtr(below) if math.isinf(df) else stdtr(df, below)))


def infer(effect: float, se: float, df: float = math.inf, confidence: float = 0.95) -> Inference:
    """Interval and test of an effect with a t or normal reference. An error of 0 or NaN allows neither: values that
    do not vary are few, or broken, and no large-sample error holds for them."""
    if math.isnan(effect) or not se > 0:
        return Inference(effect, se, NOTHING, float("nan"))
    half = critical(confidence, df) * se
    return Inference(effect, se, Interval(effect - half, effect + half), p_two_sided(effect / se, df))


def difference(pair: Pair, confidence: float = 0.95) -> Inference:
    """Treatment minus control: Welch's t (Biometrika 1947), which does not assume equal variances."""
    return infer(pair.effect, pair.se, pair.df, confidence)


def lift(pair: Pair, confidence: float = 0.95, method: Literal["fieller", "delta"] = "fieller") -> Inference:
    """(treatment - control) / |control|: up is up whatever the sign of the baseline.

    Fieller's interval (J. R. Stat. Soc. B 1954) solves (treatment - r control)^2 <= q^2 Var for r. It is not
    symmetric, and it is the whole line where the control's mean is not told from 0 (then no bounded interval can
    hold its level). The delta method's is symmetric. The p-value is that of the difference in both.
    """
    c, sign = pair.control, math.copysign(1, pair.control)
    if c == 0 or math.isnan(c):
        return Inference(float("nan"), float("nan"), NOTHING, difference(pair, confidence).p_value)
    r = pair.treatment / c
    variance = (pair.variance_treatment - 2 * r * pair.covariance + r**2 * pair.variance_control) / c**2
    se, q = math.sqrt(max(variance, 0.0)), critical(confidence, pair.df)
    if not se > 0:
        interval = NOTHING
    elif method == "delta":
        interval = Interval(sign * (r - 1) - q * se, sign * (r - 1) + q * se)
    else:
        interval = _fieller(pair, q, sign)
    return Inference(sign * (r - 1), se, interval, difference(pair, confidence).p_value)


def _fieller(pair: Pair, q: float, sign: float) -> Interval:
    c, t = pair.control, pair.treatment
    square = c**2 - q**2 * pair.variance_control
    if square <= 0:
        return NOTHING
    half = t * c - q**2 * pair.covariance
    root = math.sqrt(max(half**2 - square * (t**2 - q**2 * pair.variance_treatment), 0.0))
    ends = sorted(sign * (end / square - 1) for end in (half - root, half + root))
    return Interval(ends[0], ends[1])


def control_weight(relative: float | None, direction: Direction, control: float) -> float:
    """Of the control's value in what a relative margin tests, treatment - weight * control; 1 for absolute ones."""
    up = 1.0 if direction == "increase" else -1.0
    return 1 - up * (relative or 0.0) * math.copysign(1, control)


def non_inferiority(
    pair: Pair,
    absolute: float | None = None,
    relative: float | None = None,
    direction: Direction = "increase",
    alpha: float = 0.025,
) -> NonInferiority:
    """One-sided test against a margin; give one of the two.

    A relative margin m is m |control|, and the control's mean is an estimate: the test is of the linear combination
    treatment - (1 - m) control (for a positive control where higher is better), whose variance is exact, not of a
    difference against a margin taken as known. Values that do not vary pass nothing: so does a broken column.

    Raises:
        ValueError: both margins or none, or a negative one.
    """
    if (absolute is None) == (relative is None) or (absolute or relative or 0.0) < 0:
        raise ValueError("give one margin, absolute or relative, and not negative")
    up = 1.0 if direction == "increase" else -1.0
    weight = control_weight(relative, direction, pair.control)
    margin = absolute if absolute is not None else (relative or 0.0) * abs(pair.control)
    value = up * (pair.treatment - weight * pair.control) + (absolute or 0.0)
    variance = pair.variance_treatment - 2 * weight * pair.covariance + weight**2 * pair.variance_control
    se = math.sqrt(max(variance, 0.0)) if not math.isnan(variance) else float("nan")
    bound = value - float(stdtrit(pair.df, 1 - alpha)) * se
    p = float(stdtr(pair.df, -value / se)) if se > 0 else float("nan")
    return NonInferiority(float(margin), bound, p, se > 0 and bound > 0)
