"""From logged events to a verdict: reports of made-up logs whose truth is known."""

from datetime import date, timedelta

import numpy as np
import orjson
import polars as pl
import pytest

from experiments.report.page import page
from recsys.errors import BadInput
from recsys.schemas import EVENTS
from tests.experiments.made_logs import DAYS, SEQUENTIAL, START, config, logs, read
from tests.experiments.page_reader import PageReader


def test_a_better_arm_within_its_guardrails_ships() -> None:
    found = read(config(SEQUENTIAL), logs(lift=0.12))
    assert found.verdict.decision == "ship"
    assert found.verdict.arm == "treatment"
    row = found.row("hours", "treatment")
    assert row.standing == "better"
    assert row.low is not None
    assert row.low > 0
    assert row.effect.lift_interval.low < 0.11 < row.effect.lift_interval.high
    assert row.effect.variance_reduction > 0.3  # habits before the start say much of habits after
    assert found.row("skip_rate", "treatment").standing == "no_worse"
    assert found.sample_ratio is not None
    assert not found.sample_ratio.mismatch


def test_an_equal_arm_does_not_ship_and_says_so() -> None:
    found = read(config(SEQUENTIAL), logs(lift=0.0, seed=3))
    assert found.verdict.decision == "do_not_ship"
    assert found.row("hours", "treatment").standing == "no_difference"
    assert "no difference is shown" in found.verdict.sentence


def test_a_breached_guardrail_stops_a_test_while_it_runs() -> None:
    found = read(config(SEQUENTIAL), logs(lift=0.12, skips=0.6), day=9)
    assert found.state == "running"
    assert found.verdict.decision == "do_not_ship"
    assert found.row("skip_rate", "treatment").standing == "breached"
    assert "Stop it now" in found.verdict.sentence


def test_units_that_get_lost_in_one_arm_forbid_reading_anything() -> None:
    found = read(config(SEQUENTIAL), logs(lift=0.12, lost=0.25))
    assert found.verdict.decision == "broken"
    assert found.sample_ratio is not None
    assert found.sample_ratio.first is not None


def test_between_looks_nothing_is_decided() -> None:
    events = logs(lift=0.12)
    early, later = read(config(SEQUENTIAL), events, day=5), read(config(SEQUENTIAL), events, day=8)
    assert early.verdict.decision == "keep_running"
    assert early.verdict.next_look == (START + timedelta(days=6)).date().isoformat()
    assert early.row("hours", "treatment").low is None
    assert [p.planned for p in later.row("hours", "treatment").trail] == [d == 6 for d in range(8)]


def test_what_a_look_said_stays_as_it_was_when_more_days_come() -> None:
    events = logs(lift=0.02)
    middle, end = (read(config(SEQUENTIAL), events, day=day) for day in (10, DAYS))
    first = [next(p for p in r.row("hours", "treatment").trail if p.planned) for r in (middle, end)]
    assert first[0] == first[1]


def test_a_test_read_once_shows_no_interval_before_its_end() -> None:
    events = logs(lift=0.12)
    fixed = config({"rule": "fixed"})
    assert read(fixed, events, day=10).row("hours", "treatment").low is None
    end = read(fixed, events).row("hours", "treatment")
    assert end.standing == "better"
    assert end.p == end.effect.p_adjusted


def test_an_always_valid_test_may_be_read_on_any_day() -> None:
    found = read(config({"rule": "always_valid"}, min_days=1), logs(lift=0.15), day=11)
    row = found.row("hours", "treatment")
    assert row.standing == "better"
    assert row.kind == "always valid"
    stop = next(i for i, point in enumerate(row.trail) if point.outcome == "higher")
    assert [p.planned for p in row.trail[1:]] == [i <= stop for i in range(1, len(row.trail))]
    assert row.trail[stop].low is not None
    assert row.trail[stop].low > 0


def test_no_worse_is_a_question_of_its_own() -> None:
    asked = config(SEQUENTIAL, margin=0.1)
    equal, worse = read(asked, logs(seed=3)), read(asked, logs(lift=-0.15))
    assert equal.verdict.decision == "ship"
    assert equal.row("hours", "treatment").standing == "no_worse"
    assert worse.verdict.decision == "do_not_ship"
    assert "it is not shown to be no worse" in worse.verdict.sentence


def test_units_that_a_person_put_into_an_arm_are_left_out_and_counted() -> None:
    found = read(config(SEQUENTIAL), logs(overridden=7))
    assert found.left_out == {"put into an arm by a person": 7}
    assert sum(arm.units for arm in found.arms) == 1200 - 7 - _never(1200)


def _never(listeners: int) -> int:
    """Listeners who came after the end."""
    rng = np.random.default_rng(0)
    rng.random(listeners), rng.random(listeners), rng.gamma(2.0, 1.5, listeners)
    return int((rng.geometric(0.4, listeners) - 1 >= DAYS).sum())


def test_retention_counts_listeners_whose_second_week_is_over() -> None:
    asked = config(SEQUENTIAL, guardrails=[{"metric": "retention", "margin": 0.05}])
    early, late = read(asked, logs(), day=12), read(asked, logs())
    assert any("retention" in warning for warning in early.warnings)
    assert "retention" not in {row.metric for row in early.metrics}
    row = late.row("retention", "treatment")
    assert 0.9 < row.effect.control_value <= 1.0


def test_latency_is_a_quantile_of_answers() -> None:
    asked = config(SEQUENTIAL, guardrails=[{"metric": "latency", "margin": 5.0, "scale": "absolute"}])
    row = read(asked, logs()).row("latency", "treatment")
    assert row.standing == "no_worse"
    assert 30 < row.effect.control_value < 40  # the 99th percentile of a gamma(9, 2)


def test_events_without_consent_to_analytics_leave_their_unit_out() -> None:
    unit = f"{0:022d}"
    refused = pl.col("user_id") == unit
    events = logs().with_columns(consent_analytics=~refused)
    assert read(config(SEQUENTIAL), events).left_out == {"without consent to analytics": 1}


def test_a_page_comes_of_every_report() -> None:
    for day, stopping in (
        (5, SEQUENTIAL),
        (DAYS, SEQUENTIAL),
        (9, {"rule": "always_valid"}),
        (3, {"rule": "fixed"}),
    ):
        found = read(config(stopping), logs(listeners=400), day=day)
        assert found.verdict.sentence in PageReader(page(orjson.loads(found.to_json()))).text


def test_a_flag_and_a_test_that_has_not_begun_have_no_report() -> None:
    with pytest.raises(BadInput, match="starts at 2026-05-11"):
        read(config(SEQUENTIAL), logs(listeners=10), day=-1)


def test_an_empty_log_says_that_nobody_came() -> None:
    found = read(config(SEQUENTIAL), pl.LazyFrame(schema=EVENTS))
    assert found.verdict.decision == "no_data"
    assert found.data_until.startswith(str(date(2026, 5, 25)))
