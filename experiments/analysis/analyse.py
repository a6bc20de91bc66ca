"""The entry point: a frame and a design in, effects with intervals, corrections, cohorts and warnings out.

analysis = analyse(frame, design)
analysis.effect("minutes").interval
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from experiments.analysis import multiple
from experiments.analysis.bayes import summary
from experiments.analysis.caveats import about_pair, about_units
from experiments.analysis.cohorts import cohort_effects
from experiments.analysis.columns import denominator, numerator
from experiments.analysis.design import Design, Metric
from experiments.analysis.effects import Inference, Interval, critical, difference, lift, non_inferiority
from experiments.analysis.estimate import Pair, Term, compare
from experiments.analysis.moments import Moments
from experiments.analysis.plan import Plan
from experiments.analysis.proportions import compare_proportions
from experiments.analysis.quantile_frame import quantile_pairs
from experiments.analysis.result import Analysis, Effect
from experiments.analysis.summary import Summary, adjusters, summarise
from experiments.analysis.units import Frame

SCORE = "score (Miettinen–Nurminen)"


def analyse(frame: Frame, design: Design, partitions: int = 1) -> Analysis:
    """Every metric of the design, each treatment against the control.

    `frame`: one row per unit and day, or finer; lazy frames stream. `partitions` > 1 goes over the units in that
    many parts, for frames whose units do not fit into memory (quantiles still need their own column whole).

    Raises:
        BadInput: a column is missing or not finite, or an arm has no units.
    """
    return from_summary(summarise(frame, design, partitions), design, frame)


def from_summary(whole: Summary, design: Design, frame: Frame | None = None) -> Analysis:
    """The same from moments; `frame` is read only for quantiles."""
    effects = []
    for metric in design.metrics:
        values = metric.kind == "quantile"
        pairs = quantile_pairs(frame, design, metric) if values else _pairs(whole, design, metric)
        effects += [
            effect(metric, pair, design, arm, whole.arms[0], whole.arms[i + 1])
            for i, (arm, pair) in enumerate(zip(design.treatments, pairs, strict=True))
        ]
    cohorts, interactions = cohort_effects(whole, design)
    units = {name: m.n for name, m in zip(design.arms, whole.arms, strict=True)}
    return Analysis(
        units,
        corrected(effects, design),
        cohorts,
        interactions,
        design.confidence,
        design.correction,
        about_units(whole, design),
    )


def term(design: Design, metric: Metric, plan: Plan) -> Term:
    """A metric in terms of the summary's columns."""
    below = denominator(metric) if metric.kind == "ratio" else None
    return Term(numerator(metric), below, adjusters(design, metric, plan))


def effect(
    metric: Metric, pair: Pair, design: Design, arm: str, control: Moments | None, treatment: Moments | None
) -> Effect:
    """One row of the result from two arms' estimates; moments are for counts of proportions and for warnings."""
    found, method = _test(metric, pair, design, control, treatment)
    relative = lift(pair, design.confidence, design.lift)
    margin = metric.margin
    return Effect(
        metric.name,
        metric.kind,
        metric.role,
        metric.direction,
        arm,
        design.control,
        pair.n_control,
        pair.n_treatment,
        pair.control,
        pair.treatment,
        found.effect,
        found.se,
        None if math.isinf(pair.df) or method == SCORE else pair.df,
        found.interval,
        found.p_value,
        found.p_value,
        found.interval,
        relative.effect,
        relative.interval,
        pair.variance_reduction,
        method,
        summary(found.effect, found.se, metric.prior.at(pair.control), metric.direction, design.confidence),
        non_inferiority(pair, margin.absolute, margin.relative, metric.direction, (1 - design.confidence) / 2)
        if margin
        else None,
        about_pair(metric, pair, relative, control, treatment),
    )


def corrected(effects: Sequence[Effect], design: Design) -> tuple[Effect, ...]:
    """Adjusted p-values and intervals over primary and secondary metrics.

    Guardrails are left out: shipping needs all of them to pass, so testing many does not raise the chance of a wrong
    ship (intersection-union: Berger, Technometrics 1982; Schultzberg, Ankargren & Frånberg 2024).
    """
    family = [i for i, e in enumerate(effects) if e.role != "guardrail" and design.correction != "none"]
    p = [effects[i].p_value for i in family]
    out, adjusted = list(effects), multiple.adjust(p, design.correction)
    levels = multiple.levels(p, design.correction, design.confidence)
    for i, value, level in zip(family, adjusted, levels, strict=True):
        e = effects[i]
        out[i] = replace(e, p_adjusted=float(value), interval_adjusted=_widened(e, float(level), design))
    return tuple(out)


def _widened(e: Effect, level: float, design: Design) -> Interval:
    """The interval at another level, in the shape of the one at hand (score intervals are not symmetric)."""
    if math.isnan(e.effect):
        return e.interval
    df = math.inf if e.df is None else e.df
    ratio = critical(level, df) / critical(design.confidence, df)
    return Interval(
        e.effect - (e.effect - e.interval.low) * ratio, e.effect + (e.interval.high - e.effect) * ratio
    )


def _test(
    metric: Metric, pair: Pair, design: Design, control: Moments | None, treatment: Moments | None
) -> tuple[Inference, str]:
    adjusted = not math.isclose(pair.variance_reduction, 0, abs_tol=1e-15)
    if metric.kind == "proportion" and not adjusted and control is not None and treatment is not None:
        name = numerator(metric)
        arms = [(round(m.mean[m.names.index(name)] * m.n), m.n) for m in (control, treatment)]
        successes, trials = zip(*arms, strict=True)
        return compare_proportions(successes, trials, design.confidence), SCORE
    kind = {"ratio": "delta method", "quantile": "outer interval of quantiles"}.get(metric.kind, "Welch t")
    method = f"{kind}, {design.adjustment} covariates" if adjusted else kind
    return difference(pair, design.confidence), method


def _pairs(whole: Summary, design: Design, metric: Metric) -> list[Pair]:
    chosen = term(design, metric, whole.plan)
    return [compare(whole.arms[0], arm, chosen, design.adjustment) for arm in whole.arms[1:]]
