"""What an analysis says, as plain records that go to JSON: one Effect per metric and treatment, and what was odd."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from experiments.analysis.bayes import Posterior
from experiments.analysis.effects import Interval, NonInferiority


@dataclass(frozen=True)
class Effect:
    """One treatment against the control in one metric. Effects and margins are in the metric's unit."""

    metric: str
    kind: str
    role: str
    direction: str  # which way is better
    arm: str
    control: str
    n_control: int  # units
    n_treatment: int
    control_value: float  # adjusted where covariates are used
    treatment_value: float
    effect: float  # treatment - control
    se: float
    df: float | None  # of the t reference; None: normal
    interval: Interval
    p_value: float  # two-sided
    p_adjusted: float  # over the family of primary and secondary metrics; p_value itself for a guardrail
    interval_adjusted: Interval
    lift: float  # effect / |control_value|
    lift_interval: Interval
    variance_reduction: float  # by covariates and strata: 0.3 is as good as 1 / 0.7 times the units
    method: str
    bayes: Posterior
    non_inferiority: NonInferiority | None = None
    warnings: tuple[str, ...] = ()

    @property
    def conclusive(self) -> bool:
        """Whether the interval, adjusted for the family, leaves 0 out."""
        return not self.interval_adjusted.covers(0.0)


@dataclass(frozen=True)
class CohortEffect:
    """A metric's effect in one level of a cohort; p-values are adjusted over the levels (Holm)."""

    metric: str
    arm: str
    cohort: str
    level: str
    n_control: int
    n_treatment: int
    effect: float
    se: float
    interval: Interval
    interval_adjusted: Interval  # simultaneous over the levels
    p_value: float
    p_adjusted: float


@dataclass(frozen=True)
class Interaction:
    """Whether a metric's effect differs between the levels of a cohort (Cochran's Q)."""

    metric: str
    arm: str
    cohort: str
    statistic: float
    df: int
    p_value: float
    p_adjusted: float  # over all metrics, arms and cohorts asked (Holm)


@dataclass(frozen=True)
class Analysis:
    """The whole answer; `to_json` writes infinite and missing numbers as null."""

    units: dict[str, int]
    effects: tuple[Effect, ...]
    cohorts: tuple[CohortEffect, ...]
    interactions: tuple[Interaction, ...]
    confidence: float
    correction: str
    warnings: tuple[str, ...]

    def effect(self, metric: str, arm: str | None = None) -> Effect:
        """One row, by metric, and by arm where there are several treatments."""
        return next(e for e in self.effects if e.metric == metric and arm in (None, e.arm))

    def to_json(self) -> bytes:
        return orjson.dumps(self, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)
