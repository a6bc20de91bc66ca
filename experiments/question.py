"""What an experiment asks: metrics, guardrails, margins, effect sizes, and when it may stop.

A `Question` names metrics; `Metric` declares one. How numbers come from logs is said in columns.py, whose names a
metric's columns are.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from experiments.fields import Name, Positive, Share, Strict, refuse
from recsys.schemas import Surface

Risk = Annotated[float, Field(gt=0, lt=0.5, strict=True)]
Scale = Literal["relative", "absolute"]


class Winsor(Strict):
    """Quantiles at which a unit's value is capped; outside them it counts as the quantile."""

    lower: Share = 0.0
    upper: Share = 1.0

    @model_validator(mode="after")
    def _ordered(self) -> Winsor:
        if not self.lower < self.upper:
            raise refuse("lower must be below upper", "lower")
        return self


class Baseline(Strict):
    """What is known of a metric before the test, measured as long as the test shall run: for planning.

    Attributes:
        sd: of one unit's value; of a ratio the delta method's (experiments.sequential.power.ratio_sd), of a quantile
            an earlier test's standard error in one arm, times the root of that arm's units.
        rho: correlation of a unit's value with its own value before (of a ratio: of their delta-method residuals);
            CUPED leaves 1 - rho^2 of the variance. None: not known, and nothing is taken off.
    """

    mean: float
    sd: Positive
    rho: Annotated[float, Field(gt=-1, lt=1, strict=True)] | None = None


class Window(Strict):
    """Days since a unit's first exposure (0 is that day), both included, the same for every unit."""

    first: Annotated[int, Field(ge=0, le=365)] = 0
    last: Annotated[int, Field(ge=0, le=365)]

    @model_validator(mode="after")
    def _ordered(self) -> Window:
        if self.last < self.first:
            raise refuse("last must not be before first", "last")
        return self


