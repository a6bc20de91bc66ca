"""Which columns a unit has: numerators, denominators, pre-period values, covariates; and their names.

columns(design)      # [Column("minutes.y", "minutes", "sum"), Column("minutes.y.pre", "minutes", "sum", pre=True)]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from experiments.analysis.design import ROWS, Design, Metric

How = Literal["sum", "any", "rows", "first"]


@dataclass(frozen=True)
class Column:
    """One value of a unit, made of its rows."""

    name: str
    source: str
    how: How
    pre: bool = False  # of the rows before the start
    metric: Metric | None = None


def columns(design: Design) -> list[Column]:
    """All value columns of the analysis, quantiles aside (they need rows); each name once."""
    found = [c for metric in design.metrics for c in of_metric(design, metric)]
    return list({column.name: column for column in found}.values())


def of_metric(design: Design, metric: Metric) -> Iterator[Column]:
    """The columns of one metric."""
    if metric.kind == "quantile":
        return
    yield from own(metric)
    if own_pre(design, metric):
        yield from (replace(column, name=column.name + ".pre", pre=True) for column in own(metric))
    for source in metric.covariates or ():
        yield Column(source, source, "first")


def own(metric: Metric) -> list[Column]:
    """A metric's numerator, and its denominator where it has one."""
    found = [Column(numerator(metric), metric.source, "any" if metric.kind == "proportion" else "sum")]
    if metric.denominator is not None:
        how: How = "rows" if metric.denominator == ROWS else "sum"
        found.append(Column(denominator(metric), metric.denominator, how))
    return [replace(column, metric=metric) for column in found]


def covariates(design: Design, metric: Metric) -> tuple[str, ...]:
    """Names of the columns that adjust a metric, before indicators of missing values are added."""
    if metric.kind == "quantile" or design.adjustment == "none":
        return ()
    if own_pre(design, metric):
        return tuple(column.name + ".pre" for column in own(metric))
    return metric.covariates or ()


def own_pre(design: Design, metric: Metric) -> bool:
    usable = metric.kind != "quantile" and design.adjustment != "none"
    return usable and design.start is not None and metric.covariates is None


def numerator(metric: Metric) -> str:
    return f"{metric.name}.y"


def denominator(metric: Metric) -> str:
    return f"{metric.name}.d"
