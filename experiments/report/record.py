"""What a report says, as plain records that go to JSON; the page shows these and computes nothing.

Effects, intervals and margins are in the metric's own unit; lifts are shares (0.02 is 2%). Times are ISO 8601, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from experiments.analysis.curve import Curve
from experiments.analysis.result import CohortEffect, Effect, Interaction

State = Literal["draft", "scheduled", "running", "ended", "stopped"]
Decision = Literal["ship", "do_not_ship", "keep_running", "broken", "no_data"]
Role = Literal["primary", "secondary", "guardrail"]
Standing = Literal["better", "worse", "no_worse", "no_difference", "breached", "open"]


@dataclass(frozen=True)
class ArmFacts:
    """One arm: what it does, the share it was planned to get, and the units that met it."""

    name: str
    weight: float  # as it is now
    release: str
    parameters: dict[str, Any]
    units: int


@dataclass(frozen=True)
class Verdict:
    """What to do, in one sentence, and why.

    Attributes:
        decision: `broken` where the sample ratio forbids reading anything; `keep_running` while it may not be read yet.
        arm: the one to ship.
        reasons: one line a fact that the decision rests on.
        next_look: when the rule looks again; None where it looks every day, or no more.
    """

    decision: Decision
    sentence: str
    arm: str | None = None
    reasons: tuple[str, ...] = ()
    next_look: str | None = None


@dataclass(frozen=True)
class RatioDay:
    """New units up to the end of a day, by arm, and the sequential p-value there (valid at all days together)."""

    day: str
    counts: tuple[int, ...]
    p: float


@dataclass(frozen=True)
class Segment:
    """One level of a cohort in which the arms' counts were looked at."""

    name: str
    counts: tuple[int, ...]
    p: float
    rest_p: float


@dataclass(frozen=True)
class SampleRatio:
    """Whether the arms got the units that they should; arms in the report's order."""

    mismatch: bool
    p: float
    alpha: float
    planned: tuple[float, ...]
    counts: tuple[int, ...]
    low: tuple[float, ...]  # of each arm's share, at all days together
    high: tuple[float, ...]
    days: tuple[RatioDay, ...]
    first: str | None = None  # the day that raised the alarm
    segments: tuple[Segment, ...] = ()  # the worst first; only where there is a mismatch
    sentence: str = ""


@dataclass(frozen=True)
class Point:
    """A metric's effect as it stood at the end of a day.

    Attributes:
        low, high: of the interval that the rule allows at this time; None where it sets no bound (or no look is due).
        naive: the interval of one look, which may not be used for deciding.
        planned: whether the rule looks here.
    """

    day: str
    units: int
    effect: float
    se: float
    low: float | None
    high: float | None
    naive_low: float
    naive_high: float
    planned: bool
    outcome: str = "running"
    bound: float | None = None
    z: float | None = None


@dataclass(frozen=True)
class MetricRow:
    """One metric in one treatment.

    Attributes:
        effect: the analysis of all data so far, CUPED included; its intervals are for one look at the planned end.
        estimate: the difference to report now; after a stop the one of that look, without the bias that stopping has.
        low, high, p: what may be believed now, under the rule.
        kind: of that interval, in words.
        standing: what is shown; `open`: nothing yet.
        margin: of a guardrail (or a primary that shall be no worse), in the metric's unit.
        breach_p: always-valid p-value of "worse than the margin".
    """

    metric: str
    role: Role
    description: str
    arm: str
    effect: Effect
    estimate: float
    low: float | None
    high: float | None
    p: float | None
    kind: str
    standing: Standing
    sentence: str
    margin: float | None = None
    margin_relative: bool = False
    breach_p: float | None = None
    trail: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Power:
    """How far the test is: of the primary metric, for the smallest effect worth finding.

    Attributes:
        detectable: the effect that the standard error of now would find with the planned power, at the planned end's
            risks; `wanted` is the one asked for.
        conditional: chance of a shown effect at the planned end if the true effect is the wanted one; `predictive`: if
            it is as the data say, their error counted in. None at the end, or where no end is planned.
    """

    wanted: float
    detectable: float
    conditional: float | None = None
    predictive: float | None = None


@dataclass(frozen=True)
class Happening:
    """Something that was done or decided, when, and by which rule or version."""

    at: str
    what: str
    by: str = ""


@dataclass(frozen=True)
class Report:
    """One experiment as it stands."""

    name: str
    description: str
    owner: str
    state: State
    unit: str
    control: str
    made_at: str
    data_until: str
    start: str | None
    stop: str | None  # the planned end, or the early one
    days: int  # with data, since the start
    planned_days: int | None
    rule: str  # the stopping rule in words
    hypothesis: str  # what is asked, in words
    arms: tuple[ArmFacts, ...]  # the control first
    verdict: Verdict
    sample_ratio: SampleRatio | None = None
    metrics: tuple[MetricRow, ...] = ()  # primary, guardrails, secondary
    cohorts: tuple[CohortEffect, ...] = ()
    interactions: tuple[Interaction, ...] = ()
    curves: tuple[Curve, ...] = ()
    power: tuple[tuple[str, Power], ...] = ()  # by treatment
    history: tuple[Happening, ...] = ()
    versions: tuple[str, ...] = ()  # of the config, under which it ran
    layer: str = ""
    targeting: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)  # units: overridden, in two arms, ...
    warnings: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        """All of it; infinite and missing numbers as null."""
        return orjson.dumps(self, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)

    def row(self, metric: str, arm: str) -> MetricRow:
        """A metric's row; raises KeyError."""
        for row in self.metrics:
            if (row.metric, row.arm) == (metric, arm):
                return row
        raise KeyError((metric, arm))