class Metric(Strict):
    """A number per unit, and how it is summed up.

    Attributes:
        kind: mean of a column by unit and day since exposure (by unit, where there is a window), proportion of units
            with it, ratio of two columns' sums, quantile of a column's rows.
        direction: which way is better.
        column: of mean, proportion and quantile; the metric's name where it is not given.
        numerator, denominator: of a ratio.
        window: a unit counts once these days are over, with what it did in them; None: with every day since exposure.
        surfaces: count only what happened there; None: everywhere.
    """

    name: Name
    kind: Literal["mean", "proportion", "ratio", "quantile"]
    direction: Literal["increase", "decrease"]
    column: Name | None = None
    numerator: Name | None = None
    denominator: Name | None = None
    quantile: Annotated[float, Field(gt=0, lt=1, strict=True)] | None = None
    window: Window | None = None
    surfaces: Annotated[tuple[Surface, ...], Field(min_length=1)] | None = None
    winsorize: Winsor | None = None
    baseline: Baseline | None = None
    description: str = ""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Metric:
        ratio = self.numerator is not None and self.denominator is not None
        if (self.kind == "ratio") != ratio or (not ratio and (self.numerator or self.denominator)):
            raise refuse("a ratio, and nothing else, has a numerator and a denominator", "kind")
        if (self.kind == "quantile") != (self.quantile is not None):
            raise refuse("a quantile metric, and no other, says which quantile", "kind")
        if self.kind == "quantile" and self.baseline is not None and self.baseline.rho is not None:
            raise refuse("a quantile is not adjusted for what was before: leave out rho", "baseline", "rho")
        if self.winsorize is not None and self.kind in ("proportion", "quantile"):
            raise refuse(f"a {self.kind} is not winsorized", "winsorize")
        if self.column is not None and self.kind == "ratio":
            raise refuse("a ratio has a numerator and a denominator, and no column", "column")
        if self.window is not None and self.kind == "quantile":
            raise refuse("a quantile is of rows, and has no window", "window")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it is computed from (columns.py)."""
        if self.numerator is not None and self.denominator is not None:
            return self.numerator, self.denominator
        return (self.column or self.name,)


class Guardrail(Strict):
    """A metric that may not get worse by more than a margin (a test of non-inferiority)."""

    metric: Name
    margin: Positive
    scale: Scale = "relative"


class Fixed(Strict):
    """One look, at the end."""

    rule: Literal["fixed"]
    days: Annotated[int, Field(ge=1, le=366)] | None = None

    @property
    def fractions(self) -> tuple[float, ...]:
        return (1.0,)

    @property
    def words(self) -> str:
        """The rule as people say it, in plans and reports."""
        return "read once, at the planned end"


class GroupSequential(Strict):
    """A few planned looks; the error is spent by a function of information (Lan & DeMets 1983).

    Attributes:
        looks: how many, equally spaced, or `information`: the share of all information at each.
        rho: exponent of the power family.
    """

    rule: Literal["group_sequential"]
    looks: Annotated[int, Field(ge=2, le=100)] | None = None
    information: tuple[Share, ...] | None = None
    spending: Literal["obrien_fleming", "pocock", "power"] = "obrien_fleming"
    rho: Positive | None = None
    days: Annotated[int, Field(ge=1, le=366)] | None = None

    @model_validator(mode="after")
    def _planned(self) -> GroupSequential:
        shares = self.information
        if (self.looks is None) == (shares is None):
            raise refuse("either looks or information", "looks" if self.looks else "information")
        if shares is not None and (list(shares) != sorted({0.0, *shares} - {0.0}) or shares[-1] != 1.0):
            raise refuse("information grows from look to look, and ends at 1", "information")
        if (self.spending == "power") != (self.rho is not None):
            raise refuse("rho belongs to the power family of spending, and is needed there", "rho")
        return self

    @property
    def fractions(self) -> tuple[float, ...]:
        """The share of information at each look, ending at 1."""
        count = self.looks or 0
        return self.information or tuple((i + 1) / count for i in range(count))

    @property
    def words(self) -> str:
        name = _SPENDING[self.spending]
        return f"group sequential, {len(self.fractions)} planned looks, {name} spending by calendar time"


class AlwaysValid(Strict):
    """Any number of looks, at any time.

    Attributes:
        tuned_for: units at which the interval is tightest; None: as many as the plan asks for.
    """

    rule: Literal["always_valid"]
    method: Literal["confidence_sequence", "msprt"] = "confidence_sequence"
    tuned_for: Annotated[int, Field(ge=10)] | None = None

    @property
    def fractions(self) -> tuple[float, ...]:
        """None is planned: it looks every day."""
        return ()

    @property
    def words(self) -> str:
        name = "mixture SPRT" if self.method == "msprt" else "confidence sequence"
        return f"always valid ({name}): may be read on any day"


_SPENDING = {"obrien_fleming": "O'Brien-Fleming", "pocock": "Pocock", "power": "power family"}
Stopping = Annotated[Fixed | GroupSequential | AlwaysValid, Field(discriminator="rule")]


class Question(Strict):
    """What shall be known at the end, and at which risks.

    Attributes:
        primary: the metric that decides.
        control: the arm that the others are compared with; the first where it is not given.
        mde: the smallest change of the primary metric worth finding (`scale`: of its mean, or as it is).
        margin: of a primary that shall only be no worse: the question is then one of non-inferiority.
        pre_days: before the start, whose values adjust for differences between units (CUPED); 0: none.
        min_days: before so many days are over no rule looks, but at the planned end itself: a week, as effects differ
            between weekdays, and no rule knows them. A guardrail's breach is watched for from the first day on.
    """

    primary: Name
    secondary: tuple[Name, ...] = ()
    guardrails: tuple[Guardrail, ...] = ()
    control: Name | None = None
    mde: Positive
    scale: Scale = "relative"
    margin: Positive | None = None
    alpha: Risk = 0.05
    power: Annotated[float, Field(gt=0.5, lt=1, strict=True)] = 0.8
    correction: Literal["holm", "benjamini_hochberg"] = "holm"
    pre_days: Annotated[int, Field(ge=0, le=90)] = 14
    min_days: Annotated[int, Field(ge=0, le=90)] = 7
    stopping: Stopping

    @model_validator(mode="after")
    def _distinct(self) -> Question:
        seen = {self.primary}
        places = [("secondary", i, name) for i, name in enumerate(self.secondary)]
        places += [("guardrails", i, g.metric) for i, g in enumerate(self.guardrails)]
        for part, i, name in places:
            if name in seen:
                raise refuse(f"{name} is asked for twice", part, i)
            seen.add(name)
        return self

    @property
    def metrics(self) -> list[str]:
        """Every metric asked for: the primary, secondary ones, guardrails."""
        return [self.primary, *self.secondary, *(g.metric for g in self.guardrails)]

    @property
    def rule_words(self) -> str:
        """The stopping rule with its risk and its first look, as people say it."""
        early = self.min_days > 1 and self.stopping.rule != "fixed"
        first = f", no look before {self.min_days} days are over" if early else ""
        return f"{self.stopping.words}{first} (alpha {self.alpha:g})"

    def looks(self, days: float | None) -> tuple[float, ...]:
        """The planned looks that are taken in a test of so many days, as shares of its time: those from `min_days` on,
        and the end."""
        shares = self.stopping.fractions
        return (
            shares if days is None else tuple(s for s in shares if s == 1 or s * days >= self.min_days - 1e-9)
        )


STANDARD: tuple[Metric, ...] = (
    Metric(
        name="hours",
        kind="mean",
        direction="increase",
        winsorize=Winsor(upper=0.999),
        description="Hours listened, a listener and day.",
    ),
    Metric(
        name="skip_rate",
        kind="ratio",
        direction="decrease",
        numerator="skips",
        denominator="plays",
        description="Plays skipped before 30 s, of all plays.",
    ),
    Metric(
        name="complaint_rate",
        kind="ratio",
        direction="decrease",
        numerator="complaints",
        denominator="plays",
        description="Complaints, of all plays.",
    ),
    Metric(
        name="latency",
        kind="quantile",
        direction="decrease",
        quantile=0.99,
        column="latency_ms",
        description="Time to an answer, ms.",
    ),
    Metric(
        name="retention",
        kind="proportion",
        direction="increase",
        column="active",
        window=Window(first=7, last=13),
        description="Listeners who come back in the second week.",
    ),
)
"""Metrics that every config has; one of the same name replaces it."""
