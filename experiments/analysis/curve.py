"""Novelty and primacy: the effect by days since a unit's first exposure, and a test of its trend.

curve = effect_curve(frame, design, metric, horizon=14)
curve.slope.p_value             # a falling effect is novelty, a rising one primacy (learning)
Only units followed for the whole horizon count, the same on every day: else later days are of other (earlier, keener)
units. Days of one unit are alike, so the trend's error uses the full covariance over days, taken from moments.
Method: a contrast of correlated estimates; on the question itself Hohnhold, O'Brien & Tang, KDD 2015.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from experiments.analysis.columns import own
from experiments.analysis.design import Design, Metric
from experiments.analysis.effects import Inference, Interval, infer
from experiments.analysis.estimate import influence
from experiments.analysis.moments import F64, Moments
from experiments.analysis.units import ARM, MIXED, UNIT, Frame, counts, part, rows_of
from recsys.errors import BadInput

AGE, ORIGIN = "__age", "__origin"


@dataclass(frozen=True)
class Point:
    """The effect on one day since exposure (0 is the first)."""

    age: int
    effect: float
    se: float
    interval: Interval
    interval_adjusted: Interval  # simultaneous over the days (Bonferroni)


@dataclass(frozen=True)
class Curve:
    """Points and trend of one treatment; `slope` per day, `log_slope` per unit of log(1 + age)."""

    metric: str
    arm: str
    n_control: int
    n_treatment: int
    points: tuple[Point, ...]
    slope: Inference
    log_slope: Inference


def effect_curve(frame: Frame, design: Design, metric: Metric, horizon: int) -> tuple[Curve, ...]:
    """One curve per treatment, over `horizon` days from exposure (without an exposure column: from the first row).

    Raises:
        BadInput: a horizon below 3 days, a quantile metric, or fewer than two fully followed units in an arm.
    """
    if horizon < 3 or metric.kind == "quantile":
        raise BadInput("a curve needs a horizon of at least 3 days, and a metric that is not a quantile")
    arm, names, values = _by_age(frame, design, metric, horizon)
    moments = [Moments.of(names, values[arm == i]) for i in range(len(design.arms))]
    few = [name for name, m in zip(design.arms, moments, strict=True) if m.n < 2]
    if few:
        raise BadInput(f"no units followed for {horizon} days in arm {', '.join(few)}: shorten the horizon")
    control = _estimates(moments[0], metric, horizon)
    return tuple(
        _curve(design, metric, name, moments[0].n, m.n, control, _estimates(m, metric, horizon))
        for name, m in zip(design.treatments, moments[1:], strict=True)
    )


def _curve(
    design: Design,
    metric: Metric,
    arm: str,
    n_control: int,
    n_treatment: int,
    control: tuple[F64, F64],
    treatment: tuple[F64, F64],
) -> Curve:
    effect, cov = treatment[0] - control[0], treatment[1] + control[1]
    level = design.confidence
    df = float(min(n_control, n_treatment) - 1)
    days = len(effect)
    points = []
    for age in range(days):
        se = math.sqrt(cov[age, age])
        plain = infer(float(effect[age]), se, df, level)
        wide = infer(float(effect[age]), se, df, 1 - (1 - level) / days)
        points.append(Point(age, plain.effect, se, plain.interval, wide.interval))
    ages = np.arange(days, dtype=float)
    slopes = [_trend(x, effect, cov, df, level) for x in (ages, np.log1p(ages))]
    return Curve(metric.name, arm, n_control, n_treatment, tuple(points), *slopes)


def _trend(x: F64, effect: F64, cov: F64, df: float, confidence: float) -> Inference:
    off = x - x.mean()
    weights = off / (off @ off)
    return infer(float(weights @ effect), math.sqrt(weights @ cov @ weights), df, confidence)


def _estimates(m: Moments, metric: Metric, horizon: int) -> tuple[F64, F64]:
    """One arm's value per age and their covariance."""
    pairs = [influence(m, f"y{age}", f"d{age}" if metric.kind == "ratio" else None) for age in range(horizon)]
    weights = np.array([w for _, w in pairs])
    return np.array([v for v, _ in pairs]), weights @ m.covariance @ weights.T / m.n


def _by_age(
    frame: Frame, design: Design, metric: Metric, horizon: int
) -> tuple[np.ndarray, tuple[str, ...], F64]:
    """Arm per unit, column names, and (units, ages) values (numerators, then denominators); silent days are 0."""
    lazy = rows_of(frame, design)
    after, day = counts(design, lazy.collect_schema()), pl.col(design.day).cast(pl.Date)
    last = design.end or lazy.select(day.max()).collect().item()
    if last is None:
        raise BadInput("no rows of these arms: check the design's arms and the frame")
    units = _followed(lazy, design, after, last - timedelta(days=horizon - 1))
    wanted = own(metric)
    rows = (
        lazy.filter(after)
        .select(pl.col(design.unit).alias(UNIT), day.alias(AGE), *(part(c) for c in wanted))
        .join(units.lazy(), on=UNIT)
        .with_columns((pl.col(AGE) - pl.col(ORIGIN)).dt.total_days())
        .filter(pl.col(AGE).is_between(0, horizon - 1))
        .group_by("row", AGE)
        .agg(pl.col(c.name).max() if c.how == "any" else pl.col(c.name).sum() for c in wanted)
        .collect(engine="streaming")
    )
    values = np.zeros((units.height, len(wanted) * horizon))
    for i, column in enumerate(wanted):
        values[rows["row"].to_numpy(), i * horizon + rows[AGE].to_numpy()] = rows[column.name].to_numpy()
    if not np.isfinite(values).all():
        raise BadInput(f"values that are not finite numbers in {metric.name}: mend or drop those rows")
    names = tuple(f"{letter}{age}" for letter in "yd"[: len(wanted)] for age in range(horizon))
    return units[ARM].to_numpy(), names, values


def _followed(lazy: pl.LazyFrame, design: Design, after: pl.Expr, latest: date) -> pl.DataFrame:
    """Units in one arm whose first day is early enough to be followed to the end: __unit, __arm, __origin, row."""
    day = pl.col(design.day).cast(pl.Date)
    first = pl.col(design.exposure).cast(pl.Date) if design.exposure else pl.when(after).then(day)
    return (
        lazy.select(pl.col(design.unit).alias(UNIT), ARM, first.alias(ORIGIN))
        .group_by(UNIT)
        .agg(pl.col(ARM).min(), (pl.col(ARM).max() != pl.col(ARM).min()).alias(MIXED), pl.col(ORIGIN).min())
        .filter(~pl.col(MIXED), pl.col(ORIGIN) <= latest)
        .collect(engine="streaming")
        .with_row_index("row")
    )
