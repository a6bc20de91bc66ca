"""The gate's rules on made-up listeners: each stops what it should, names itself, and holds its error."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bandits.ope.frame import Target
from experiments.analysis.analyse import analyse
from experiments.analysis.design import Design, Metric
from experiments.assign import assign_many
from experiments.config import Config
from experiments.running import checked
from experiments.source import Source, Sources
from recsys.errors import BadInput
from serving.gating.canary import METRICS, Judged, due, judge
from serving.gating.margins import ruled
from serving.gating.off_policy import judged as judged_off_policy
from serving.gating.record import Check, State, stage
from serving.gating.settings import CanarySettings, GateSettings, Guard, OffPolicySettings
from serving.gating.trial import Plan, document

START = date(2026, 3, 2)
DAY = 86_400_000
BEGIN = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp() * 1000)
SETTINGS = GateSettings()


def lived(
    days: int, units: int = 2000, reward: float = 1.0, seed: int = 0, **challenger: float
) -> tuple[pl.DataFrame, list[tuple[int, int]]]:
    """Units of both arms from the first day on; `reward` and others are the challenger's factors."""
    rng = np.random.default_rng(seed)
    arm = np.arange(units) % 2
    parts = []
    for day in range(days):
        shown = rng.poisson(3, units).astype(float)
        played = rng.binomial(shown.astype(int), 0.4).astype(float)
        factor = np.where(arm == 1, reward, 1.0)
        skips = np.minimum(0.25 * np.where(arm == 1, challenger.get("skips", 1.0), 1.0), 1.0)
        failing = np.where(arm == 1, challenger.get("failed", 0.0), 0.0)
        slow = np.where(arm == 1, challenger.get("slow", 0.01), 0.01)
        parts.append(
            pl.DataFrame(
                {
                    "unit": np.arange(units),
                    "arm": np.array(["champion", "challenger"])[arm],
                    "exposed_day": [START] * units,
                    "day": [START + timedelta(days=day)] * units,
                    "reward": factor * played * rng.gamma(2, 0.25, units),
                    "shown": shown,
                    "shown_skipped": rng.binomial(played.astype(int), skips).astype(float),
                    "shown_played": played,
                    "hours": rng.gamma(1, 1, units) * np.where(arm == 1, challenger.get("hours", 1.0), 1.0),
                    "days": np.ones(units),
                    "answers": np.ones(units),
                    "failed": (rng.random(units) < failing).astype(float),
                    "slow": (rng.random(units) < slow).astype(float),
                }
            )
        )
    return pl.concat(parts), [(units - units // 2, units // 2)]


def after(days: int, chosen: GateSettings = SETTINGS, **more: float) -> Judged:
    frame, counts = lived(days, **more)  # type: ignore[arg-type]
    return judge(frame, counts, START, chosen)


def test_settings_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValidationError, match="extra"):
        GateSettings.model_validate({"canary": {"shares": 0.1}})
    with pytest.raises(ValidationError, match="not_worse"):
        GateSettings(goal="not_worse")
    with pytest.raises(ValidationError, match="only grows"):
        CanarySettings(share=0.4, wide_share=0.1)
    with pytest.raises(ValidationError, match="leave a day"):
        CanarySettings(days=13, most_days=14, looks=2)


@pytest.mark.parametrize(
    ("rule", "more"),
    [
        ("canary.guard.reward", {"reward": 0.7}),
        ("canary.guard.skips", {"skips": 1.5}),
        ("canary.guard.hours", {"hours": 0.6}),
        ("canary.guard.failures", {"failed": 0.05}),
        ("canary.guard.failures", {"failed": 1.0}),
        ("canary.guard.slow", {"slow": 0.3}),
    ],
)
def test_each_guard_stops_its_own_harm_and_names_itself(rule: str, more: dict[str, float]) -> None:
    found = after(4, **more)
    assert found.verdict == "stopped"
    assert [c.rule for c in found.checks if c.outcome == "stopped"] == [rule]


def test_an_equal_challenger_goes_on_and_a_much_better_one_is_promoted_at_the_first_look() -> None:
    assert after(4).verdict == "running"
    assert after(14).verdict == "not_shown"
    first, last = due(START, SETTINGS.canary)
    assert (first - START).days + 1 < (last - START).days + 1 == SETTINGS.canary.most_days
    assert after((first - START).days, reward=1.3).verdict == "running"
    better = after((first - START).days + 1, reward=1.3)
    assert better.verdict == "better"
    assert better.checks[-1].rule == "canary.improve"


def test_the_canary_grows_only_when_great_harm_has_been_ruled_out() -> None:
    assert after(3).safe
    # So noisy a comparison that the guard says nothing yet: it does not grow either.
    frame, counts = lived(3, units=120, reward=0.75, seed=3)
    found = judge(frame, counts, START, SETTINGS)
    assert found.verdict == "running"
    assert not found.safe


def test_not_worse_is_another_question_than_better() -> None:
    asked = GateSettings(goal="not_worse", margin=0.1)
    assert after(14, asked).verdict == "better"
    assert after(14, asked).checks[-1].rule == "canary.not_worse"
    assert after(14, asked, units=400, reward=0.9, seed=2).verdict != "better"


def test_a_wrong_sample_ratio_stops_before_anything_is_read() -> None:
    frame, _ = lived(5, reward=1.5)
    found = judge(frame, [(300, 250), (1000, 800)], START, SETTINGS)
    assert found.verdict == "stopped"
    assert [c.rule for c in found.checks] == ["canary.sample_ratio"]


def test_the_effect_is_that_of_the_experiments_analysis() -> None:
    frame, _ = lived(9, reward=1.1)
    found = after(9, reward=1.1).effects["reward"]
    own = METRICS["reward"]
    metric = Metric(name="reward", kind="ratio", numerator=own.numerator, denominator=own.denominator)
    plan = Design(
        metrics=(metric,), control="champion", treatments=("challenger",), unit="unit", adjustment="none"
    )
    [effect] = analyse(frame, plan).effects
    assert found["difference"] == pytest.approx(effect.effect, rel=1e-12)
    assert found["se"] == pytest.approx(effect.se, rel=1e-12)


@pytest.mark.slow
def test_equal_challengers_are_promoted_no_more_often_than_alpha() -> None:
    chosen = GateSettings(alpha=0.1)
    runs = 200
    promoted = sum(after(14, chosen, units=300, seed=seed).verdict == "better" for seed in range(runs))
    assert promoted <= 0.1 * runs + 2.6 * np.sqrt(runs * 0.1 * 0.9)  # 99.5% of runs of a rule that holds


@given(
    base=st.floats(0.01, 10),
    gap=st.floats(-1, 1),
    half=st.floats(0, 2),
    margin=st.floats(0.01, 0.5),
)
@settings(max_examples=200, deadline=None)
def test_a_margin_is_passed_only_by_an_interval_above_it(
    base: float, gap: float, half: float, margin: float
) -> None:
    found = ruled("r", "x", base, gap, gap - half, gap + half, margin).outcome
    assert (found == "passed") == (gap - half > -margin * base)
    if found == "unclear":  # then no interval of that width could have passed around no difference
        assert half > margin * base
        assert gap + half >= 0


def logs(rows: int, shift: float, target_of: float, seed: int = 0) -> tuple[pl.DataFrame, np.ndarray]:
    """Two items, the second worth `shift` more; logged evenly, the target takes the second with `target_of`."""
    rng = np.random.default_rng(seed)
    item = rng.integers(0, 2, rows)
    frame = pl.DataFrame(
        {
            "request_id": np.arange(rows),
            "listener": np.arange(rows) // 4,
            "item": item,
            "propensity": np.full(rows, 0.5),
            "reward": rng.normal(1 + shift * item, 0.5),
        }
    )
    return frame, np.where(item == 1, target_of, 1 - target_of)


def test_off_policy_passes_what_is_no_worse_stops_what_is_and_says_when_it_cannot_tell() -> None:
    def outcome(rows: int, shift: float, target_of: float, margin: float = 0.1) -> Check:
        frame, target = logs(rows, shift, target_of)
        return judged_off_policy(frame, Target("t", target), OffPolicySettings(margin=margin))

    assert outcome(4000, 0.5, 0.9).outcome == "passed"
    stopped = outcome(4000, 0.5, 0.1)
    assert (stopped.outcome, stopped.rule) == ("stopped", "off_policy.value")
    assert outcome(300, 0.5, 1.0).outcome == "unclear"  # 150 effective decisions: refused
    assert "no estimate" in outcome(300, 0.5, 1.0).sentence
    assert outcome(410, 0.0, 0.95, 0.02).outcome == "unclear"  # estimated, and wider than the margin


def test_both_arms_of_a_canary_that_grows_stay_alike_and_nobody_changes_arms() -> None:
    small = Plan("ranker", "3", "2", BEGIN, 0.05, 0.5, 14, 2, 0.05)
    wide = Plan(**{**vars(small), "wide": BEGIN + 3 * DAY})
    ids = [f"listener-{i}" for i in range(20_000)]

    def arms(plan: Plan, day: float) -> np.ndarray:
        config = Config.model_validate(document(plan))
        return assign_many(config, ids, BEGIN + int(day * DAY))[plan.experiment]

    before, later, after_ = arms(small, 1), arms(small, 5), arms(wide, 5)
    assert (before == later).all()  # it does not grow by itself
    assert [(before == a).mean() for a in (0, 1)] == pytest.approx([0.05, 0.05], abs=0.006)
    assert [(after_ == a).mean() for a in (0, 1)] == pytest.approx([0.5, 0.5], abs=0.015)
    assert (after_[before >= 0] == before[before >= 0]).all()
    ended = Plan(**{**vars(wide), "stopped": BEGIN + 4 * DAY})
    assert (arms(ended, 5) == -1).all()
    text = Source.parse(yaml.safe_dump(document(wide)), Path("gate.yaml"))
    running = Config.model_validate(document(small))
    assert checked(Sources((text,)), None, running, BEGIN + 4 * DAY).version  # allowed while it runs


def test_a_state_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    state = State("r", "1", "2", {"1": "a", "2": "b"}, GateSettings(seed=4), BEGIN)
    state.found(stage("smoke", BEGIN, [Check("smoke.loads", "passed", "whole", {"x": 1.5})]))
    state.write(tmp_path / "state.json")
    assert State.read(tmp_path / "state.json") == state
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(BadInput, match="no state of a gate"):
        State.read(tmp_path / "state.json")


def test_a_stage_stops_before_it_is_unclear_and_guards_know_only_metrics_that_there_are() -> None:
    checks = [Check("a", "unclear", ""), Check("b", "stopped", ""), Check("c", "passed", "")]
    found = stage("s", 0, checks)
    assert found.outcome == "stopped"
    assert found.stopped_by is checks[1]
    with pytest.raises(ValidationError):
        Guard(metric="happiness")  # type: ignore[arg-type]
