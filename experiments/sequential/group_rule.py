"""The group-sequential stopping rule: bounds by error spending, adjusted report after the stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from experiments.sequential import joint
from experiments.sequential.bounds import Bounds, Design, bounds, futility_drift, repeated_p
from experiments.sequential.brownian import CLOSEST
from experiments.sequential.looks import Look, Outcome, Verdict, checked, passed
from experiments.sequential.rule_base import Positive, Rule
from experiments.sequential.spending import Kind, Spending, spent
from experiments.sequential.stagewise import Adjusted, adjusted
from recsys.errors import BadInput

FRESH = 2 * CLOSEST
"""The least share of new information with which a look counts."""


@dataclass
class Taken:
    """The looks that count: their places in the history, their information, what error is spent by, whether the last
    of them is the end, and the correlation of their estimates where it is known and not that of independent
    increments."""

    numbers: list[int] = field(default_factory=list)
    information: list[float] = field(default_factory=list)
    fractions: list[float] = field(default_factory=list)
    final: bool = False
    correlation: NDArray[np.float64] | None = None


class GroupSequential(Rule):
    """Looks at any times, planned or not. Error is spent over `units`, over information up to a planned `se`, or, with
    `calendar`, over the planned duration (`Look.time`).

    In calendar time the joint law of the looks comes from 1 / se^2, of which only ratios matter: it need not be known
    in advance how much there will be (Lan & DeMets 1989). Looks before `min_units`, and looks with less than 0.2% of
    new information, do not count; information that falls, as it may where se is estimated anew, is not new. Whether
    a look counts so depends on units and standard errors, not on effects. Where the looks tell their `correlations`,
    those are the joint law instead, and new is what the earlier looks do not foretell. A futility bound (one-sided
    tests) is non-binding; its effect is the one for which the design has `power` at `planned_looks`, so it needs
    units or se.
    """

    kind: Literal["group_sequential"] = "group_sequential"
    units: Positive | None = None
    se: Positive | None = None
    calendar: bool = False
    spending: Kind = "obrien_fleming"
    parameter: Annotated[float, Field(allow_inf_nan=False)] = 3.0
    futility: Kind | None = None
    power: Annotated[float, Field(gt=0, lt=1)] = 0.8
    planned_looks: Annotated[int, Field(ge=1, le=1000)] = 5
    min_units: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _consistent(self) -> GroupSequential:
        if [self.units is not None, self.se is not None, self.calendar].count(True) != 1:
            raise ValueError("give the planned units, the planned se, or calendar: true, one of them")
        if self.calendar and self.futility is not None:
            raise ValueError("a futility bound needs the planned units or the planned se, not calendar time")
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
        taken = self.taken(looks)
        if not taken.numbers:
            return self.too_early(looks, self.min_units, self._fraction(looks[-1]))
        found = self._bounds(taken)
        z = np.array([self.statistic(looks[i]) for i in taken.numbers])
        low = np.maximum(found.lower, found.futility)
        crossed = np.flatnonzero((z >= found.upper) | (z <= low))
        k = int(crossed[0]) if crossed.size else len(z) - 1
        if not crossed.size and not taken.final:
            return self._running(looks, taken, found, float(z[k]))
        return self._stopped(looks, taken, _first(found, k), float(z[k]))

    def _fraction(self, look: Look) -> float:
        """The share of the plan that is reached, by which error is spent."""
        if self.units is not None:
            return look.units / self.units
        if self.se is not None:
            return (self.se / look.se) ** 2
        return passed(look)

    def _bounds(self, taken: Taken) -> Bounds:
        if taken.correlation is None:
            return bounds(self.design, taken.information, taken.fractions, taken.final, self._drift())
        upper = joint.upper_bounds(self.design, taken.correlation, taken.fractions, taken.final)
        none = np.full(len(upper), -np.inf)
        spend = spent(self.design.spending, taken.fractions, self.alpha)
        return Bounds(np.array(taken.information), upper, -upper if self.two_sided else none, none, spend)

    def _drift(self) -> float | None:
        if self.futility is None:
            return None
        return futility_drift(self.design, np.arange(1, self.planned_looks + 1) / self.planned_looks)

    def taken(self, looks: Sequence[Look]) -> Taken:
        """The looks that count. A last look with nothing new makes the one before the end: all error is spent there,
        whatever it showed."""
        known = self.calendar and len(looks) > 1 and all(look.correlations for look in looks[1:])
        taken = Taken(correlation=np.ones((1, 1)) if known else None)
        for number, look in enumerate(looks):
            fraction = self._fraction(look)
            information = (looks[0].se / look.se) ** 2 if self.calendar else fraction
            ends = look.ends or fraction >= 1
            if (look.units >= self.min_units or ends) and _fresh(taken, look, information):
                if taken.correlation is not None and taken.numbers:
                    taken.correlation = _joined(taken, look)
                taken.numbers.append(number)
                taken.information.append(information)
                taken.fractions.append(fraction)
            if ends and taken.numbers:
                taken.final = True
                break
        return taken

    def _where(self, look: int, fraction: float) -> str:
        return f"at look {look}, {fraction:.0%} of the {'planned time' if self.calendar else 'information'}"

    def _stopped(self, looks: Sequence[Look], taken: Taken, found: Bounds, z: float) -> Verdict:
        k = len(found.upper) - 1
        look, bound, fraction = looks[taken.numbers[k]], float(found.upper[k]), taken.fractions[k]
        after = self._after(looks, taken, found, z)
        crossed, final = z >= bound or z <= found.lower[k], taken.final and k == len(taken.numbers) - 1
        outcome: Outcome = self.side(z > 0) if crossed else ("no difference shown" if final else "futile")
        line = found.futility[k] if outcome == "futile" else bound
        what = "below the futility bound" if outcome == "futile" else ("beyond" if crossed else "within")
        estimate = self.effects(look, after.estimate, after.estimate)[0]
        return self.verdict(
            looks,
            taken.numbers[k],
            fraction,
            outcome=outcome,
            reason=f"z {z:.2f} is {what} {line:.2f} {self._where(k + 1, fraction)}",
            bound=bound,
            p=after.p,
            interval=self.effects(look, after.low, after.high),
            kind="stage-wise adjusted",
            estimate=estimate,
        )

    def _after(self, looks: Sequence[Look], taken: Taken, found: Bounds, z: float) -> Adjusted:
        if taken.correlation is None:
            return adjusted(found.information, found.upper, z, self.two_sided, self.alpha)
        k = len(found.upper)
        se = [looks[number].se for number in taken.numbers[:k]]
        return joint.adjusted(taken.correlation[:k, :k], se, found.upper, z, self.two_sided, self.alpha)

    def _running(self, looks: Sequence[Look], taken: Taken, found: Bounds, z: float) -> Verdict:
        bound, number, fraction = float(found.upper[-1]), taken.numbers[-1], taken.fractions[-1]
        return self.verdict(
            looks,
            number,
            fraction,
            outcome="running",
            reason=f"z {z:.2f} is within {bound:.2f} {self._where(len(found.upper), fraction)}",
            bound=bound,
            p=repeated_p(self.design, found.information, z, taken.fractions)
            if taken.correlation is None
            else joint.repeated_p(self.design, taken.correlation, z, taken.fractions),
            interval=self.around(looks[number], bound),
            kind="repeated",
        )


def _fresh(taken: Taken, look: Look, information: float) -> bool:
    """Whether a look brings enough that is new."""
    if not taken.numbers:
        return True
    if taken.correlation is None:
        return information - taken.information[-1] >= FRESH * information
    joined = _joined(taken, look)
    foretold = joined[-1, :-1] @ np.linalg.lstsq(taken.correlation, joined[-1, :-1], rcond=None)[0]
    return bool(1 - foretold >= FRESH)


def _joined(taken: Taken, look: Look) -> NDArray[np.float64]:
    """The correlations of the looks taken so far, with one more."""
    assert taken.correlation is not None
    new = np.array([look.correlations[number] for number in taken.numbers])
    return np.block([[taken.correlation, new[:, None]], [new[None, :], np.ones((1, 1))]])


def _first(found: Bounds, k: int) -> Bounds:
    """The bounds of looks 0..k."""
    return Bounds(
        *(
            part[: k + 1]
            for part in (found.information, found.upper, found.lower, found.futility, found.spent)
        )
    )
