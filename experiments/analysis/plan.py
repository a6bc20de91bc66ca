"""What must be known of all units before any is counted: caps from the arms together, and cells of the strata.

plan = make_plan(table, design)      # table: experiments.analysis.units.unit_table of these columns, any superset
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from experiments.analysis.columns import Column, columns, numerator
from experiments.analysis.design import Design
from experiments.analysis.units import ARM

SMALLEST_CELL = 10  # units per arm; a smaller stratum is joined with other small ones
MOST_CELLS = 50
NONE = "(none)"


@dataclass(frozen=True)
class Plan:
    """Caps per column as (low, high), and the strata's cells that get an indicator of their own."""

    caps: dict[str, tuple[float, float]] = field(default_factory=dict)
    cells: tuple[str, ...] = ()


def capped(design: Design) -> list[Column]:
    """Columns that have caps: numerators, and their pre-period values."""
    return [
        c for c in columns(design) if c.metric and c.metric.cap and c.name.startswith(numerator(c.metric))
    ]


def make_plan(table: pl.DataFrame, design: Design) -> Plan:
    """Caps and cells from one row per unit.

    Caps come from all arms together: arms capped at different values differ by the caps alone, and with common caps
    the caps' own sampling error cancels in the difference (to first order, where the arms' tails are alike).
    """
    return Plan({c.name: _cap(table[c.name], c) for c in capped(design)}, _cells(table, design))


def cell(design: Design) -> pl.Expr:
    """A unit's cell of the crossed strata, as text."""
    return pl.concat_str([group(name) for name in design.strata], separator=" | ")


def group(name: str) -> pl.Expr:
    """A unit's cohort or stratum as text; null is a group of its own."""
    return pl.col(name).cast(pl.String).fill_null(NONE)


def _cap(values: pl.Series, column: Column) -> tuple[float, float]:
    cap = column.metric.cap if column.metric else None
    assert cap is not None
    low, high = cap.low, cap.high
    known = values.drop_nulls()
    if cap.low_quantile is not None:
        low = known.quantile(cap.low_quantile, "nearest")
    if cap.high_quantile is not None:
        high = known.quantile(cap.high_quantile, "nearest")
    return (-np.inf if low is None else float(low), np.inf if high is None else float(high))


def _cells(table: pl.DataFrame, design: Design) -> tuple[str, ...]:
    """Cells large enough in every arm, all but the largest (the reference), the commonest first."""
    if not design.strata:
        return ()
    sizes = (
        table.group_by(cell(design).alias("cell"))
        .agg(*((pl.col(ARM) == i).sum().alias(str(i)) for i in range(len(design.arms))))
        .with_columns(least=pl.min_horizontal(pl.exclude("cell")), all=pl.sum_horizontal(pl.exclude("cell")))
        .filter(pl.col("least") >= SMALLEST_CELL)
        .sort("all", "cell", descending=[True, False])
    )
    names = sizes["cell"].to_list()
    others = table.height > int(sizes["all"].sum())
    return tuple(names[:MOST_CELLS] if others else names[1:][:MOST_CELLS])
