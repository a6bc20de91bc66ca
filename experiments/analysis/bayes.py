"""Bayesian summaries: a normal posterior of any effect, and beta posteriors of two proportions.

summary(effect, se, Prior(sd=0.02), direction="increase").chance_to_beat
The normal posterior treats (effect, se) as a normal likelihood, which large samples make true for every metric here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import betainc, betaincinv, ndtr, ndtri

from experiments.analysis.effects import Direction, Interval
from experiments.analysis.moments import F64


class Prior(BaseModel):
    """A normal prior of the effect; without an sd it is flat (improper). In the metric's unit, or as a lift."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    mean: float = 0.0
    sd: float | None = Field(default=None, gt=0)
    relative: bool = False  # mean and sd are shares of the control's value

    def at(self, control: float) -> Prior:
        """The same in the metric's unit."""
        if not self.relative:
            return self
        size = abs(control)
        return Prior(mean=self.mean * size, sd=self.sd * size if self.sd and size else None)


@dataclass(frozen=True)
class Posterior:
    """What is believed of the effect after the data."""

    mean: float
    sd: float
    interval: Interval  # equal-tailed, credible
    chance_to_beat: float  # probability that the treatment is better than the control
    loss_treatment: float  # expected loss of choosing the treatment, in the metric's unit
    loss_control: float  # expected loss of keeping the control


def summary(
    effect: float,
    se: float,
    prior: Prior | None = None,
    direction: Direction = "increase",
    confidence: float = 0.95,
) -> Posterior:
    """Conjugate normal update (Gelman et al., Bayesian Data Analysis, section 2.5); expected losses in closed form."""
    prior = prior or Prior()
    if not se > 0:
        nan = float("nan")
        return Posterior(effect, nan, Interval(nan, nan), nan, nan, nan)
    precision = 1 / se**2 + (1 / prior.sd**2 if prior.sd else 0.0)
    mean = (effect / se**2 + (prior.mean / prior.sd**2 if prior.sd else 0.0)) / precision
    sd, half = 1 / math.sqrt(precision), float(ndtri(0.5 + confidence / 2)) / math.sqrt(precision)
    gain = mean if direction == "increase" else -mean
    return Posterior(
        mean,
        sd,
        Interval(mean - half, mean + half),
        float(ndtr(gain / sd)),
        expected_shortfall(gain, sd),
        expected_shortfall(-gain, sd),
    )


def expected_shortfall(mean: float, sd: float) -> float:
    """E[max(0, -X)] of a normal X: what is lost on average by acting as if X were positive."""
    z = mean / sd
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return float(sd * density - mean * ndtr(-z))


def two_betas(
    successes: tuple[int, int],
    trials: tuple[int, int],
    prior: tuple[float, float] = (1.0, 1.0),
    direction: Direction = "increase",
    confidence: float = 0.95,
) -> Posterior:
    """Exact posterior of (treatment - control) for proportions, each arm (control, treatment) with a beta prior.

    Integrals by the midpoint rule over 4,000 equal steps of the control's posterior probability (each step is one
    quantile of its beta); accurate to about 1e-4 of the posterior sd.
    """
    (a0, b0), (a1, b1) = ((prior[0] + s, prior[1] + n - s) for s, n in zip(successes, trials, strict=True))
    u = (np.arange(4000) + 0.5) / 4000
    p0 = betaincinv(a0, b0, u)
    below = betainc(a1, b1, p0)  # P(treatment <= p0)
    mean1 = a1 / (a1 + b1)
    below_mean = mean1 * betainc(a1 + 1, b1, p0)  # E[treatment; treatment <= p0]
    fall = float((p0 * below - below_mean).mean())  # E[(control - treatment)+]
    mean = mean1 - a0 / (a0 + b0)
    variance = sum(a * b / ((a + b) ** 2 * (a + b + 1)) for a, b in ((a0, b0), (a1, b1)))
    beats = 1 - float(below.mean())
    tail = (1 - confidence) / 2
    interval = Interval(*(_quantile(p0, a1, b1, q) for q in (tail, 1 - tail)))
    losses = (fall, fall + mean)  # of the treatment, of the control, where higher is better
    if direction == "decrease":
        beats, losses = 1 - beats, losses[::-1]
    return Posterior(mean, math.sqrt(variance), interval, beats, *losses)


def _quantile(p0: F64, a1: float, b1: float, level: float) -> float:
    """The difference's quantile, by bisection of P(treatment <= control + d)."""
    low, high = -1.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        reached = float(betainc(a1, b1, np.clip(p0 + middle, 0, 1)).mean()) >= level
        low, high = (low, middle) if reached else (middle, high)
    return (low + high) / 2
