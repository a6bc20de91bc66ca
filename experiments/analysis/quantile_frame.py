"""Quantile metrics of a frame: they need values, not moments. quantile_pairs(frame, design, metric)."""

from __future__ import annotations

import polars as pl

from experiments.analysis.columns import Column, numerator
from experiments.analysis.design import Design, Metric
from experiments.analysis.estimate import Pair
from experiments.analysis.quantiles import compare_quantiles
from experiments.analysis.units import ARM, MIXED, UNIT, Frame, counts, rows_of, unit_table
from recsys.errors import BadInput


def quantile_pairs(frame: Frame | None, design: Design, metric: Metric) -> list[Pair]:
    """Each treatment against the control, of rows (clustered by unit) or of unit totals.

    Raises:
        BadInput: there is no frame to read, or an arm has no values.
    """
    if frame is None or metric.quantile is None:
        raise BadInput(f"{metric.name}: a quantile is not computed from moments: give the frame")
    values = _totals(frame, design, metric) if metric.of == "units" else _rows(frame, design, metric)
    arms = [values.filter(pl.col(ARM) == i) for i in range(len(design.arms))]
    empty = [name for name, arm in zip(design.arms, arms, strict=True) if not arm.height]
    if empty:
        raise BadInput(f"{metric.name}: no values in arm {', '.join(empty)}")
    numbers = [arm["value"].to_numpy() for arm in arms]
    codes = [arm[UNIT].to_numpy() if metric.of == "rows" else None for arm in arms]
    return [
        compare_quantiles(numbers[0], numbers[i], metric.quantile, (codes[0], codes[i]), design.confidence)
        for i in range(1, len(arms))
    ]


def _totals(frame: Frame, design: Design, metric: Metric) -> pl.DataFrame:
    column = Column(numerator(metric), metric.source, "sum")
    table = unit_table(frame, design, [column])
    return table.filter(~pl.col(MIXED)).select(ARM, value=pl.col(column.name))


def _rows(frame: Frame, design: Design, metric: Metric) -> pl.DataFrame:
    """Arm, value and a 64-bit hash of the unit, one row each; units of two arms left out, null values too."""
    lazy = rows_of(frame, design)
    lazy = lazy.filter(counts(design, lazy.collect_schema()))
    unit, value = pl.col(design.unit).hash(seed=0).alias(UNIT), pl.col(metric.source).cast(pl.Float64)
    lazy = lazy.select(unit, ARM, value=value.fill_nan(None))
    mixed = lazy.group_by(UNIT).agg(pl.col(ARM).min() != pl.col(ARM).max()).filter(pl.col(ARM)).select(UNIT)
    return lazy.drop_nulls("value").join(mixed, on=UNIT, how="anti").collect(engine="streaming")
