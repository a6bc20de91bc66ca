"""Planning a test: power, units needed, smallest effect it can show, and how long that takes.

plan = Plan(sd=12.0, rho=0.6)                # minutes a day, with CUPED
plan.units(effect=0.4, power=0.8)            # units in all arms of the comparison together
plan.mde(units=20_000, power=0.8)
Plan(proportion=0.08).power(40_000, effect=0.006)

Two arms, difference of means, normal approximation (Student's t on request). An effect is treatment minus control;
for a lift of 2% give .02 * baseline; for non-inferiority set sides to 1 and give effect + margin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import nct, norm, t

from recsys.errors import BadInput

MOST_UNITS = 1e15


@dataclass(frozen=True)
class Plan:
    """What is known before a test of two arms. Give `sd` of a unit's outcome, or `proportion` of control for a share.

    Raises:
        BadInput: neither or both of sd and proportion, or a value outside its range.
    """

    sd: float | None = None
    proportion: float | None = None
    sd_treatment: float | None = None  # if it differs from control
    ratio: float = 1.0  # treatment units for each control unit
    alpha: float = 0.05
    sides: int = 2
    comparisons: int = 1  # tests that share alpha (Bonferroni): arms against control, or primary metrics
    rho: float = 0.0  # correlation of outcome and covariate: CUPED leaves 1 - rho^2 of the variance
    design_effect: float = 1.0  # of clustered units, see design_effect()
    inflation: float = 1.0  # of a group-sequential design, see operating.inflation()
    student: bool = False  # t instead of z, for small samples

    def __post_init__(self) -> None:
        if (self.sd is None) == (self.proportion is None):
            raise BadInput("give either sd, for means and ratios, or proportion")
        if self.sd is not None and not self.sd > 0:
            raise BadInput(f"sd must be positive, not {self.sd:g}")
        if self.proportion is not None and not 0 < self.proportion < 1:
            raise BadInput(f"proportion must lie between 0 and 1, not {self.proportion:g}")
        if not (-1 < self.rho < 1 and self.ratio > 0 and 0 < self.alpha < 1 and self.sides in (1, 2)):
            raise BadInput("rho must be within -1 and 1, ratio positive, alpha within 0 and 1, sides 1 or 2")
        if not (self.comparisons >= 1 and self.design_effect > 0 and self.inflation >= 1):
            raise BadInput("comparisons and inflation must be at least 1 and design_effect positive")

    @property
    def side_alpha(self) -> float:
        return self.alpha / self.sides / self.comparisons

    def standard_errors(self, units: float, effect: float) -> tuple[float, float]:
        """Standard errors of the effect from so many units, under no effect and under the effect.

        They differ for proportions, whose variance follows their mean; the test pools the arms.
        """
        control = units / self.inflation / (1 + self.ratio)
        first, second, pooled = self._sds(effect)
        kept = (1 - self.rho**2) * self.design_effect / control
        null = pooled * np.sqrt(kept * (1 + 1 / self.ratio))
        if self.proportion is None:
            null = np.sqrt(kept * (first**2 + second**2 / self.ratio))
        return float(null), float(np.sqrt(kept * (first**2 + second**2 / self.ratio)))

    def _sds(self, effect: float) -> tuple[float, float, float]:
        if self.proportion is None:
            assert self.sd is not None
            second = self.sd if self.sd_treatment is None else self.sd_treatment
            return self.sd, second, self.sd
        p, q = self.proportion, self.proportion + effect
        if not 0 < q < 1:
            raise BadInput(f"an effect of {effect:g} takes the proportion {p:g} outside 0 and 1")
        both = (p + q * self.ratio) / (1 + self.ratio)
        first, second, pooled = (float(np.sqrt(x * (1 - x))) for x in (p, q, both))
        return first, second, pooled

    def power(self, units: float, effect: float) -> float:
        """P(a significant difference | the effect): in either direction if two-sided, upwards if one-sided."""
        null, actual = self.standard_errors(units, effect)
        if self.student:
            return self._student(units, effect / actual, null / actual)
        critical = norm.isf(self.side_alpha) * null
        beyond = float(norm.sf((critical - effect) / actual))
        return beyond + (float(norm.cdf((-critical - effect) / actual)) if self.sides == 2 else 0.0)

    def _student(self, units: float, shift: float, stretch: float) -> float:
        dof = self._dof(units)
        critical = t.isf(self.side_alpha, dof) * stretch
        beyond = float(nct.sf(critical, dof, shift))
        return beyond + (float(nct.cdf(-critical, dof, shift)) if self.sides == 2 else 0.0)

    def _dof(self, units: float) -> float:
        """Pooled where the arms share a standard deviation, Welch-Satterthwaite where they do not."""
        control = units / self.inflation / (1 + self.ratio)
        treated = control * self.ratio
        if self.sd_treatment is None or self.sd is None:
            return float(control + treated - 2)
        a, b = self.sd**2 / control, self.sd_treatment**2 / treated
        return float((a + b) ** 2 / (a * a / (control - 1) + b * b / (treated - 1)))

    def units(self, effect: float, power: float = 0.8) -> float:
        """Units of both arms together, before rounding up, that show the effect with this power.

        Raises:
            BadInput: the effect is 0 or points away from a one-sided test, or the power is not within alpha and 1.
        """
        self._check(power)
        if effect == 0 or (self.sides == 1 and effect < 0):
            raise BadInput(
                "no number of units shows an effect of 0, or one against the direction of the test"
            )
        least = 3.0 * (1 + self.ratio) * max(1.0, 1 / self.ratio) * self.inflation
        if self.power(least, effect) >= power:
            return least
        return _root(lambda n: self.power(n, effect) - power, least, MOST_UNITS, "units")

    def mde(self, units: float, power: float = 0.8) -> float:
        """The smallest positive effect that so many units show with this power.

        Raises:
            BadInput: the power is not within alpha and 1, or a proportion has no room for such an effect.
        """
        self._check(power)
        room = 1 - self.proportion if self.proportion is not None else 1e6 * (self.sd or 1.0)
        return _root(lambda d: self.power(units, d) - power, room * 1e-12, room * (1 - 1e-9), "effect")

    def _check(self, power: float) -> None:
        if not self.alpha < power < 1:
            raise BadInput(f"power must lie between alpha and 1, not {power:g}")

    def days(self, effect: float, power: float, arrivals: Sequence[float]) -> int | None:
        """The first day (from 1) on which enough units have arrived; None if that is beyond the given days.

        `arrivals` are distinct units so far at the end of each day, which rise ever more slowly: the same listeners
        come back.
        """
        enough = np.asarray(arrivals, np.float64) >= ceil(self.units(effect, power))
        return int(np.argmax(enough)) + 1 if enough.any() else None

    def arms(self, effect: float, power: float = 0.8) -> tuple[int, int]:
        """Whole units of control and treatment."""
        control = self.units(effect, power) / (1 + self.ratio)
        return ceil(control - 1e-9), ceil(control * self.ratio - 1e-9)


def _root(gap: Callable[[float], float], low: float, high: float, what: str) -> float:
    """The positive root, searched on a log scale."""
    if gap(high) < 0:
        raise BadInput(f"no {what} in range has this power")
    return float(np.exp(brentq(lambda x: gap(float(np.exp(x))), np.log(low), np.log(high), xtol=1e-13)))


def ratio_sd(numerator: ArrayLike, denominator: ArrayLike) -> float:
    """The sd to plan with for a ratio of sums, from units' numerators and denominators: delta method (Deng, Knoblich
    & Lu 2018).

    Raises:
        BadInput: fewer than two units, or denominators that sum to 0.
    """
    y, x = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    if y.shape != x.shape or y.size < 2 or x.sum() == 0:
        raise BadInput("a ratio needs as many numerators as denominators, two at least, not all 0")
    return float(np.std(y - x * (y.sum() / x.sum()), ddof=1) / abs(x.mean()))


def design_effect(size: float, correlation: float, size_cv: float = 0.0) -> float:
    """How many times the variance grows when whole clusters are assigned (Kish 1965; Eldridge, Ashby & Kerry 2006).

    `size` is the mean cluster size, `size_cv` the sizes' coefficient of variation, `correlation` within clusters.
    """
    return 1 + ((1 + size_cv**2) * size - 1) * correlation
