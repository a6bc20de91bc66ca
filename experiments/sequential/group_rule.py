"""The group-sequential stopping rule: bounds by error spending, adjusted report after the stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from experiments.sequential.bounds import Bounds, Design, bounds, futility_drift, repeated_p
from experiments.sequential.brownian import CLOSEST
from experiments.sequential.looks import Look, Outcome, Verdict, checked
from experiments.sequential.rule_base import Positive, Rule
from experiments.sequential.spending import Kind, Spending
from experiments.sequential.stagewise import adjusted
from recsys.errors import BadInput

FRESH = 2 * CLOSEST
"""The least share of new information with which a look counts."""


class GroupSequential(Rule):
    """Looks at any times, planned or not, with error spending over `units`, or over information up to a planned `se`.

    Looks before `min_units`, and looks with less than 0.2% of new information, do not count. A futility bound
    (one-sided tests) is non-binding; its effect is the one for which the design has `power` at `planned_looks`.
    """

    kind: Literal["group_sequential"] = "group_sequential"
    units: Positive | None = None
    se: Positive | None = None
    spending: Kind = "obrien_fleming"
    parameter: Annotated[float, Field(allow_inf_nan=False)] = 3.0
    futility: Kind | None = None
    power: Annotated[float, Field(gt=0, lt=1)] = 0.8
    planned_looks: Annotated[int, Field(ge=1, le=1000)] = 5
    min_units: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _consistent(self) -> GroupSequential:
        if (self.units is None) == (self.se is None):
            raise ValueError("give the planned units or the planned se, one of them")
        try:
            _ = self.design
        except BadInput as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def design(self) -> Design:
        futility = None if self.futility is None else Spending(self.futility, self.parameter)
        sides = 2 if self.two_sided else 1
        return Design(Spending(self.spending, self.parameter), self.alpha, sides, futility, self.power)

    def look(self, history: Sequence[Look]) -> Verdict:
        """The verdict after these looks; raises BadInput where they are not those of one running test."""
        looks = checked(history)
        counted, times, final = self._counted(looks)
        if not counted:
            return self.too_early(looks, self.min_units, self._fraction(looks[-1]))
        found = bounds(self.design, times, final=final, drift=self._drift())
        z = np.array([self.statistic(looks[i]) for i in counted])
        low = np.maximum(found.lower, found.futility)
        crossed = np.flatnonzero((z >= found.upper) | (z <= low))
        k = int(crossed[0]) if crossed.size else len(counted) - 1
        if not crossed.size and not final:
            return self._running(looks, counted[k], found, float(z[k]))
        return self._stopped(
            looks, counted[k], _first(found, k), float(z[k]), final and k == len(counted) - 1
        )

    def _fraction(self, look: Look) -> float:
        if self.units is not None:
            return look.units / self.units
        assert self.se is not None
        return (self.se / look.se) ** 2

    def _drift(self) -> float | None:
        if self.futility is None:
            return None
        return futility_drift(self.design, np.arange(1, self.planned_looks + 1) / self.planned_looks)

    def _counted(self, looks: Sequence[Look]) -> tuple[list[int], list[float], bool]:
        """The looks that count, their fractions, and whether the last of them is the end. A last look too close to the
        one before makes that one the end: all error is spent there, whatever it showed."""
        counted: list[int] = []
        times: list[float] = []
        for number, look in enumerate(looks):
            time = self._fraction(look)
            ends = look.final or time >= 1
            fresh = time - (times[-1] if times else 0.0) >= FRESH * time
            if fresh and (look.units >= self.min_units or ends):
                counted.append(number)
                times.append(time)
            if ends and counted:
                return counted, times, True
        return counted, times, False

    def _stopped(self, looks: Sequence[Look], number: int, found: Bounds, z: float, final: bool) -> Verdict:
        look, bound = looks[number], float(found.upper[-1])
        after = adjusted(found.information, found.upper, z, self.two_sided, self.alpha)
        crossed = z >= bound or z <= found.lower[-1]
        outcome: Outcome = self.side(z > 0) if crossed else ("no difference shown" if final else "futile")
        where = f"at look {len(found.upper)}, {found.information[-1]:.0%} of the information"
        line = found.futility[-1] if outcome == "futile" else bound
        what = "below the futility bound" if outcome == "futile" else ("beyond" if crossed else "within")
        estimate = self.effects(look, after.estimate, after.estimate)[0]
        return self.verdict(
            looks,
            number,
            float(found.information[-1]),
            outcome=outcome,
            reason=f"z {z:.2f} is {what} {line:.2f} {where}",
            bound=bound,
            p=after.p,
            interval=self.effects(look, after.low, after.high),
            kind="stage-wise adjusted",
            estimate=estimate,
        )

    def _running(self, looks: Sequence[Look], number: int, found: Bounds, z: float) -> Verdict:
        bound, look = float(found.upper[-1]), looks[number]
        where = f"at look {len(found.upper)}, {found.information[-1]:.0%} of the information"
        return self.verdict(
            looks,
            number,
            float(found.information[-1]),
            outcome="running",
            reason=f"z {z:.2f} is within {bound:.2f} {where}",
            bound=bound,
            p=repeated_p(self.design, found.information, z),
            interval=self.around(look, bound),
            kind="repeated",
        )


def _first(found: Bounds, k: int) -> Bounds:
    """The bounds of looks 0..k."""
    return Bounds(
        *(
            part[: k + 1]
            for part in (found.information, found.upper, found.lower, found.futility, found.spent)
        )
    )
