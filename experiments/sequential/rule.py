"""Stopping rules that a config can name: may the test stop now, why, and what is to be reported.

rule = parse({"kind": "group-sequential", "units": 40_000})
rule.look([Look(units=10_000, effect=0.3, se=0.2), Look(units=20_000, effect=0.4, se=0.14)])

A rule is fixed before the test starts; its verdict depends on rule and history alone. `higher` and `lower` speak of
the effect against `null`; whether higher is good is for the metric to say. A guardrail or non-inferiority test is
one-sided: alternative `greater` with null = -margin (or `less` with +margin where lower is better).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from scipy.stats import norm

from experiments.sequential.bounds import Bounds, Design, bounds, futility_drift, repeated_p
from experiments.sequential.brownian import CLOSEST
from experiments.sequential.looks import IntervalKind, Look, Outcome, Verdict, checked, finite
from experiments.sequential.mixture import mixing, p_value, radius, running, tuned
from experiments.sequential.spending import Kind, Spending
from experiments.sequential.stagewise import adjusted
from recsys.errors import BadInput

F64 = NDArray[np.float64]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Interval = tuple[float, float]
FRESH = 2 * CLOSEST
"""The least share of new information with which a look counts."""


class _Rule(BaseModel):
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

    def _z(self, look: Look) -> float:
        """The statistic, turned so that the alternative of a one-sided test points upwards."""
        sign = -1.0 if self.alternative == "less" else 1.0
        return sign * (look.effect - self.null) / look.se

    def _effects(self, look: Look, low: float, high: float) -> Interval:
        """Limits in standard errors around the null, turned like z, as effects."""
        if self.alternative == "less":
            low, high = -high, -low
        return self.null + low * look.se, self.null + high * look.se

    def _around(self, look: Look, reach: float) -> Interval:
        z = self._z(look)
        return self._effects(look, z - reach, z + reach if self.two_sided else np.inf)

    def _side(self, up: bool) -> Outcome:
        return "higher" if up == (self.alternative != "less") else "lower"

    def _verdict(
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
            z=self._z(look),
            bound=finite(bound),
            p=p,
            interval=(low, high),
            interval_kind=kind,
            estimate=look.effect if estimate is None else estimate,
            naive_interval=(look.effect - reach, look.effect + reach),
            rule=self.model_dump(mode="json"),
        )


class Fixed(_Rule):
    """One look, when `units` have arrived; before that nothing is tested."""

    kind: Literal["fixed"] = "fixed"
    units: Positive

    def look(self, history: Sequence[Look]) -> Verdict:
        looks = checked(history)
        done = [i for i, look in enumerate(looks) if look.units >= self.units or look.final]
        number = done[0] if done else len(looks) - 1
        last, fraction = looks[number], looks[number].units / self.units
        bound = float(norm.isf(self.alpha / 2 if self.two_sided else self.alpha))
        if not done:
            reason = f"{last.units:g} of {self.units:g} units: a fixed test is read once, at the end"
            return self._verdict(looks, number, fraction, outcome="running", reason=reason, bound=np.inf)
        z = self._z(last)
        p = float(2 * norm.sf(abs(z)) if self.two_sided else norm.sf(z))
        crossed = (abs(z) if self.two_sided else z) >= bound
        return self._verdict(
            looks,
            number,
            fraction,
            outcome=self._side(z > 0) if crossed else "no difference shown",
            reason=f"z {z:.2f} against {bound:.2f} at the one planned look",
            bound=bound,
            p=p,
            interval=self._around(last, bound),
            kind="fixed",
        )


class GroupSequential(_Rule):
    """Looks at any times, planned or not, with error spending over `units`, or over information up to a planned `se`.

    Looks before `min_units`, and looks with less than 0.2% of new information, do not count. A futility bound
    (one-sided tests) is non-binding; its effect is the one for which the design has `power` at `planned_looks`.
    """

    kind: Literal["group-sequential"] = "group-sequential"
    units: Positive | None = None
    se: Positive | None = None
    spending: Kind = "obrien-fleming"
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
        looks = checked(history)
        counted, times, final = self._counted(looks)
        if not counted:
            reason = f"{looks[-1].units:g} units: nothing is tested before {self.min_units:g}"
            fraction = self._fraction(looks[-1])
            return self._verdict(
                looks, len(looks) - 1, fraction, outcome="running", reason=reason, bound=np.inf
            )
        found = bounds(self.design, times, final=final, drift=self._drift())
        z = np.array([self._z(looks[i]) for i in counted])
        low = np.maximum(found.lower, found.futility)
        crossed = np.flatnonzero((z >= found.upper) | (z <= low))
        over = crossed.size > 0 or final
        k = int(crossed[0]) if crossed.size else len(counted) - 1
        verdict = self._stopped if over else self._running
        return verdict(looks, counted[k], _first(found, k), float(z[k]), final and k == len(counted) - 1)

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
        outcome: Outcome = self._side(z > 0) if crossed else ("no difference shown" if final else "futile")
        where = f"at look {len(found.upper)}, {found.information[-1]:.0%} of the information"
        line = found.futility[-1] if outcome == "futile" else bound
        what = "below the futility bound" if outcome == "futile" else ("beyond" if crossed else "within")
        estimate = self._effects(look, after.estimate, after.estimate)[0]
        return self._verdict(
            looks,
            number,
            float(found.information[-1]),
            outcome=outcome,
            reason=f"z {z:.2f} is {what} {line:.2f} {where}",
            bound=bound,
            p=after.p,
            interval=self._effects(look, after.low, after.high),
            kind="stage-wise adjusted",
            estimate=estimate,
        )

    def _running(self, looks: Sequence[Look], number: int, found: Bounds, z: float, final: bool) -> Verdict:
        bound, look = float(found.upper[-1]), looks[number]
        where = f"at look {len(found.upper)}, {found.information[-1]:.0%} of the information"
        return self._verdict(
            looks,
            number,
            float(found.information[-1]),
            outcome="running",
            reason=f"z {z:.2f} is within {bound:.2f} {where}",
            bound=bound,
            p=repeated_p(self.design, found.information, z, final=final),
            interval=self._around(look, bound),
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


class _Mixture(_Rule):
    max_units: Positive | None = None  # the test ends here without a result
    min_units: Annotated[float, Field(ge=0)] = 400.0  # the Gaussian approximation does not hold before

    @abstractmethod
    def scale(self, looks: Sequence[Look]) -> F64:
        """The mixture's scale at each look (see mixture.py)."""

    def look(self, history: Sequence[Look]) -> Verdict:
        looks = checked(history)
        counted = [i for i, look in enumerate(looks) if look.units >= self.min_units]
        if not counted:
            reason = f"{looks[-1].units:g} units: nothing is tested before {self.min_units:g}"
            fraction = self._fraction(looks[-1])
            return self._verdict(
                looks, len(looks) - 1, fraction, outcome="running", reason=reason, bound=np.inf
            )
        kept = [looks[i] for i in counted]
        z, scale = np.array([self._z(look) for look in kept]), self.scale(kept)
        reach = radius(scale, self.alpha, self.two_sided)
        crossed = (np.abs(z) if self.two_sided else z) >= reach
        ends = np.array([look.final or look.units >= (self.max_units or np.inf) for look in kept])
        stops = np.flatnonzero(crossed | ends)
        k = int(stops[0]) if stops.size else len(kept) - 1
        outcome: Outcome = "running"
        if stops.size:
            outcome = self._side(z[k] > 0) if crossed[k] else "no difference shown"
        limits = [self._around(look, r) for look, r in zip(kept[: k + 1], reach, strict=False)]
        low, high = running(*zip(*limits, strict=True))
        drifted = (
            ": the looks contradict each other, the effect changes over time" if low[k] > high[k] else ""
        )
        return self._verdict(
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
        return look.units / self.max_units if self.max_units else 0.0


class AlwaysValid(_Mixture):
    """Looks whenever and as often as one likes: an asymptotic confidence sequence, tightest at `best_at` units."""

    kind: Literal["always-valid"] = "always-valid"
    best_at: Positive

    def scale(self, looks: Sequence[Look]) -> F64:
        units = [look.units for look in looks]
        return tuned(units, self.best_at, self.alpha, self.two_sided)


class Msprt(_Mixture):
    """The mixture SPRT: effects are expected to be of the order of `mixing_sd`."""

    kind: Literal["msprt"] = "msprt"
    mixing_sd: Positive

    def scale(self, looks: Sequence[Look]) -> F64:
        return mixing([look.se for look in looks], self.mixing_sd)


StoppingRule = Annotated[Fixed | GroupSequential | AlwaysValid | Msprt, Field(discriminator="kind")]
_ADAPTER: TypeAdapter[Fixed | GroupSequential | AlwaysValid | Msprt] = TypeAdapter(StoppingRule)


def parse(data: Any) -> Fixed | GroupSequential | AlwaysValid | Msprt:
    """A rule from plain data, as it stands in a config or in a verdict.

    Raises:
        BadInput: an unknown kind or key, or a value out of range.
    """
    try:
        return _ADAPTER.validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "rule"
        raise BadInput(f"stopping rule: {key}: {first['msg']}") from error


def trail(rule: Fixed | GroupSequential | AlwaysValid | Msprt, history: Sequence[Look]) -> list[Verdict]:
    """The verdict as it was after each look: what was decided when, and the intervals over time."""
    return [rule.look(history[: number + 1]) for number in range(len(history))]
