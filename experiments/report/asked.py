"""A config's question in the analysis' own words: metrics, one design a frame, rules by role.

asked = Asked.of(config, experiment)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from experiments.analysis.design import Cap, Design, Margin, Metric
from experiments.columns import DAYS
from experiments.config import Config
from experiments.experiment import Experiment
from experiments.question import Metric as Declared
from experiments.question import Question
from experiments.report.frame import BEFORE, Value, values_of
from experiments.report.record import Role
from experiments.report.units import COHORTS


@dataclass(frozen=True)
class Asked:
    """One metric that is asked for.

    Attributes:
        metric: for the analysis; its role there is the one here.
        margin: how much worse is still acceptable, for a guardrail or a test of non-inferiority.
    """

    declared: Declared
    metric: Metric
    role: Role
    margin: Margin | None

    @property
    def values(self) -> list[Value]:
        return values_of(self.declared)

    @property
    def source(self) -> str:
        """Which frame it is of: "days", "answers", or the window's days."""
        window = self.declared.window
        if window is not None:
            return f"{window.first}-{window.last}"
        return "answers" if self.declared.columns == ("latency_ms",) else "days"


def asked(config: Config, experiment: Experiment) -> list[Asked]:
    """The primary metric, guardrails, secondary metrics; in this order."""
    question = experiment.question
    assert question is not None
    margins = {g.metric: Margin(**{g.scale: g.margin}) for g in question.guardrails}
    if question.margin is not None:
        margins[question.primary] = Margin(**{question.scale: question.margin})
    roles: dict[str, Role] = {question.primary: "primary"}
    roles |= {g.metric: "guardrail" for g in question.guardrails}
    roles |= dict.fromkeys(question.secondary, "secondary")
    out = []
    for name, role in roles.items():
        declared = config.metric(name)
        assert declared is not None  # the config was checked
        out.append(
            Asked(declared, _metric(declared, role, margins.get(name), question), role, margins.get(name))
        )
    return out


def _metric(declared: Declared, role: Role, margin: Margin | None, question: Question) -> Metric:
    """A mean is by unit and day: a ratio to the days since exposure, so that every look estimates the same."""
    values = [value.name for value in values_of(declared)]
    windowed = declared.window is not None
    kind = "ratio" if declared.kind == "mean" and not windowed else declared.kind
    names = iter(values)
    parts = [DAYS if column == DAYS else next(names) for column in (*declared.columns, DAYS)[:2]]
    ratio = kind == "ratio"
    before = tuple(name + BEFORE for name in values) if question.pre_days else ()
    return Metric(
        name=declared.name,
        kind=kind,
        column=None if ratio else parts[0],
        numerator=parts[0] if ratio else None,
        denominator=parts[1] if ratio else None,
        quantile=declared.quantile,
        role=role,
        direction=declared.direction,
        covariates=() if kind == "quantile" else before if windowed else None,
        cap=_cap(declared),
        margin=margin,
    )


def _cap(declared: Declared) -> Cap | None:
    winsor = declared.winsorize
    if winsor is None or (winsor.lower == 0 and winsor.upper == 1):
        return None
    return Cap(low_quantile=winsor.lower or None, high_quantile=winsor.upper if winsor.upper < 1 else None)


def design(
    experiment: Experiment, metrics: list[Metric], first: date | None, last: date, exposure: bool = False
) -> Design:
    """How to read one frame.

    Args:
        first: rows of days before it are the pre-period; None: the frame has none.
        exposure: whether only days since the unit's exposure count (always, where there is a pre-period).
    """
    question = experiment.question
    assert question is not None
    treatments = tuple(arm.name for arm in experiment.arms if arm.name != experiment.control)
    return Design(
        metrics=tuple(metrics),
        control=experiment.control,
        treatments=treatments,
        unit="unit",
        start=first if question.pre_days else None,
        end=last,
        exposure="exposed_day" if exposure or first is not None else None,
        cohorts=COHORTS,
        confidence=1 - question.alpha,
        correction=question.correction,
    )
