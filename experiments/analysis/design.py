"""What is asked of the data: metrics and how the experiment was run. Unknown keys are refused.

Design(metrics=(Metric(name="minutes"), Metric(name="skip_rate", kind="ratio", numerator="skips", denominator="plays")),
       control="control", treatments=("treatment",), start=date(2026, 5, 1))
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from experiments.analysis.bayes import Prior
from experiments.analysis.effects import Direction
from experiments.analysis.estimate import Adjustment
from experiments.analysis.multiple import Correction

Positive = Annotated[float, Field(gt=0)]
Open = Annotated[float, Field(gt=0, lt=1)]
ROWS = "rows"
"""The denominator of a mean over rows: how many rows a unit has."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Cap(_Strict):
    """Winsorising of a metric's unit totals: fixed values, or quantiles of all arms together."""

    low: float | None = None
    high: float | None = None
    low_quantile: Annotated[float, Field(gt=0, lt=0.5)] | None = None
    high_quantile: Annotated[float, Field(gt=0.5, lt=1)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Cap:
        ways = [(self.low, self.low_quantile), (self.high, self.high_quantile)]
        if any(value is not None and share is not None for value, share in ways):
            raise ValueError("give a cap as a value or as a quantile, not both")
        if all(value is None and share is None for value, share in ways):
            raise ValueError("a cap needs at least one end")
        return self


class Margin(_Strict):
    """How much worse than the control is still acceptable; one of the two, positive."""

    absolute: Positive | None = None
    relative: Positive | None = None

    @model_validator(mode="after")
    def _one(self) -> Margin:
        if (self.absolute is None) == (self.relative is None):
            raise ValueError("give one margin, absolute or relative")
        return self


class Metric(_Strict):
    """One metric. A unit's value is the sum of its rows' (`proportion`: whether any row is above 0); nulls add nothing.

    `covariates`: columns that were fixed before exposure, constant in a unit; None takes the metric's own values in
    the rows before `Design.start`, () none at all. A quantile takes no covariates.
    """

    name: Annotated[str, Field(min_length=1)]
    kind: Literal["mean", "proportion", "ratio", "quantile"] = "mean"
    column: str | None = None  # None: the metric's name
    numerator: str | None = None  # of a ratio
    denominator: str | None = None  # of a ratio: a column, or "rows"
    quantile: Open | None = None
    of: Literal["rows", "units"] = "rows"  # what a quantile is taken over
    role: Literal["primary", "secondary", "guardrail"] = "primary"
    direction: Direction = "increase"
    covariates: tuple[str, ...] | None = None
    cap: Cap | None = None
    margin: Margin | None = None
    prior: Prior = Prior()

    @model_validator(mode="after")
    def _complete(self) -> Metric:
        parts = {self.numerator is not None, self.denominator is not None}
        if parts != {self.kind == "ratio"} or (self.kind == "ratio" and self.column):
            raise ValueError(
                f"{self.name}: a ratio, and only a ratio, has a numerator and a denominator, no column"
            )
        if (self.kind == "quantile") != (self.quantile is not None):
            raise ValueError(f"{self.name}: a quantile metric, and no other, needs `quantile`")
        if self.cap and self.kind in ("proportion", "quantile"):
            raise ValueError(f"{self.name}: a {self.kind} is not capped")
        if self.kind == "quantile" and self.covariates:
            raise ValueError(f"{self.name}: a quantile takes no covariates")
        return self

    @property
    def source(self) -> str:
        return self.numerator or self.column or self.name


class Design(_Strict):
    """How to read the frame: one row per unit and day (or finer), with arm, metric and covariate columns.

    Attributes:
        day: column with the row's date or time; needed only with start, end or exposure, and for looks.
        start: rows before it are the pre-period. `end`: the last day that counts.
        exposure: column with the unit's first exposure, a date or a time; null for none (triggered analysis).
        strata, cohorts: columns fixed before exposure, to adjust for and to look into.
        correction: over primary and secondary metrics and treatments; guardrails stay as they are.
    """

    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)]
    control: str
    treatments: Annotated[tuple[str, ...], Field(min_length=1)]
    unit: str = "user_id"
    arm: str = "arm"
    day: str = "day"
    start: date | None = None
    end: date | None = None
    exposure: str | None = None
    strata: tuple[str, ...] = ()
    cohorts: tuple[str, ...] = ()
    adjustment: Adjustment = "interacted"
    confidence: Open = 0.95
    correction: Correction = "holm"
    lift: Literal["fieller", "delta"] = "fieller"

    @model_validator(mode="after")
    def _consistent(self) -> Design:
        names = [metric.name for metric in self.metrics]
        if len(set(names)) < len(names):
            raise ValueError("two metrics have the same name")
        if len(set(self.arms)) < len(self.arms):
            raise ValueError("an arm is named twice")
        if self.strata and self.adjustment == "none":
            raise ValueError("strata are an adjustment: choose interacted or pooled")
        if self.start and self.end and self.end < self.start:
            raise ValueError("end is before start")
        return self

    @property
    def arms(self) -> tuple[str, ...]:
        """All arms, the control first."""
        return (self.control, *self.treatments)
