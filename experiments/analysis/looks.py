"""The analysis as it stood after each day: effect and variance per look, for sequential methods and plots over time.

for look in looks(frame, design): look.day, look.metric, look.effect, look.se, look.information
A look equals analyse() with `end` set to its day, caps and covariates included; rows are read once, running totals
are kept per unit, and each look costs one pass over the units in numpy. Quantile metrics have no looks.
A sequential test needs one estimand at all looks: totals grow with every day, so give it ratios per day or per play.
The same units bring every look, so looks are correlated in their own way: name the days that a group-sequential rule
looks at as `linked`, and hand their correlations on to it; of a metric with a relative margin they are those of what
is tested, treatment - (1 - margin) control.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from experiments.analysis.analyse import term
from experiments.analysis.columns import Column, columns
from experiments.analysis.design import Design
from experiments.analysis.effects import control_weight
from experiments.analysis.estimate import Pair, Term, compare, influences
from experiments.analysis.moments import F64
from experiments.analysis.plan import make_plan
from experiments.analysis.summary import Summary, matrix, summarise_table
from experiments.analysis.units import ARM, MIXED, UNIT, Frame, counts, part, rows_of, unit_table

ENTERED, DAY = "__entered", "__day"


@dataclass(frozen=True)
class Look:
    """One metric and treatment at the end of one day."""

    day: date
    metric: str
    arm: str
    pair: Pair
    correlations: tuple[
        float, ...
    ] = ()  # of what is tested with that of the earlier linked looks, oldest first

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


def looks(frame: Frame, design: Design, linked: Collection[date] = ()) -> list[Look]:
    """All looks, by day, metric and treatment; days on which an arm has fewer than two units are left out.

    Units seen in two arms by the end are left out of every look. Looks of `linked` days tell their correlations with
    one another, from the units' own influence on each; that keeps a number a unit for each of them.

    Raises:
        BadInput: a column is missing, or holds values that are not finite.
    """
    found: list[Look] = []
    kept: dict[tuple[str, str], list[F64]] = {}
    for day, whole, now, here in summaries(frame, design):
        if min(m.n for m in whole.arms) < 2:
            continue
        values = matrix(now, design, whole.plan)[1] if day in linked else None
        for metric in (m for m in design.metrics if m.kind != "quantile"):
            chosen = term(design, metric, whole.plan)
            for number, arm in enumerate(design.treatments, 1):
                pair = compare(whole.arms[0], whole.arms[number], chosen, design.adjustment)
                correlations: tuple[float, ...] = ()
                if values is not None and pair.variance > 0:
                    pulls = np.zeros(len(here))
                    share = None if metric.margin is None else metric.margin.relative
                    weight = control_weight(share, metric.direction, pair.control)
                    pulls[here] = _pulls(values, now[ARM].to_numpy(), whole, design, chosen, number, weight)
                    correlations = _correlations(kept.setdefault((metric.name, arm), []), pulls)
                found.append(Look(day, metric.name, arm, pair, correlations))
    return found


def _pulls(
    values: F64,
    units: np.ndarray,
    whole: Summary,
    design: Design,
    chosen: Term,
    number: int,
    weight: float,
) -> F64:
    """How much each unit (n,) moves one treatment's value less `weight` times the control's; the squares sum to the
    variance, nearly. `units` (n,) are the units' arms."""
    out = np.zeros(len(units))
    arms = (whole.arms[0], whole.arms[number])
    for sign, place, m, weights in zip(
        (-weight, 1.0), (0, number), arms, influences(*arms, chosen, design.adjustment), strict=True
    ):
        own = units == place
        out[own] = sign / m.n * ((values[own] - m.mean) @ weights)
    return out


def _correlations(kept: list[F64], pulls: F64) -> tuple[float, ...]:
    """With each of those kept, which it joins."""
    pulls = pulls / np.sqrt(pulls @ pulls)
    found = tuple(float(np.clip(pulls @ earlier, -1, 1)) for earlier in kept)
    kept.append(pulls)
    return found


def summaries(frame: Frame, design: Design) -> Iterator[tuple[date, Summary, pl.DataFrame, np.ndarray]]:
    """Each day of the experiment with the moments up to it, the units that are in by then, and which of all they
    are."""
    table = unit_table(frame, design).filter(~pl.col(MIXED)).sort(UNIT)
    running = [c for c in columns(design) if not c.pre and c.how != "first"]
    daily = _daily(frame, design, running, table)
    entered = table.select(UNIT).join(_entries(frame, design), on=UNIT, how="left", maintain_order="left")
    total = np.zeros((table.height, len(running)))
    for day in _days(entered, daily, design):
        if day in daily:
            _add(total, running, *daily[day])
        now = table.with_columns(pl.Series(c.name, total[:, i]) for i, c in enumerate(running))
        here = (entered[ENTERED] <= day).fill_null(False)
        now = now.filter(here)
        yield day, summarise_table(now, design, make_plan(now, design)), now, here.to_numpy()


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
