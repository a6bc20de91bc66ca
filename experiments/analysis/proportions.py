"""Two independent proportions: the score test and the interval that inverts it.

compare_proportions(successes=(90, 110), trials=(1000, 1000))      # (control, treatment)
Miettinen & Nurminen, Statistics in Medicine 1985; the constrained estimate by Farrington & Manning 1990. Test and
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
    """The control's likeliest proportion where the treatment's is `effect` above it: a root of a cubic."""
    (x0, x1), (n0, n1) = successes, trials
    n = n0 + n1
    a = n
    b = (n1 + 2 * n0) * effect - n - x0 - x1
    c = (n0 * effect - n - 2 * x0) * effect + x0 + x1
    d = x0 * effect * (1 - effect)
    v = b**3 / (3 * a) ** 3 - b * c / (6 * a**2) + d / (2 * a)
    inner = b**2 / (3 * a) ** 2 - c / (3 * a)
    u = math.copysign(math.sqrt(max(inner, 0.0)), v)
    ratio = v / u**3 if u else 0.0
    angle = (math.pi + math.acos(min(max(ratio, -1.0), 1.0))) / 3
    root = 2 * u * math.cos(angle) - b / (3 * a)
    return min(max(root, max(0.0, -effect)), min(1.0, 1 - effect))


def _end(successes: Counts, trials: Counts, effect: float, level: float) -> float:
    """Where the score statistic, which falls as the hypothesis rises, crosses a level."""
    edge = -1.0 if level > 0 else 1.0
    near = 1e-9

    def above(value: float) -> float:
        return max(min(score(successes, trials, value), 1e6), -1e6) - level

    outer = edge * (1 - near)
    if above(outer) * above(effect) >= 0:
        return edge
    return float(brentq(above, min(outer, effect), max(outer, effect), xtol=1e-12, rtol=1e-12))
