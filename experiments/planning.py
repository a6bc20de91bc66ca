"""How many units a question needs under its own stopping rule, how long that takes, and what less would show.

found = plan(experiment, Baseline(mean=1.2, sd=3.0, rho=0.6), arrivals=[4_000, 7_100, 9_600])
found.units, found.arms, found.days, found.price

Units and smallest effects are those of experiments.sequential.power.Plan. A group-sequential rule costs its inflation
factor, an always-valid one what its exact power says (experiments.sequential.operating). Several treatments share
alpha (Bonferroni). With G guardrails, whose every one must pass, each test may fail with (1 - power) / (G + 1), so
that all succeed together with the power asked for, whatever their correlation (Schultzberg, Ankargren & Frånberg
2024); a guardrail is planned for with no true effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
from scipy.stats import norm

from experiments.experiment import Experiment
from experiments.question import AlwaysValid, Baseline, Fixed, GroupSequential, Question, Scale
from experiments.sequential.bounds import Design
from experiments.sequential.mixture import best_ratio
from experiments.sequential.operating import always_valid_inflation, drift_for, inflation, promise
from experiments.sequential.power import Plan
from experiments.sequential.spending import Spending
from recsys.errors import BadInput

MOST_LOOKS = 56
"""Looks of an always-valid rule that are planned with: one a day, up to eight weeks; more change next to nothing."""
DURATIONS = (7, 14, 21, 28, 42, 56)
"""Days for which the smallest effect is told."""


@dataclass(frozen=True)
class Need:
    """What one metric asks for.

    Attributes:
        effect: the change that is to be told from none, or the margin (`margin`), in the metric's unit.
        relative: the same as a share of the baseline's mean; None where that is 0.
        power: with which this metric alone must succeed.
        fixed: units in all arms, if the test is read once.
        units: units in all arms under the rule.
        saved: share of the variance that CUPED takes off.
    """

    metric: str
    role: Literal["primary", "guardrail"]
    effect: float
    margin: bool
    relative: float | None
    power: float
    fixed: int
    units: int
    saved: float


@dataclass(frozen=True)
class Detectable:
    """The smallest effect of the primary metric that a test of so many days finds with its power."""

    days: int
    units: int
    effect: float
    relative: float | None


@dataclass(frozen=True)
class Planned:
    """What a test takes.

    Attributes:
        needs: of the primary metric, then of each guardrail whose baseline is known.
        unknown: guardrails without a baseline: nothing is planned for them.
        units, arms: so many units satisfy every need, in all arms and by arm.
        price: units under the rule over units if read once, for the primary.
        expected: share of the units that have come when it stops, on average, if the effect is the one asked for; 1
            where the rule stops at its end only, None where it has no end.
        days: the first day with enough units; None without arrivals, or if it takes longer than they tell.
    """

    experiment: str
    rule: str
    needs: tuple[Need, ...]
    unknown: tuple[str, ...]
    units: int
    arms: dict[str, int]
    price: float
    expected: float | None
    days: int | None
    detectable: tuple[Detectable, ...]


def plan(
    experiment: Experiment,
    baseline: Baseline | Mapping[str, Baseline],
    arrivals: Sequence[float] | None = None,
) -> Planned:
    """What an experiment's question takes, its arms as they are.

    Args:
        baseline: of the primary metric, or of several metrics by name.
        arrivals: distinct units that have entered the test by the end of each day, rising.

    Raises:
        BadInput: a flag, an arm of weight 0, no baseline of the primary, an effect relative to a mean of 0, or
            arrivals that fall.
    """
    question, control, treated = _asked(experiment)
    known = {question.primary: baseline} if isinstance(baseline, Baseline) else baseline
    if question.primary not in known:
        raise BadInput(f"the baseline of {question.primary} is not known: give its mean and sd")
    if arrivals is not None and (np.diff(np.asarray(arrivals, np.float64), prepend=0.0) < 0).any():
        raise BadInput("arrivals are the units so far at the end of each day: they cannot fall")
    tests = [
        _Test.of(experiment, question, name, known, control, treated) for name in _planned(question, known)
    ]
    needs = tuple(test.need() for test in tests)
    units = max(need.units for need in needs)
    return Planned(
        experiment=experiment.name,
        rule=question.rule_words,
        needs=needs,
        unknown=tuple(g.metric for g in question.guardrails if g.metric not in known),
        units=units,
        arms={arm.name: ceil(units * arm.weight - 1e-9) for arm in experiment.arms},
        price=tests[0].price,
        expected=tests[0].expected(),
        days=_first_day(arrivals, units),
        detectable=_detectable(tests[0], arrivals),
    )


def _asked(experiment: Experiment) -> tuple[Question, float, tuple[float, ...]]:
    """The question, the control's weight and the treatments'."""
    if experiment.question is None:
        raise BadInput(f"{experiment.name} is a flag: it asks nothing")
    weights = {arm.name: arm.weight for arm in experiment.arms}
    control = weights.pop(experiment.control)
    if not control or not min(weights.values()):
        raise BadInput(f"{experiment.name} has an arm of weight 0: nothing can be compared with it")
    return experiment.question, control, tuple(weights.values())


def _planned(question: Question, known: Mapping[str, Baseline]) -> list[str]:
    return [question.primary, *(g.metric for g in question.guardrails if g.metric in known)]


@dataclass(frozen=True)
class _Test:
    """One metric's test of the smallest treatment against control."""

    question: Question
    metric: str
    mean: float
    effect: float
    one_sided: bool
    power: float
    pair: float  # share of all units that are in the two arms
    plan: Plan  # of one look
    price: float
    looks: tuple[float, ...]  # that are planned, as shares of the time

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        question: Question,
        metric: str,
        known: Mapping[str, Baseline],
        control: float,
        treated: tuple[float, ...],
    ) -> _Test:
        guardrail = next((g for g in question.guardrails if g.metric == metric), None)
        size, scale = (
            (guardrail.margin, guardrail.scale)
            if guardrail
            else (question.margin or question.mde, question.scale)
        )
        margin = guardrail is not None or question.margin is not None
        found = known[metric]
        one_look = Plan(
            sd=found.sd,
            ratio=min(treated) / control,
            alpha=question.alpha / (2 if margin else 1),
            sides=1 if margin else 2,
            comparisons=len(treated),
            rho=(found.rho or 0.0) if question.pre_days else 0.0,
        )
        effect = _absolute(size, scale, found.mean)
        power = 1 - (1 - question.power) / (1 + len(question.guardrails))
        price = _price(experiment, question, one_look, one_look.units(effect, power), power)
        pair = control + min(treated)
        looks = question.looks(experiment.planned_days)
        return cls(question, metric, found.mean, effect, margin, power, pair, one_look, price, looks)

    def need(self) -> Need:
        units = self.plan.units(self.effect, self.power) / self.pair
        return Need(
            metric=self.metric,
            role="primary" if self.metric == self.question.primary else "guardrail",
            effect=self.effect,
            margin=self.one_sided,
            relative=self.relative(self.effect),
            power=self.power,
            fixed=ceil(units - 1e-9),
            units=ceil(units * self.price - 1e-9),
            saved=self.plan.rho**2,
        )

    def relative(self, effect: float) -> float | None:
        return effect / abs(self.mean) if self.mean else None

    def smallest(self, units: float) -> float:
        """The effect that so many units in all arms find."""
        return self.plan.mde(units * self.pair / self.price, self.power)

    def expected(self) -> float | None:
        rule = self.question.stopping
        if isinstance(rule, AlwaysValid):
            return None
        if isinstance(rule, Fixed):
            return 1.0
        design = _design(rule, self.plan)
        return promise(design, self.looks, drift_for(design, self.looks, self.power)).expected


