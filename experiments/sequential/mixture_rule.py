"""The stopping rules that may be looked at whenever: asymptotic confidence sequence and mixture SPRT."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from experiments.sequential.looks import Look, Outcome, Verdict, checked
from experiments.sequential.mixture import mixing, p_value, radius, running, tuned
from experiments.sequential.rule_base import Positive, Rule

F64 = NDArray[np.float64]


class MixtureRule(Rule):
    """What both share: when they look, and how they end (`max_units`, a final look, or the planned time)."""

    max_units: Positive | None = None  # the test ends here without a result
    min_units: Annotated[float, Field(ge=0)] = 400.0  # the Gaussian approximation does not hold before

    @abstractmethod
    def scale(self, looks: Sequence[Look]) -> F64:
        """The mixture's scale at each look (see mixture.py)."""

    def look(self, history: Sequence[Look]) -> Verdict:
        """The verdict after these looks; raises BadInput where they are not those of one running test."""
        looks = checked(history)
        counted = [i for i, look in enumerate(looks) if look.units >= self.min_units]
        if not counted:
            return self.too_early(looks, self.min_units, self._fraction(looks[-1]))
        kept = [looks[i] for i in counted]
        z, scale = np.array([self.statistic(look) for look in kept]), self.scale(kept)
        reach = radius(scale, self.alpha, self.two_sided)
        crossed = (np.abs(z) if self.two_sided else z) >= reach
        ends = np.array([look.ends or look.units >= (self.max_units or np.inf) for look in kept])
        stops = np.flatnonzero(crossed | ends)
        k = int(stops[0]) if stops.size else len(kept) - 1
        outcome: Outcome = "running"
        if stops.size:
            outcome = self.side(z[k] > 0) if crossed[k] else "no difference shown"
        limits = [self.around(look, r) for look, r in zip(kept[: k + 1], reach, strict=False)]
        low, high = running(*zip(*limits, strict=True))
        drifted = (
            ": the looks contradict each other, the effect changes over time" if low[k] > high[k] else ""
        )
        return self.verdict(
            looks,
            counted[k],
            self._fraction(kept[k]),
            outcome=outcome,
            reason=f"z {z[k]:.2f} is {'beyond' if crossed[k] else 'within'} {reach[k]:.2f} at look {counted[k] + 1}"
            + drifted,
            bound=float(reach[k]),
            p=float(p_value(z[: k + 1], scale[: k + 1], self.two_sided)[-1]),
            interval=None if drifted else (float(low[k]), float(high[k])),
            kind="none" if drifted else "always valid",
        )

    def _fraction(self, look: Look) -> float:
        return look.units / self.max_units if self.max_units else (look.time or 0.0)


class AlwaysValid(MixtureRule):
    """Looks whenever and as often as one likes: an asymptotic confidence sequence, tightest at `best_at` units or where
    the standard error is `best_se`.

    `best_at` takes information to grow with the units. Where the same units bring more days, only `best_se` is right;
    mde / 2.8 is the standard error at which a fixed test shows the mde with power 80%.
    """

    kind: Literal["always_valid"] = "always_valid"
    best_at: Positive | None = None
    best_se: Positive | None = None

    @model_validator(mode="after")
    def _consistent(self) -> AlwaysValid:
        if (self.best_at is None) == (self.best_se is None):
            raise ValueError("give best_at or best_se, one of them")
        return self

    def scale(self, looks: Sequence[Look]) -> F64:
        if self.best_se is not None:
            information = [(self.best_se / look.se) ** 2 for look in looks]
            return tuned(information, 1.0, self.alpha, self.two_sided)
        assert self.best_at is not None
        return tuned([look.units for look in looks], self.best_at, self.alpha, self.two_sided)


class Msprt(MixtureRule):
    """The mixture SPRT: effects are expected to be of the order of `mixing_sd`."""

    kind: Literal["msprt"] = "msprt"
    mixing_sd: Positive

    def scale(self, looks: Sequence[Look]) -> F64:
        return mixing([look.se for look in looks], self.mixing_sd)
