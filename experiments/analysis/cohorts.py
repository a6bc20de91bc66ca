"""Effects by cohort, corrected for how many are looked at, and a test of whether they differ at all.

Look at the interaction first: levels whose effects differ only by chance are the rule. Cochran's Q (Biometrics 1954):
independent level effects against their precision-weighted mean, chi-squared with levels - 1 degrees of freedom.
"""

from __future__ import annotations

import numpy as np
from scipy.special import chdtrc

from experiments.analysis.columns import denominator, numerator
from experiments.analysis.design import Design, Metric
from experiments.analysis.effects import difference
from experiments.analysis.estimate import Pair, Term, compare
from experiments.analysis.multiple import holm
from experiments.analysis.result import CohortEffect, Interaction
from experiments.analysis.summary import Summary, adjusters

SMALLEST = 10  # units per arm; a smaller level is not shown


def cohort_effects(
    whole: Summary, design: Design
) -> tuple[tuple[CohortEffect, ...], tuple[Interaction, ...]]:
    """Every metric but quantiles, each treatment, each cohort of the design."""
    effects: list[CohortEffect] = []
    tests: list[Interaction] = []
    for metric in (m for m in design.metrics if m.kind != "quantile"):
        for number, arm in enumerate(design.treatments, start=1):
            for cohort in design.cohorts:
                pairs = _levels(whole, design, metric, cohort, number)
                effects += _rows(metric, arm, cohort, pairs, design)
                if len(pairs) > 1:
                    tests.append(interaction(metric.name, arm, cohort, list(pairs.values())))
    adjusted = holm([test.p_value for test in tests])
    return tuple(effects), tuple(_with(test, float(p)) for test, p in zip(tests, adjusted, strict=True))


def interaction(metric: str, arm: str, cohort: str, pairs: list[Pair]) -> Interaction:
    """Cochran's Q over the levels' effects; levels without variation are left out."""
    known = [(pair.effect, pair.variance) for pair in pairs if pair.variance > 0]
    values, weights = np.array([v for v, _ in known]), np.array([1 / v for _, v in known])
    centre = float(weights @ values / weights.sum()) if len(known) else 0.0
    q, df = float(weights @ (values - centre) ** 2) if len(known) else 0.0, len(known) - 1
    p = float(chdtrc(df, q)) if df > 0 else float("nan")
    return Interaction(metric, arm, cohort, q, max(df, 0), p, p)


def _levels(whole: Summary, design: Design, metric: Metric, cohort: str, number: int) -> dict[str, Pair]:
    below = denominator(metric) if metric.kind == "ratio" else None
    term = Term(numerator(metric), below, adjusters(design, metric, whole.plan))
    found = {}
    for (name, level), arms in sorted(whole.cohorts.items()):
        if name == cohort and min(arms[0].n, arms[number].n) >= SMALLEST:
            found[level] = compare(arms[0], arms[number], term, design.adjustment)
    return found


def _rows(
    metric: Metric, arm: str, cohort: str, pairs: dict[str, Pair], design: Design
) -> list[CohortEffect]:
    plain = [difference(pair, design.confidence) for pair in pairs.values()]
    wide = [difference(pair, 1 - (1 - design.confidence) / len(pairs)) for pair in pairs.values()]
    adjusted = holm([row.p_value for row in plain])
    return [
        CohortEffect(
            metric.name,
            arm,
            cohort,
            level,
            pair.n_control,
            pair.n_treatment,
            row.effect,
            row.se,
            row.interval,
            wider.interval,
            row.p_value,
            float(p),
        )
        for (level, pair), row, wider, p in zip(pairs.items(), plain, wide, adjusted, strict=True)
    ]


def _with(test: Interaction, p_adjusted: float) -> Interaction:
    return Interaction(test.metric, test.arm, test.cohort, test.statistic, test.df, test.p_value, p_adjusted)
