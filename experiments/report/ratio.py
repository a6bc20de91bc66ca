"""Whether the arms got the units that they should, day by day; and where a mismatch sits."""

from __future__ import annotations

from datetime import date, datetime

import numpy as np
import polars as pl

from experiments.experiment import Experiment
from experiments.report import record
from experiments.report.units import COHORTS
from experiments.sequential.sample_ratio import ALPHA, Sequential, concentration_for, diagnose, sequential

Epoch = tuple[datetime | None, tuple[float, ...]]


def sample_ratio(experiment: Experiment, units: pl.DataFrame, order: tuple[str, ...]) -> record.SampleRatio:
    """A sequential check of new units by arm, at every day; `units`: arm, exposed_at, exposed_day and the cohorts.

    Where weights changed under way, units are held against the weights of the time at which they came, each such
    time is checked by itself, and the times share the error (Bonferroni). The check is tuned to the units so far, anew
    in each report: over 28 daily reports 0.05% of correct splits or fewer raise the alarm (alpha is 0.1%).
    """
    epochs = _epochs(experiment, order)
    share = ALPHA / len(epochs)
    days: list[record.RatioDay] = []
    found: list[tuple[Sequential, tuple[float, ...], pl.DataFrame, list[date]]] = []
    expected, total = np.zeros(len(order)), np.zeros(len(order), int)
    for (begin, weights), end in zip(epochs, [*[at for at, _ in epochs[1:]], None], strict=True):
        here = _between(units, begin, end)
        if not here.height:
            continue
        counts, at = _daily(here, order)
        tuned = concentration_for(float(counts[-1].sum()), share)
        check = sequential(counts, weights, share, tuned)
        found.append((check, weights, here, at))
        for n, day in enumerate(at):
            p = sequential(counts[: n + 1], weights, share, tuned).p
            days.append(_day(day, total + counts[n], min(1.0, p * len(epochs))))
        total = total + counts[-1]
        expected += counts[-1].sum() * np.asarray(weights) / sum(weights)
    alarms = [(at[c.first], here, w) for c, w, here, at in found if c.first is not None]
    planned = tuple(float(x) for x in expected / expected.sum())
    low, high = _limits(found, len(order))
    return record.SampleRatio(
        mismatch=bool(alarms),
        p=min([1.0, *(min(1.0, c.p * len(epochs)) for c, *_ in found)]),
        alpha=ALPHA,
        planned=planned,
        counts=tuple(int(n) for n in total),
        low=low,
        high=high,
        days=tuple(days),
        first=str(alarms[0][0]) if alarms else None,
        segments=_segments(alarms[0][1], alarms[0][2], order) if alarms else (),
        sentence=_sentence(bool(alarms), total, planned, order),
    )


def _sentence(mismatch: bool, counts: np.ndarray, planned: tuple[float, ...], order: tuple[str, ...]) -> str:
    shares = ", ".join(
        f"{name} {n / counts.sum():.1%} of {w:.1%} planned"
        for name, n, w in zip(order, counts, planned, strict=True)
    )
    if mismatch:
        return f"The arms did not get the units that they should: {shares}. Do not read the effects."
    return f"The arms got the units that they should: {shares}."


def _epochs(experiment: Experiment, order: tuple[str, ...]) -> list[Epoch]:
    """From when on which weights hold, in the report's order of arms; coverage moves nobody between arms."""
    place = [[arm.name for arm in experiment.arms].index(name) for name in order]
    out: list[Epoch] = []
    for at, _, weights in experiment.history():
        now = tuple(weights[i] for i in place)
        if not out or out[-1][1] != now:
            out.append((at, now))
    return out


def _between(units: pl.DataFrame, begin: datetime | None, end: datetime | None) -> pl.DataFrame:
    if begin is not None:
        units = units.filter(pl.col("exposed_at") >= begin)
    return units if end is None else units.filter(pl.col("exposed_at") < end)


def _daily(units: pl.DataFrame, order: tuple[str, ...]) -> tuple[np.ndarray, list[date]]:
    """Cumulative counts (days, arms) at each day with new units, and the days."""
    new = units.group_by("exposed_day").agg((pl.col("arm") == name).sum().alias(name) for name in order)
    new = new.sort("exposed_day")
    return new.select(order).to_numpy().cumsum(axis=0), new["exposed_day"].to_list()


def _day(day: date, counts: np.ndarray, p: float) -> record.RatioDay:
    return record.RatioDay(str(day), tuple(int(n) for n in counts), p)


def _limits(
    found: list[tuple[Sequential, tuple[float, ...], pl.DataFrame, list[date]]], arms: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Limits of each arm's share, of the newest weights' time."""
    if not found:
        return (0.0,) * arms, (1.0,) * arms
    return found[-1][0].low, found[-1][0].high


def _segments(
    units: pl.DataFrame, weights: tuple[float, ...], order: tuple[str, ...]
) -> tuple[record.Segment, ...]:
    """The levels of the cohorts, and the days, in which the mismatch shows most."""
    tables: dict[str, tuple[int, ...]] = {}
    for name in (*COHORTS, "exposed_day"):
        levels = units.group_by(pl.col(name).cast(pl.String).fill_null("(none)").alias("level")).agg(
            (pl.col("arm") == arm).sum().alias(arm) for arm in order
        )
        tables |= {f"{name}: {row[0]}": row[1:] for row in levels.iter_rows()}
    worst = diagnose(tables, weights)[:8]
    return tuple(record.Segment(s.name, s.counts, s.p, s.rest_p) for s in worst if s.p < 0.05)
