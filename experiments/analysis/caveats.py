"""What a reader should know before believing a row: too few units, heavy tails, a baseline near 0, odd covariates."""

from __future__ import annotations

import math

from experiments.analysis.columns import covariates, denominator, numerator
from experiments.analysis.design import Design, Metric
from experiments.analysis.effects import Inference, p_two_sided
from experiments.analysis.estimate import Pair, Term, compare
from experiments.analysis.moments import Moments
from experiments.analysis.summary import PRE_MISSING, Summary

FEW_UNITS = 50
SKEW_FACTOR = (
    355  # units per arm needed for a 95% interval of a mean: 355 skewness^2 (Kohavi et al., KDD 2014)
)
IMBALANCE = 1e-4  # p-value, shared by the covariates, at which a difference before exposure is not chance


def about_pair(
    metric: Metric, pair: Pair, relative: Inference, control: Moments | None, treatment: Moments | None
) -> tuple[str, ...]:
    """Caveats of one metric and treatment."""
    found = []
    if min(pair.n_control, pair.n_treatment) < FEW_UNITS:
        found.append(f"fewer than {FEW_UNITS} units in an arm: intervals rest on large samples")
    if math.isnan(pair.effect) or math.isnan(pair.se):
        found.append("too few values: nothing can be tested")
    elif pair.se == 0:
        found.append("no variation: nothing can be tested")
    elif not math.isfinite(relative.interval.low):
        found.append("the control's value is not told from 0: the lift has no bounded interval")
    arms = [m for m in (control, treatment) if m is not None]
    if metric.kind == "mean" and any(_too_skewed(m, numerator(metric)) for m in arms):
        found.append(f"heavy tail: fewer units than {SKEW_FACTOR} skewness squared; consider a cap")
    if metric.kind == "ratio" and any(_loose(m, denominator(metric)) for m in arms):
        found.append("the denominator's mean has an error above 10%: the delta method is rough")
    return tuple(found)


def about_units(whole: Summary, design: Design) -> tuple[str, ...]:
    """Caveats of the whole: units in two arms, and covariates that differ between arms before they could."""
    found = []
    if whole.mixed:
        found.append(f"{whole.mixed} units were seen in two arms and are left out")
    names = [c for metric in design.metrics for c in covariates(design, metric)]
    names += [PRE_MISSING] if PRE_MISSING in whole.arms[0].names else []
    unique = list(dict.fromkeys(names))
    for arm, moments in zip(design.treatments, whole.arms[1:], strict=True):
        for name in unique:
            pair = compare(whole.arms[0], moments, Term(name))
            if pair.se > 0 and p_two_sided(pair.effect / pair.se, pair.df) < IMBALANCE / len(unique):
                found.append(
                    f"{name} differs between {design.control} and {arm}: was it fixed before exposure?"
                )
    return tuple(found)


def _too_skewed(m: Moments, name: str) -> bool:
    return m.n < SKEW_FACTOR * m.skewness(name) ** 2


def _loose(m: Moments, name: str) -> bool:
    i = m.names.index(name)
    return m.n > 1 and math.sqrt(m.covariance[i, i] / m.n) > 0.1 * abs(m.mean[i])
