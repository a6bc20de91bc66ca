"""When a report's rule looks, and over what: whole days, from the first week on, and only days the log tells of."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from experiments.report.asked import Asked, asked
from experiments.report.measure import measure
from experiments.report.record import MetricRow
from experiments.report.schedule import Schedule
from experiments.report.trail import Due, Estimate, points
from experiments.report.units import exposed
from experiments.sequential.rule import parse
from tests.experiments.made_logs import DAYS, SEQUENTIAL, START, config, logs, read

FOUR = {"rule": "group_sequential", "looks": 4, "spending": "pocock"}


def looked(row: MetricRow) -> list[int]:
    """The days, from 0, at which its rule looked."""
    return [n for n, point in enumerate(row.trail) if point.planned]


def day(number: int) -> str:
    return (START + timedelta(days=number)).date().isoformat()


def test_a_look_is_not_taken_while_its_last_day_goes_on() -> None:
    events = logs(lift=0.12)
    during, after = read(config(SEQUENTIAL), events, day=6.75), read(config(SEQUENTIAL), events, day=7)
    assert looked(during.row("hours", "treatment")) == []
    assert during.verdict.next_look == day(6)
    assert looked(after.row("hours", "treatment")) == [6]
    always = config({"rule": "always_valid"}, min_days=1)
    assert looked(read(always, logs(), day=2.75).row("hours", "treatment")) == [0, 1]


def test_no_look_is_taken_before_the_first_week_is_over() -> None:
    events = logs(lift=0.12)
    early = read(config(FOUR), events, day=5)
    assert early.row("hours", "treatment").standing == "open"
    assert early.verdict.next_look == day(6)
    assert "no look before 7 days are over" in early.rule
    whole = Schedule.of(config(FOUR).experiments[0]).looks
    assert [at.isoformat() for _, at in whole] == [day(6), day(9), day(13)]
    asked_for = config(FOUR, min_days=2)
    assert read(asked_for, events, day=5).row("hours", "treatment").standing == "better"
    assert len(Schedule.of(asked_for.experiments[0]).looks) == 4


def test_a_rule_for_every_day_begins_after_the_first_week() -> None:
    daily = config({"rule": "always_valid"})
    early, late = read(daily, logs(), day=5), read(daily, logs(), day=10)
    assert looked(early.row("hours", "treatment")) == []
    assert early.verdict.next_look == day(6)
    assert looked(late.row("hours", "treatment")) == [6, 7, 8, 9]
    assert late.verdict.next_look is None


def test_harm_does_not_wait_for_the_week_to_be_over() -> None:
    found = read(config(SEQUENTIAL), logs(skips=0.9), day=3)
    assert found.row("skip_rate", "treatment").standing == "breached"
    assert "Stop it now" in found.verdict.sentence


def test_a_first_look_after_the_end_is_refused() -> None:
    assert config(SEQUENTIAL, min_days=DAYS).experiments[0].planned_days == DAYS
    with pytest.raises(ValueError, match="no look would be left but its end"):
        config(SEQUENTIAL, min_days=DAYS + 1)


def test_a_look_that_no_new_unit_reaches_sees_what_the_last_one_left() -> None:
    """All come on day 0: their windows are over on day 6, and the end is on day 13."""
    metric = {"name": "first_week", "kind": "proportion", "direction": "increase", "column": "active"}
    metrics = (metric | {"window": {"first": 0, "last": 6}},)
    asked_for = config(SEQUENTIAL, metrics=metrics, guardrails=[{"metric": "first_week", "margin": 0.1}])
    row = read(asked_for, logs(listeners=400, at_once=True)).row("first_week", "treatment")
    assert [point.day for point in row.trail] == [day(6), day(13)]
    assert row.standing == "no_worse"


def test_days_that_the_log_does_not_tell_of_are_no_silence_and_no_look() -> None:
    events = logs(lift=0.02)
    cut = events.filter(pl.col("ts") < START + timedelta(days=10))
    found, then = read(config(SEQUENTIAL), cut), read(config(SEQUENTIAL), cut, day=10)
    row = found.row("hours", "treatment")
    assert looked(row) == [6]
    assert row.effect == then.row("hours", "treatment").effect
    assert found.warnings[0] == (
        f"the log holds no event of 4 days, {day(10)} to {day(13)}: no look is taken over them"
    )
    assert not then.warnings
    hole = read(config(SEQUENTIAL), events.filter(pl.col("day") != (START + timedelta(days=3)).date()))
    assert f"no event of {day(3)}: they count as days on which nobody did anything" in hole.warnings[0]


def test_planned_looks_are_judged_by_the_correlations_that_their_units_give_them() -> None:
    """Of every metric, adjusted for what was before or not; with a margin too."""
    whole, events = config(FOUR), logs(lift=0.01)
    experiment = whole.experiments[0]
    schedule = Schedule.of(experiment)
    last = (START + timedelta(days=DAYS - 1)).date()
    units = exposed(events, "ranker", "listener", START, START + timedelta(days=DAYS))
    found = measure(events, units, experiment, asked(whole, experiment), schedule, last)
    report = read(whole, events)
    for name, margin in (("hours", False), ("skip_rate", True)):
        one = found.metrics[name]
        seen = [e for e in one.estimates["treatment"] if e.day in schedule.due(last)]
        assert [len(e.correlations) for e in seen] == [0, 1, 2]
        told, blind = (
            _bounds(estimates, one.asked, schedule.due(last), margin) for estimates in (seen, _blind(seen))
        )
        shown = [p.bound for p in report.row(name, "treatment").trail if p.planned]
        assert shown == pytest.approx(told[: len(shown)])
        if name == "hours":  # the other one stops at its first look
            assert told[1] is not None
            assert told[1] != pytest.approx(blind[1], rel=1e-4)


def _blind(seen: list[Estimate]) -> list[Estimate]:
    return [Estimate(e.day, e.pair) for e in seen]


def _bounds(seen: list[Estimate], asked_for: Asked, due: Due, margin: bool) -> list[float | None]:
    more = {"alpha": 0.025, "alternative": "greater"} if margin else {}
    rule = parse({"kind": "group_sequential", "calendar": True, "spending": "pocock", **more})
    found, _ = points(rule, seen, due, asked_for.margin, asked_for.metric.direction, 0.05)
    return [p.bound for p in found]


def test_what_was_said_of_a_day_stays_as_it_was_when_more_days_come() -> None:
    """Of secondary metrics of an absolute mde too: their tuning knows the level of the primary, not later errors."""
    events = logs(listeners=600, lift=0.02)
    asked_for = config(SEQUENTIAL, mde=0.05, scale="absolute")
    middle, end = (read(asked_for, events, day=n) for n in (10, DAYS))
    for name in ("hours", "saves", "skip_rate"):
        early, late = (r.row(name, "treatment").trail for r in (middle, end))
        for a, b in zip(early, late, strict=False):
            assert a.planned == b.planned
            assert a.bound == (None if b.bound is None else pytest.approx(b.bound, rel=1e-3))


def test_very_many_looks_follow_from_their_standard_errors_alone() -> None:
    many = config({"rule": "group_sequential", "information": [n / 50 for n in range(1, 51)]}, min_days=0)
    one = many.experiments[0].model_copy(update={"stop": START + timedelta(days=50)})
    schedule = Schedule.of(one)
    last = (START + timedelta(days=5)).date()
    units = exposed(logs(listeners=200), "ranker", "listener", START, START + timedelta(days=6))
    found = measure(logs(listeners=200), units, one, asked(many, one), schedule, last)
    assert not any(e.correlations for e in found.metrics["hours"].estimates["treatment"])
