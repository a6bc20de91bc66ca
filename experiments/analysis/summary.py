"""Per-arm moments of a whole experiment, in bounded memory: what every moment-based estimate is computed from.

summary = summarise(frame, design, partitions=8)     # one pass per partition of the units
summary.arms[0]                                      # Moments of the control
Partitions are by a hash of the unit, so that all rows of a unit meet; their moments are merged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

import numpy as np
import polars as pl

from experiments.analysis.columns import Column, columns, covariates, own_pre
from experiments.analysis.design import Design, Metric
from experiments.analysis.moments import F64, Moments
from experiments.analysis.plan import Plan, capped, cell, group, make_plan
from experiments.analysis.units import ARM, MIXED, UNIT, Frame, unit_table
from recsys.errors import BadInput

PRE_MISSING = "pre.missing"
Arms = tuple[Moments, ...]  # one per arm of the design, the control first


@dataclass(frozen=True)
class Summary:
    """Moments of all units, and of each cohort's levels: {(cohort, level): moments per arm}."""

    arms: Arms
    cohorts: dict[tuple[str, str], Arms]
    mixed: int  # units seen in two arms, left out
    plan: Plan

    def merge(self, other: Summary) -> Summary:
        keys = self.cohorts.keys() | other.cohorts.keys()
        nothing = tuple(Moments.empty(m.names) for m in self.arms)
        cohorts = {k: _merge(self.cohorts.get(k, nothing), other.cohorts.get(k, nothing)) for k in keys}
        return Summary(_merge(self.arms, other.arms), cohorts, self.mixed + other.mixed, self.plan)


def summarise(frame: Frame, design: Design, partitions: int = 1) -> Summary:
    """Moments of every arm and cohort.

    Raises:
        BadInput: a column is missing or holds values that are not finite, or an arm has no units.
    """
    if partitions == 1:
        table = unit_table(frame, design)
        whole = summarise_table(table, design, make_plan(table.filter(~pl.col(MIXED)), design))
    else:
        plan = _plan_first(frame, design, partitions)
        tables = (unit_table(part, design) for part in _parts(frame, design, partitions))
        whole = reduce(Summary.merge, (summarise_table(table, design, plan) for table in tables))
    empty = [name for name, m in zip(design.arms, whole.arms, strict=True) if not m.n]
    if empty:
        raise BadInput(
            f"no units in arm {', '.join(empty)}: check the design's arms against column {design.arm}"
        )
    return whole


def summarise_table(table: pl.DataFrame, design: Design, plan: Plan) -> Summary:
    """The same of a table with one row per unit."""
    mixed = int(table[MIXED].sum())
    if mixed:
        table = table.filter(~pl.col(MIXED))
    names, values = matrix(table, design, plan)
    arm = table[ARM].to_numpy()
    cohorts = {}
    for name in design.cohorts:
        levels = table.select(group(name)).to_series()
        for level in levels.unique().to_list():
            cohorts[name, level] = _arms(names, values, arm, (levels == level).to_numpy(), design)
    return Summary(_arms(names, values, arm, None, design), cohorts, mixed, plan)


def matrix(table: pl.DataFrame, design: Design, plan: Plan) -> tuple[tuple[str, ...], F64]:
    """Column names and (units, columns) values: capped, missing covariates as 0 with an indicator, cells of strata.

    The indicator makes the value put in for a missing one irrelevant (missingness indicators stay valid in
    randomised experiments: Zhao & Ding, JASA 2024).
    """
    wanted = columns(design)
    first = [c for c in wanted if c.how == "first"]
    made = [pl.col(c.name).is_null().cast(pl.Float64).alias(c.name + ".missing") for c in first]
    pre = next((c.name for c in wanted if c.pre), None)
    if pre is not None:
        made.append(pl.col(pre).is_null().cast(pl.Float64).alias(PRE_MISSING))
    made += [(cell(design) == name).cast(pl.Float64).alias(f"cell {name}") for name in plan.cells]
    ready = table.select([_ready(c, plan) for c in wanted] + made)
    values = ready.to_numpy(order="c") if ready.width else np.zeros((table.height, 0))
    if not np.isfinite(values).all():
        bad = [name for i, name in enumerate(ready.columns) if not np.isfinite(values[:, i]).all()]
        raise BadInput(f"values that are not finite numbers in {', '.join(bad)}: mend or drop those rows")
    return tuple(ready.columns), values


def adjusters(design: Design, metric: Metric, plan: Plan) -> tuple[str, ...]:
    """All columns that adjust a metric: its covariates with their indicators, and the strata's cells."""
    if metric.kind == "quantile" or design.adjustment == "none":
        return ()
    names = covariates(design, metric)
    missing = (PRE_MISSING,) if own_pre(design, metric) else tuple(name + ".missing" for name in names)
    return (*names, *missing, *(f"cell {name}" for name in plan.cells))


def _ready(column: Column, plan: Plan) -> pl.Expr:
    value = pl.col(column.name)
    if column.name in plan.caps:
        low, high = plan.caps[column.name]
        value = value.clip(low, high)
    return value.fill_null(0.0) if column.pre or column.how == "first" else value


def _arms(
    names: tuple[str, ...], values: F64, arm: np.ndarray, mask: np.ndarray | None, design: Design
) -> Arms:
    chosen = [arm == i if mask is None else (arm == i) & mask for i in range(len(design.arms))]
    return tuple(Moments.of(names, values[rows]) for rows in chosen)


def _merge(a: Arms, b: Arms) -> Arms:
    return tuple(x.merge(y) for x, y in zip(a, b, strict=True))


def _parts(frame: Frame, design: Design, partitions: int) -> Iterator[pl.LazyFrame]:
    place = pl.col(design.unit).hash(seed=0) % partitions
    return (frame.lazy().filter(place == i) for i in range(partitions))


def _plan_first(frame: Frame, design: Design, partitions: int) -> Plan:
    """The plan from the columns that it needs alone, where it needs any."""
    needed = capped(design)
    if not needed and not design.strata:
        return Plan()
    tables = [unit_table(part, design, needed) for part in _parts(frame, design, partitions)]
    keep = [UNIT, ARM, *(c.name for c in needed), *design.strata]
    return make_plan(pl.concat([table.filter(~pl.col(MIXED)).select(keep) for table in tables]), design)
