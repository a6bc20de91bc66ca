"""Correlations of looks that share units: from units' influence, against estimates drawn again and again."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from experiments.analysis.design import Cap, Design, Margin, Metric
from experiments.analysis.looks import Look, looks
from experiments.sequential.looks import Look as Seen
from experiments.sequential.rule import parse

START = date(2026, 5, 8)
DAYS = [START + timedelta(d) for d in (1, 4, 9)]
DESIGN = Design(
    metrics=(
        Metric(name="a_day", kind="ratio", numerator="minutes", denominator="here"),
        Metric(name="plain", kind="ratio", numerator="minutes", denominator="here", covariates=()),
        Metric(name="total", column="minutes", cap=Cap(high=60.0)),
        Metric(name="held", column="minutes", margin=Margin(relative=0.5), covariates=()),
    ),
    control="off",
    treatments=("on",),
    start=START,
)


def _world(seed: int, units: int = 120) -> pl.DataFrame:
    """Five days before the start and ten after; levels last, a tenth of the listeners a day goes silent for good."""
    rng = np.random.default_rng(seed)
    unit, day = (v.ravel() for v in np.meshgrid(np.arange(units), np.arange(-5, 10), indexing="ij"))
    level, end = 5 + 2 * rng.normal(size=units), rng.geometric(0.1, units)
    entry = rng.integers(0, 3, units)
    return pl.DataFrame(
        {
            "user_id": unit,
            "arm": np.array(["off", "on"])[unit % 2],
            "day": [START + timedelta(int(d)) for d in day],
            "minutes": (level[unit] + rng.normal(size=len(unit))) * (day < end[unit]),
            "here": 1.0,
            "entry": entry[unit],
        }
    ).filter((pl.col("day") < START) | ((pl.col("day") - START).dt.total_days() >= pl.col("entry")))


def _of(found: list[Look], metric: str) -> list[Look]:
    return [look for look in found if look.metric == metric and look.day in DAYS]


def test_correlations_of_looks_are_those_of_estimates_drawn_again() -> None:
    told: dict[str, list[list[float]]] = {m.name: [] for m in DESIGN.metrics}
    drawn: dict[str, list[list[float]]] = {m.name: [] for m in DESIGN.metrics}
    for seed in range(100):
        found = looks(_world(seed), DESIGN, linked=DAYS)
        for name, rows in told.items():
            linked = _of(found, name)
            rows.append([*linked[1].correlations, *linked[2].correlations])
            share = 0.5 if name == "held" else 0.0
            drawn[name].append([k.pair.treatment - (1 - share) * k.pair.control for k in linked])
    for name, rows in told.items():
        seen = np.corrcoef(np.array(drawn[name]).T)
        wanted = [seen[0, 1], seen[0, 2], seen[1, 2]]
        assert np.mean(rows, axis=0) == pytest.approx(wanted, abs=0.13), name


def test_a_look_correlates_with_itself_and_only_linked_days_are_told() -> None:
    frame = _world(1)
    found = looks(frame, DESIGN, linked=DAYS)
    assert [len(look.correlations) for look in _of(found, "plain")] == [0, 1, 2]
    assert all(not look.correlations for look in found if look.day not in DAYS)
    assert [(a.day, a.pair) for a in looks(frame, DESIGN)] == [(b.day, b.pair) for b in found]
    for look in found:
        assert all(0 < r < 1 for r in look.correlations)


def test_a_rule_takes_the_correlations_as_they_come() -> None:
    found = _of(looks(_world(2), DESIGN, linked=DAYS), "a_day")
    rule = parse({"kind": "group_sequential", "calendar": True, "spending": "pocock"})
    history = [
        Seen(k.units, k.effect, k.se, time=t, correlations=k.correlations)
        for k, t in zip(found, (0.2, 0.5, 1.0), strict=True)
    ]
    verdict = rule.look(history)
    assert verdict.stop
    assert verdict.p is not None
