"""The analysis as it stood after each day: effect and variance per look, for sequential methods and plots over time.

for look in looks(frame, design): look.day, look.metric, look.effect, look.se, look.information
A look equals analyse() with `end` set to its day, caps and covariates included; rows are read once, running totals
are kept per unit, and each look costs one pass over the units in numpy. Quantile metrics have no looks.
A sequential test needs one estimand at all looks: totals grow with every day, so give it ratios per day or per play.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from experiments.analysis.analyse import term
from experiments.analysis.columns import Column, columns
from experiments.analysis.design import Design
from experiments.analysis.estimate import Pair, compare
from experiments.analysis.moments import F64
from experiments.analysis.plan import make_plan
from experiments.analysis.summary import Summary, summarise_table
from experiments.analysis.units import MIXED, UNIT, Frame, counts, part, rows_of, unit_table

ENTERED, DAY = "__entered", "__day"


@dataclass(frozen=True)
class Look:
    """One metric and treatment at the end of one day."""

    day: date
    metric: str
    arm: str
    pair: Pair

    @property
    def units(self) -> int:
        """Of the two arms compared."""
        return self.pair.n_control + self.pair.n_treatment

    @property
    def effect(self) -> float:
        return self.pair.effect

    @property
    def se(self) -> float:
        return self.pair.se

    @property
    def information(self) -> float:
        """1 / variance: over that of the planned end, the information fraction."""
        return 1 / self.pair.variance if self.pair.variance > 0 else 0.0


def looks(frame: Frame, design: Design) -> list[Look]:
    """All looks, by day, metric and treatment; days on which an arm has fewer than two units are left out.

    Units seen in two arms by the end are left out of every look.

    Raises:
        BadInput: a column is missing, or holds values that are not finite.
    """
    found = []
    for day, whole in summaries(frame, design):
        if min(m.n for m in whole.arms) < 2:
            continue
        for metric in (m for m in design.metrics if m.kind != "quantile"):
            chosen = term(design, metric, whole.plan)
            for arm, moments in zip(design.treatments, whole.arms[1:], strict=True):
                pair = compare(whole.arms[0], moments, chosen, design.adjustment)
                found.append(Look(day, metric.name, arm, pair))
    return found


def summaries(frame: Frame, design: Design) -> Iterator[tuple[date, Summary]]:
    """Each day of the experiment with the moments up to it."""
    table = unit_table(frame, design).filter(~pl.col(MIXED)).sort(UNIT)
    running = [c for c in columns(design) if not c.pre and c.how != "first"]
    daily = _daily(frame, design, running, table)
    entered = table.select(UNIT).join(_entries(frame, design), on=UNIT, how="left", maintain_order="left")
    total = np.zeros((table.height, len(running)))
    for day in _days(entered, daily, design):
        if day in daily:
            _add(total, running, *daily[day])
        now = table.with_columns(pl.Series(c.name, total[:, i]) for i, c in enumerate(running))
        now = now.filter(entered[ENTERED] <= day)
        yield day, summarise_table(now, design, make_plan(now, design))


def _add(total: F64, running: list[Column], rows: np.ndarray, values: F64) -> None:
    """Adds one day: sums grow, "any" keeps the greatest. A unit has one row a day here."""
    for i, column in enumerate(running):
        old, new = total[rows, i], values[:, i]
        total[rows, i] = np.maximum(old, new) if column.how == "any" else old + new


def _daily(
    frame: Frame, design: Design, running: list[Column], table: pl.DataFrame
) -> dict[date, tuple[np.ndarray, F64]]:
    """Per day: which rows of the table, and what the day adds to them."""
    lazy = rows_of(frame, design)
    lazy = lazy.filter(counts(design, lazy.collect_schema()))
    order = table.lazy().select(UNIT).with_row_index("row")
    grouped = (
        lazy.select(
            pl.col(design.unit).alias(UNIT),
            pl.col(design.day).cast(pl.Date).alias(DAY),
            *(part(c) for c in running),
        )
        .group_by(DAY, UNIT)
        .agg(pl.col(c.name).max() if c.how == "any" else pl.col(c.name).sum() for c in running)
        .join(order, on=UNIT)
        .collect(engine="streaming")
    )
    names = [c.name for c in running]
    return {
        day: (rows["row"].to_numpy(), rows.select(pl.col(names).fill_null(0.0)).to_numpy())
        for (day,), rows in grouped.partition_by(DAY, as_dict=True).items()
    }


def _entries(frame: Frame, design: Design) -> pl.DataFrame:
    """The day from which each unit is in: its first row, or its exposure where that is later."""
    seen = pl.col(design.day).cast(pl.Date).min()
    if design.exposure is not None:
        seen = pl.max_horizontal(seen, pl.col(design.exposure).cast(pl.Date).min())
    lazy = rows_of(frame, design)
    return lazy.group_by(pl.col(design.unit).alias(UNIT)).agg(seen.alias(ENTERED)).collect(engine="streaming")


def _days(entered: pl.DataFrame, daily: dict[date, tuple[np.ndarray, F64]], design: Design) -> list[date]:
    days = set(daily) | set(entered[ENTERED].drop_nulls().to_list())
    return sorted(day for day in days if design.start is None or day >= design.start)
