"""From rows to one row a unit: who counts, totals after exposure, values before the start. One polars pass.

table = unit_table(frame, design)        # lazy frames stay lazy until here, and stream
"""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from experiments.analysis.columns import Column, columns
from experiments.analysis.design import Design
from recsys.errors import BadInput

UNIT, ARM, MIXED, BEFORE = "__unit", "__arm", "__mixed", "__before"
Frame = pl.DataFrame | pl.LazyFrame


def rows_of(frame: Frame, design: Design, last: date | None = None) -> pl.LazyFrame:
    """The rows that may count, with the arm's number: of known units and arms, of exposed units, up to the last day.

    Raises:
        BadInput: a column of the design is missing.
    """
    lazy = frame.lazy()
    _require(lazy, design)
    codes = {name: i for i, name in enumerate(design.arms)}
    arm = pl.col(design.arm).cast(pl.String).replace_strict(codes, default=None, return_dtype=pl.UInt8)
    lazy = lazy.with_columns(arm.alias(ARM)).filter(
        pl.col(ARM).is_not_null(), pl.col(design.unit).is_not_null()
    )
    last = min((day for day in (last, design.end) if day is not None), default=None)
    if last is not None:
        lazy = lazy.filter(pl.col(design.day).cast(pl.Date) <= last)
    if design.exposure is not None:
        lazy = lazy.filter(pl.col(design.exposure).is_not_null())
        if last is not None:
            lazy = lazy.filter(pl.col(design.exposure).cast(pl.Date) <= last)
    return lazy


def counts(design: Design, schema: pl.Schema) -> pl.Expr:
    """Whether a row's values count: from the start and from the unit's exposure on.

    An exposure is compared as finely as both columns allow: days with days, times with times.
    """
    after = pl.lit(True)
    if design.start is not None:
        after = after & (pl.col(design.day).cast(pl.Date) >= design.start)
    if design.exposure is not None:
        fine = pl.Date not in (schema[design.day], schema[design.exposure])
        kind = pl.Datetime("us", getattr(schema[design.day], "time_zone", None)) if fine else pl.Date()
        after = after & (pl.col(design.day).cast(kind) >= pl.col(design.exposure).cast(kind))
    return after


def unit_table(
    frame: Frame, design: Design, wanted: list[Column] | None = None, last: date | None = None
) -> pl.DataFrame:
    """One row per unit: __unit, __arm, __mixed (seen in two arms), the wanted columns, strata and cohorts.

    Units without a row that counts stay, with zeros: silence is an outcome. Values before the start are null for
    units without such a row. Sums are in float64; what several metrics share is summed once.
    """
    lazy = rows_of(frame, design, last)
    wanted = columns(design) if wanted is None else wanted
    after = counts(design, lazy.collect_schema())
    dated = design.start is not None or design.exposure is not None
    before = pl.col(design.day).cast(pl.Date) < design.start if design.start is not None else pl.lit(False)
    shared = {(c.source, c.how, c.pre): c for c in wanted}
    parts = [_masked(column, after, before, dated) for column in shared.values()]
    out = [_total(column) for column in shared.values()]
    groups = dict.fromkeys((*design.strata, *design.cohorts))
    table = (
        lazy.select(
            pl.col(design.unit).alias(UNIT), ARM, before.alias(BEFORE), *parts, *(pl.col(g) for g in groups)
        )
        .group_by(UNIT)
        .agg(
            pl.col(ARM).min(),
            (pl.col(ARM).max() != pl.col(ARM).min()).alias(MIXED),
            pl.col(BEFORE).any(),
            *out,
            *(pl.col(g).drop_nulls().min() for g in groups),
        )
        .collect(engine="streaming")
    )
    values = [pl.col(shared[c.source, c.how, c.pre].name).alias(c.name) for c in wanted]
    values = [
        pl.when(BEFORE).then(value).alias(c.name) if c.pre else value
        for c, value in zip(wanted, values, strict=True)
    ]
    return table.select(UNIT, ARM, MIXED, *values, *groups)


def part(column: Column) -> pl.Expr:
    """What a row that counts adds to a column."""
    if column.how == "first":
        return pl.col(column.source).cast(pl.Float64).fill_nan(None).alias(column.name)
    value = pl.lit(1.0) if column.how == "rows" else pl.col(column.source).cast(pl.Float64)
    if column.how == "any":  # what is not a number must not count as above 0: infinite, it is refused later
        value = pl.when(value.is_nan()).then(np.inf).otherwise((value > 0).cast(pl.Float64))
    return value.alias(column.name)


def _masked(column: Column, after: pl.Expr, before: pl.Expr, dated: bool) -> pl.Expr:
    """The same, and 0 for a row that does not count."""
    value = part(column)
    if column.how == "first" or not (dated or column.pre):
        return value
    return pl.when(before if column.pre else after).then(value).otherwise(0.0).alias(column.name)


def _total(column: Column) -> pl.Expr:
    if column.how == "first":
        return pl.col(column.name).drop_nulls().min()
    whole = pl.col(column.name)
    return whole.max().fill_null(0.0) if column.how == "any" else whole.sum()


def _require(lazy: pl.LazyFrame, design: Design) -> None:
    schema = lazy.collect_schema()
    dated = design.start or design.end or design.exposure
    dates = [name for name in (design.day, design.exposure) if name and dated]
    numbers = {c.source for c in columns(design) if c.how != "rows"} | {m.source for m in design.metrics}
    needed = {design.unit, design.arm, *design.strata, *design.cohorts, *dates, *numbers}
    missing = sorted(needed - set(schema.names()))
    if missing:
        raise BadInput(f"the frame lacks {', '.join(missing)}: name the columns in the design, or add them")
    wrong = [name for name in dates if not isinstance(schema[name], pl.Date | pl.Datetime)]
    if wrong:
        raise BadInput(f"column {', '.join(wrong)} is neither a date nor a time: cast it")
    for name in sorted(numbers):
        if not (schema[name].is_numeric() or schema[name] in (pl.Boolean, pl.Null)):
            raise BadInput(f"column {name} holds {schema[name]}, not numbers: cast it")
