"""Stopping rules that a config can name: may the test stop now, why, and what is to be reported.

rule = parse({"kind": "group_sequential", "units": 40_000})
rule.look([Look(units=10_000, effect=0.3, se=0.2), Look(units=20_000, effect=0.4, se=0.14)])
rule = parse({"kind": "group_sequential", "calendar": True})  # units that are all there on the first day
rule.look([Look(units=20_000, effect=0.3, se=0.2, time=0.25), Look(units=20_100, effect=0.4, se=0.17, time=0.5)])

A rule is fixed before the test starts; its verdict depends on rule and history alone. `higher` and `lower` speak of
the effect against `null`; whether higher is good is for the metric to say. A guardrail or non-inferiority test is
one-sided: alternative `greater` with null = -margin (or `less` with +margin where lower is better).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError, model_validator
from scipy.stats import norm

from experiments.sequential.group_rule import GroupSequential
from experiments.sequential.looks import Look, Verdict, checked, passed
from experiments.sequential.mixture_rule import AlwaysValid, Msprt
from experiments.sequential.rule_base import Positive, Rule
from recsys.errors import BadInput

__all__ = ["AlwaysValid", "Fixed", "GroupSequential", "Msprt", "Rule", "StoppingRule", "parse", "trail"]


class Fixed(Rule):
    """One look, when `units` have arrived or, with `calendar`, at the end of the planned duration (`Look.time`); before
    that nothing is tested."""

    kind: Literal["fixed"] = "fixed"
    units: Positive | None = None
    calendar: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Fixed:
        if (self.units is None) != self.calendar:
            raise ValueError("give the planned units or calendar: true, one of them")
        return self

    def look(self, history: Sequence[Look]) -> Verdict:
        """The verdict after these looks; raises BadInput where they are not those of one running test."""
        looks = checked(history)
        fractions = [self._fraction(look) for look in looks]
        done = [i for i, look in enumerate(looks) if fractions[i] >= 1 or look.ends]
        number = done[0] if done else len(looks) - 1
        last, fraction = looks[number], fractions[number]
        bound = float(norm.isf(self.alpha / 2 if self.two_sided else self.alpha))
        if not done:
            what = "the planned time" if self.units is None else f"{self.units:g} units"
            reason = f"{fraction:.0%} of {what}: a fixed test is read once, at the end"
            return self.verdict(looks, number, fraction, outcome="running", reason=reason, bound=np.inf)
        z = self.statistic(last)
        p = float(2 * norm.sf(abs(z)) if self.two_sided else norm.sf(z))
        crossed = (abs(z) if self.two_sided else z) >= bound
        return self.verdict(
            looks,
            number,
            fraction,
            outcome=self.side(z > 0) if crossed else "no difference shown",
            reason=f"z {z:.2f} against {bound:.2f} at the one planned look",
            bound=bound,
            p=p,
            interval=self.around(last, bound),
            kind="fixed",
        )

    def _fraction(self, look: Look) -> float:
        return passed(look) if self.units is None else look.units / self.units


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
