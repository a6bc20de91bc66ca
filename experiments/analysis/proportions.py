"""Two independent proportions: the score test and the interval that inverts it.

compare_proportions(successes=(90, 110), trials=(1000, 1000))      # (control, treatment)
Miettinen & Nurminen, Statistics in Medicine 1985 (the constrained estimate also in Farrington & Manning 1990). Test and
interval agree: the interval leaves 0 out exactly where the p-value is below 1 - confidence. Holds its level at small
counts, where the Wald interval does not.
"""

from __future__ import annotations

import math

from scipy.optimize import brentq

from experiments.analysis.effects import Inference, Interval, critical, p_two_sided

Counts = tuple[int, int]


def compare_proportions(successes: Counts, trials: Counts, confidence: float = 0.95) -> Inference:
    """Treatment minus control, both tuples (control, treatment); units must be independent.

    Raises:
        ValueError: an arm without units, or more successes than units.
    """
    if min(trials) < 1 or any(not 0 <= s <= n for s, n in zip(successes, trials, strict=True)):
        raise ValueError("each arm needs at least one unit, and no more successes than units")
    p0, p1 = successes[0] / trials[0], successes[1] / trials[1]
    se = math.sqrt(p0 * (1 - p0) / trials[0] + p1 * (1 - p1) / trials[1])
    q = critical(confidence)
    low, high = (_end(successes, trials, p1 - p0, sign * q) for sign in (1, -1))
    return Inference(p1 - p0, se, Interval(low, high), p_two_sided(score(successes, trials, 0.0)))


def score(successes: Counts, trials: Counts, effect: float) -> float:
    """The statistic for the hypothesis treatment - control = effect; its null variance is the constrained one."""
    (n0, n1), p = trials, (successes[0] / trials[0], successes[1] / trials[1])
    q0 = constrained_control(successes, trials, effect)
    q1 = min(max(q0 + effect, 0.0), 1.0)
    variance = (q0 * (1 - q0) / n0 + q1 * (1 - q1) / n1) * (n0 + n1) / (n0 + n1 - 1)
    off = p[1] - p[0] - effect
    if variance <= 0:
        return 0.0 if abs(off) < 1e-12 else math.copysign(math.inf, off)
    return off / math.sqrt(variance)


def constrained_control(successes: Counts, trials: Counts, effect: float) -> float:
    """The control's likeliest proportion where the treatment's is `effect` above it.

    The root of the likelihood's derivative, found between its ends: the closed form of the cubic is off by 1e-8, which
    is much where successes, or failures, are rarer than one in a million.
    """
    (x0, x1), (n0, n1) = successes, trials
    if effect == 0:
        return (x0 + x1) / (n0 + n1)

    def slope(q: float) -> float:
        p, miss, other = q + effect, 1 - q, 1 - q - effect
        of_control = (x0 * miss - (n0 - x0) * q) * p * other
        return of_control + (x1 * other - (n1 - x1) * p) * q * miss

    low, high = max(0.0, -effect), min(1.0, 1 - effect)
    inside = 1e-15 * (high - low)
    if slope(low + inside) <= 0:
        return low
    if slope(high - inside) >= 0:
        return high
    return float(brentq(slope, low + inside, high - inside, xtol=1e-17, rtol=1e-13))


def _end(successes: Counts, trials: Counts, effect: float, level: float) -> float:
    """Where the score statistic, which falls as the hypothesis rises, crosses a level."""
    edge = -1.0 if level > 0 else 1.0
    near = 1e-9

    def above(value: float) -> float:
        return max(min(score(successes, trials, value), 1e6), -1e6) - level

    outer = edge * (1 - near)
    if above(outer) * above(effect) >= 0:
        return edge
    return float(brentq(above, min(outer, effect), max(outer, effect), xtol=1e-17, rtol=1e-12))
