"""What all stopping rules share; see rule.py for the rules."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.stats import norm

from experiments.sequential.looks import IntervalKind, Look, Outcome, Verdict, finite

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Interval = tuple[float, float]


class Rule(BaseModel):
    """Keys of every kind, and the way from statistics to a verdict."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    alternative: Literal["two-sided", "greater", "less"] = "two-sided"
    null: Annotated[float, Field(allow_inf_nan=False)] = 0.0

    @property
    def two_sided(self) -> bool:
        return self.alternative == "two-sided"

    @abstractmethod
    def look(self, history: Sequence[Look]) -> Verdict:
        """The verdict after these looks, all of them, oldest first.

        Raises:
            BadInput: the looks are not those of one running test.
        """

    def statistic(self, look: Look) -> float:
        """The statistic, turned so that the alternative of a one-sided test points upwards."""
        sign = -1.0 if self.alternative == "less" else 1.0
        return sign * (look.effect - self.null) / look.se

    def effects(self, look: Look, low: float, high: float) -> Interval:
        """Limits in standard errors around the null, turned like z, as effects."""
        if self.alternative == "less":
            low, high = -high, -low
        return self.null + low * look.se, self.null + high * look.se

    def around(self, look: Look, reach: float) -> Interval:
        """The interval that reaches so many standard errors from the effect; open above for a one-sided test."""
        z = self.statistic(look)
        return self.effects(look, z - reach, z + reach if self.two_sided else np.inf)

    def side(self, up: bool) -> Outcome:
        return "higher" if up == (self.alternative != "less") else "lower"

    def too_early(self, looks: Sequence[Look], least: float, fraction: float) -> Verdict:
        """No look has enough units to be tested; the test may yet have ended."""
        ended = next((i for i, look in enumerate(looks) if look.ends), None)
        number = len(looks) - 1 if ended is None else ended
        reason = f"{looks[number].units:g} units: nothing is tested before {least:g}"
        outcome: Outcome = "running" if ended is None else "no difference shown"
        return self.verdict(looks, number, fraction, outcome=outcome, reason=reason, bound=np.inf)

    def verdict(
        self,
        history: Sequence[Look],
        number: int,
        fraction: float,
        *,
        outcome: Outcome,
        reason: str,
        bound: float,
        p: float | None = None,
        interval: Interval | None = None,
        kind: IntervalKind = "none",
        estimate: float | None = None,
    ) -> Verdict:
        """The verdict at one look of the history, with the rule itself and what a single look would have said."""
        look = history[number]
        reach = float(norm.isf(self.alpha / 2)) * look.se
        low, high = (None, None) if interval is None else (finite(interval[0]), finite(interval[1]))
        return Verdict(
            stop=outcome != "running",
            outcome=outcome,
            reason=reason,
            look=number + 1,
            at=look.at,
            fraction=fraction,
            z=self.statistic(look),
            bound=finite(bound),
            p=p,
            interval=(low, high),
            interval_kind=kind,
            estimate=look.effect if estimate is None else estimate,
            naive_interval=(look.effect - reach, look.effect + reach),
            rule=self.model_dump(mode="json"),
        )
