"""A verdict's words, its intervals and the page's figures agree: no "better" beside an interval over zero."""

from __future__ import annotations

from datetime import timedelta

import pytest

from experiments.config import Config
from experiments.report.build import hypothesis
from experiments.report.judge import reach
from experiments.report.record import Power, Report
from tests.experiments.made_logs import DAYS, SEQUENTIAL, START, config, logs, read

FIXED = {"rule": "fixed"}


def power(report: Report) -> Power:
    return report.power[0][1]


@pytest.mark.parametrize(("seed", "lift"), [(0, 0.03), (1, 0.045), (3, 0.06)])
def test_a_test_read_once_is_better_exactly_where_its_interval_leaves_zero_out(
    seed: int, lift: float
) -> None:
    """Its end is at 08:00: days until the last whole one count, in the estimate and in the decision."""
    asked_for = config(FIXED, start=START + timedelta(hours=8), secondary=["saves", "complaint_rate"])
    later = read(asked_for, logs(listeners=300, lift=lift, seed=seed), day=DAYS + 3)
    for row in later.metrics:
        if row.margin is not None or row.p is None:
            continue
        shown = row.standing in ("better", "worse")
        assert row.low is not None
        assert row.high is not None
        assert shown == (row.low > 0 or row.high < 0) == (row.p <= 0.05)
        last = row.trail[-1]
        assert (last.low, last.high, last.day) == (
            row.low,
            row.high,
            str((START + timedelta(days=13)).date()),
        )
        assert (last.outcome in ("higher", "lower")) == shown
        assert last.effect == pytest.approx(row.effect.effect)


def test_the_last_day_of_a_test_is_its_planned_length_whatever_the_hour_it_began_at() -> None:
    asked_for = config(SEQUENTIAL, start=START + timedelta(hours=8))
    end = read(asked_for, logs(listeners=200), day=DAYS + 2)
    assert (end.days, end.planned_days) == (DAYS, DAYS)
    assert read(asked_for, logs(listeners=200), day=1.2).days == 1


def test_a_breached_guardrail_shows_the_interval_that_breaches() -> None:
    found = read(config(SEQUENTIAL), logs(lift=0.12, skips=0.6), day=9)
    row = found.row("skip_rate", "treatment")
    assert row.standing == "breached"
    assert row.margin is not None
    assert row.low is not None
    assert row.margin < row.low <= row.estimate
    assert row.high is None
    assert row.p == row.breach_p
    assert "skip_rate is worse than its margin: +" in row.sentence
    assert "(at least +" in row.sentence


def test_estimate_and_interval_of_a_guardrail_are_of_the_same_look() -> None:
    found = read(
        config(SEQUENTIAL, guardrails=[{"metric": "saves", "margin": 0.02}], secondary=[]), logs(), day=12
    )
    row = found.row("saves", "treatment")
    look = next(point for point in row.trail if point.planned)
    assert row.estimate == pytest.approx(look.effect)
    assert row.low is not None
    assert row.low < row.estimate


def test_the_question_names_the_harm_of_a_metric_that_shall_fall() -> None:
    asked_for = config(SEQUENTIAL, primary="skip_rate", guardrails=[], margin=0.05)
    assert "raise skip_rate against control by less than 5.0%" in _asked(asked_for)
    assert "lower hours against control by less than 5.0%" in _asked(config(SEQUENTIAL, margin=0.05))


def _asked(config: Config) -> str:
    return hypothesis(config, config.experiments[0])


def test_the_chance_to_end_well_is_of_a_change_for_the_better() -> None:
    """Fewer skips are better: a test that is on the way there is likely to show it."""
    asked_for = config(SEQUENTIAL, primary="skip_rate", guardrails=[], mde=0.15)
    good, bad = (power(read(asked_for, logs(skips=skips), day=6)) for skips in (-0.12, 0.12))
    assert good.conditional is not None
    assert bad.conditional is not None
    assert good.conditional > 0.95
    assert bad.conditional < 0.5


def test_the_chance_of_no_worse_is_of_the_margin_and_no_difference() -> None:
    narrow, wide = (config(SEQUENTIAL, margin=margin) for margin in (0.01, 0.25))
    events = logs(seed=3)
    assert (power(read(wide, events, day=6)).conditional or 0) > 0.99
    assert (power(read(narrow, events, day=6)).conditional or 1) < 0.5


def test_treatments_that_share_the_error_need_a_larger_effect() -> None:
    question = config(SEQUENTIAL).experiments[0].question
    assert question is not None
    assert reach(question) == pytest.approx(1.95996 + 0.84162, abs=1e-4)
    assert reach(question, treatments=2) == pytest.approx(2.24140 + 0.84162, abs=1e-4)


def test_the_interval_of_one_look_is_of_the_question_s_alpha() -> None:
    events = logs(listeners=300)
    wide, narrow = (read(config(SEQUENTIAL, alpha=alpha), events, day=3) for alpha in (0.01, 0.2))
    reach = [r.row("hours", "treatment").trail[-1] for r in (wide, narrow)]
    assert (reach[0].naive_high - reach[0].effect) / reach[0].se == pytest.approx(2.5758, abs=1e-4)
    assert (reach[1].naive_high - reach[1].effect) / reach[1].se == pytest.approx(1.2816, abs=1e-4)


def test_what_ended_before_its_first_look_says_that_nothing_could_be_read() -> None:
    raw = config(FIXED).model_dump(mode="json")
    raw["experiments"][0]["stopped"] = (START + timedelta(days=9)).isoformat()
    found = read(Config.model_validate(raw), logs(lift=0.12))
    assert (found.state, found.verdict.decision) == ("stopped", "do_not_ship")
    assert "it ended before anything could be read" in found.verdict.sentence
    assert "no difference" not in found.verdict.sentence


def test_a_good_effect_without_a_safe_guardrail_is_told_in_the_tense_of_the_test() -> None:
    asked_for = config(SEQUENTIAL, guardrails=[{"metric": "skip_rate", "margin": 0.01}])
    events = logs(lift=0.12)
    running, over = (read(asked_for, events, day=day).verdict for day in (8, DAYS))
    assert (running.decision, over.decision) == ("keep_running", "do_not_ship")
    assert "is shown to be better, but skip_rate is not yet shown to be within its margin" in running.sentence
    assert "is shown to be better, but skip_rate is not shown to be within its margin" in over.sentence


def test_only_a_breach_says_stop_it_now() -> None:
    metric = {"name": "breached_plays", "kind": "mean", "direction": "decrease", "column": "hours"}
    asked_for = config(SEQUENTIAL, metrics=(metric,), primary="breached_plays", guardrails=[], secondary=[])
    found = read(asked_for, logs(listeners=600, lift=0.3), day=9)
    assert found.verdict.decision == "do_not_ship"
    assert "Stop it now" not in found.verdict.sentence