def _absolute(size: float, scale: Scale, mean: float) -> float:
    if scale == "relative" and mean == 0:
        raise BadInput("an effect relative to a mean of zero: give it with `scale: absolute`")
    return size * abs(mean) if scale == "relative" else size


def _design(rule: GroupSequential, one_look: Plan) -> Design:
    spending = Spending(rule.spending) if rule.rho is None else Spending("power", rule.rho)
    return Design(spending, one_look.alpha / one_look.comparisons, one_look.sides)


def _price(experiment: Experiment, question: Question, one_look: Plan, fixed: float, power: float) -> float:
    """How many times the units of one look the rule needs, information growing with them."""
    rule = question.stopping
    if isinstance(rule, Fixed):
        return 1.0
    if isinstance(rule, GroupSequential):
        return inflation(_design(rule, one_look), question.looks(experiment.planned_days), power)
    alpha, two_sided = one_look.alpha / one_look.comparisons, one_look.sides == 2
    one = float(norm.isf(one_look.side_alpha) + norm.ppf(power)) ** 2
    best_at = float(norm.isf(question.alpha / 2) + norm.ppf(question.power)) ** 2 / one
    if rule.method == "msprt":
        best_at = best_ratio(alpha, two_sided) / one
    elif rule.tuned_for is not None:
        best_at = rule.tuned_for / fixed
    days = min(planned_days(experiment) or 28, MOST_LOOKS)
    looks = np.arange(min(max(question.min_days, 1), days), days + 1)
    return always_valid_inflation(looks / days, power, alpha, best_at, two_sided)


def planned_days(experiment: Experiment) -> int | None:
    """How long it is planned to run; None where nothing says so."""
    days = experiment.planned_days
    return None if days is None else max(1, round(days))


def _first_day(arrivals: Sequence[float] | None, units: int) -> int | None:
    enough = np.flatnonzero(np.asarray(arrivals or [], np.float64) >= units)
    return int(enough[0]) + 1 if enough.size else None


def _detectable(test: _Test, arrivals: Sequence[float] | None) -> tuple[Detectable, ...]:
    """Of the durations that the arrivals tell, and that bring an arm ten units or so."""
    out = []
    for days in DURATIONS:
        if arrivals is None or days > len(arrivals) or arrivals[days - 1] * test.pair < 20:
            continue
        effect = test.smallest(arrivals[days - 1])
        out.append(Detectable(days, int(arrivals[days - 1]), effect, test.relative(effect)))
    return tuple(out)
