"""Baselines from the lake: made-up logs of known mean, sd and correlation; what a report of the same days finds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest

from experiments.config import Config
from experiments.parameters import Space
from experiments.planning import plan
from experiments.report.baseline import Past, measured
from experiments.report.build import build
from recsys.errors import BadInput
from recsys.schemas import EVENTS, conform
from serving.settings import ServiceSettings

START = datetime(2026, 5, 11, tzinfo=UTC)
DAYS, BEFORE = 10, 10
METRICS = [
    {"name": "listened", "kind": "mean", "direction": "increase", "column": "hours"},
    {"name": "saver", "kind": "proportion", "direction": "increase", "column": "saves"},
    {
        "name": "back",
        "kind": "mean",
        "direction": "increase",
        "column": "hours",
        "window": {"first": 2, "last": 4},
    },
]
ONCE = {"rule": "fixed"}


def config(question: dict[str, Any] | None = None, **changes: Any) -> Config:
    asked = {"primary": "listened", "mde": 0.05, "pre_days": BEFORE, "stopping": ONCE, **(question or {})}
    arms = [{"name": "control", "weight": 0.5}, {"name": "treatment", "weight": 0.5}]
    body = {"name": "t", "salt": "t", "arms": arms, "question": asked, "start": START}
    body |= {"stop": START + timedelta(days=DAYS), **changes}
    top = {key: body.pop(key) for key in ("layers", "holdouts", "cohorts") if key in body}
    return Config.model_validate({"metrics": METRICS, "experiments": [body], **top})


def logs(listeners: int = 3000, seed: int = 0, decided: bool = False, first: int = -BEFORE) -> pl.LazyFrame:
    """One play a day of each listener: 1 hour + a habit (sd .2) + a day's whim (sd .5); a quarter saves, half skip."""
    rng = np.random.default_rng(seed)
    habit, saves = rng.normal(1.0, 0.2, listeners), rng.random(listeners) < 0.25
    units = np.array([f"{i:022d}" for i in range(listeners)])
    parts = []
    for day in range(first, DAYS + 1):
        at = START + timedelta(days=day, hours=12)
        hours = habit + rng.normal(0, 0.5, listeners)
        common = {
            "user_id": units,
            "conn_country": np.where(np.arange(listeners) % 4 == 0, "SE", "NO"),
            "device": ["mobile"] * listeners,
        }
        played = {
            "kind": ["play_end"] * listeners,
            "ms_played": (hours * 3_600_000).astype(np.int32),
            "reason_end": ["trackdone"] * listeners,
        }
        here = pl.DataFrame(common | played).with_columns(ts=pl.lit(at))
        parts.append(here if day < DAYS else here.head(3))  # a day that is not over
        if day == 0:
            who = units[saves]
            parts.append(
                pl.DataFrame({"user_id": who, "kind": ["save"] * len(who)}).with_columns(ts=pl.lit(at))
            )
        if decided and 0 <= day < DAYS:
            exposed = [
                orjson.dumps(
                    {"version": "v", "arms": [{"experiment": "t", "arm": arm, "overridden": False}]}
                ).decode()
                for arm in np.where(np.arange(listeners) % 2, "treatment", "control")
            ]
            took = {
                "took_ms": rng.gamma(9.0, 2.0, listeners),
                "exposed": exposed,
                "surface": ["home"] * listeners,
            }
            answer = {"kind": ["decision"] * listeners, "user_id": units} | took
            parts.append(pl.DataFrame(answer).with_columns(ts=pl.lit(at)))
    whole = pl.concat(parts, how="diagonal_relaxed").with_columns(
        day=pl.col("ts").dt.date(), consent_analytics=pl.lit(True)
    )
    return conform(whole, "events").lazy()


def of(config: Config, events: pl.LazyFrame, **how: Any) -> Past:
    return measured(config, config.experiments[0], events, **how)


def test_mean_sd_and_rho_are_those_that_the_log_was_made_with() -> None:
    """A unit's mean day: variance .04 + .25 / 10; with before it shares .04 of it."""
    found = of(config(), logs()).baselines["listened"]
    assert found.mean == pytest.approx(1.0, abs=0.01)
    assert found.sd == pytest.approx(0.065**0.5, rel=0.04)
    assert found.rho == pytest.approx(0.04 / 0.065, abs=0.04)


def test_a_shorter_test_has_noisier_units_and_less_to_adjust_with() -> None:
    found = of(config(), logs(), days=2).baselines["listened"]
    assert found.sd == pytest.approx((0.04 + 0.125) ** 0.5, rel=0.04)
    assert found.rho == pytest.approx(0.04 / (0.165 * 0.065) ** 0.5, abs=0.04)


def test_a_plan_counts_on_the_error_that_the_report_will_have() -> None:
    """The same days split in two arms: se of the report = sd (1 - rho²)^½ (1 / n + 1 / m)^½, metric by metric."""
    rails = [{"metric": "latency", "margin": 5.0, "scale": "absolute"}]
    one = config({"secondary": ["saver", "back"], "guardrails": rails})
    events = logs(decided=True)
    past = of(one, events)
    read = build(one, "t", events, START + timedelta(days=DAYS))
    assert {row.metric for row in read.metrics} == {"listened", "saver", "back", "latency"}
    for row in read.metrics:
        base, effect = past.baselines[row.metric], row.effect
        left = 1 - (base.rho or 0.0) ** 2
        arms = 1 / effect.n_control + 1 / effect.n_treatment
        rel = (
            0.2 if row.metric == "latency" else 0.04
        )  # a quantile's error is known by its own noisy estimate
        assert effect.se == pytest.approx(base.sd * (left * arms) ** 0.5, rel=rel), row.metric
        assert effect.variance_reduction == pytest.approx(1 - left, abs=0.02), row.metric


def test_what_does_not_vary_is_left_out_and_said() -> None:
    found = of(config({"guardrails": [{"metric": "complaint_rate", "margin": 0.1}]}), logs(200))
    assert set(found.baselines) == {"listened"}
    assert "complaint_rate: nothing to measure in these days" in found.notes


def test_a_lake_that_is_too_short_says_what_it_could_not_do() -> None:
    found = of(config(), logs(300, first=-3))
    assert "only 3 of the 10 days before are there: CUPED may save more" in found.notes
    assert found.baselines["listened"].rho is not None
    assert found.baselines["listened"].rho < 0.55
    short = of(config(), logs(300), days=60)
    assert short.days == DAYS + BEFORE
    assert "the lake has 20 days, the test would take 60" in short.notes


def test_decisions_say_who_came_and_where_none_are_plays_do() -> None:
    events = logs(400, decided=True)
    only_even = events.filter(
        (pl.col("kind") != "decision") | (pl.col("user_id").str.tail(1).cast(pl.Int8) % 2 == 0)
    )
    assert of(config(), only_even).units == 200
    plays = of(config(), logs(400))
    assert plays.units == 400
    assert any("have no decisions" in note for note in plays.notes)


def test_an_arm_that_reaches_radio_alone_meets_nobody_at_home() -> None:
    arms = [
        {"name": "control", "weight": 0.5},
        {"name": "treatment", "weight": 0.5, "parameters": {"radio.epsilon": 0.2}},
    ]
    space = Space(ServiceSettings(), {"radio": frozenset({"radio"}), "home": frozenset({"home"})})
    with pytest.raises(BadInput, match="0 units came on radio"):
        of(config(arms=arms), logs(50, decided=True), space=space)


def test_targeting_that_events_carry_is_applied_and_the_rest_is_said() -> None:
    asked = {"country": "SE", "platform": {"$in": ["mobile"]}, "tier": "premium"}
    found = of(config(targeting=asked), logs(400))
    assert found.units == 100
    assert "targeting on tier is not applied: events lack it" in found.notes
    nobody = {"$and": [{"country": "SE"}, {"platform": "car"}]}
    with pytest.raises(BadInput, match="0 units"):
        of(config(targeting=nobody), logs(50))
    cohorts = [{"name": "few", "units": [f"{i:022d}" for i in range(30)]}]
    assert of(config(targeting={"id": {"$inGroup": "few"}}, cohorts=cohorts), logs(400)).units == 30


def test_arrivals_are_what_slice_holdout_and_ramp_leave() -> None:
    plain = of(config(), logs(400))
    assert len(plain.arrivals) == DAYS + BEFORE  # as far back as the lake goes
    assert plain.arrivals[0] == plain.arrivals[-1] == 400
    part = of(
        config(
            layers=[{"name": "l"}],
            layer={"name": "l", "start": 0.0, "end": 0.5},
            holdouts=[{"name": "h", "salt": "h", "share": 0.1}],
            ramp=[{"at": START, "share": 0.2}, {"at": START + timedelta(days=3), "share": 1.0}],
        ),
        logs(400),
    )
    assert part.arrivals[:4] == pytest.approx(
        [400 * 0.45 * share for share in (0.2, 0.2, 0.2, 1.0)], rel=1e-3
    )
    assert part.units == 400


def test_new_units_arrive_on_the_day_they_first_come() -> None:
    events = logs(400)
    number = pl.col("user_id").str.to_integer()
    late = events.filter(pl.col("day") >= START.date() + (number % 10) * pl.duration(days=1))
    found = of(config(), late)
    assert found.arrivals == pytest.approx([40.0 * (day + 1) for day in range(DAYS)])
    assert plan(config().experiments[0], found.baselines, found.arrivals).detectable[0].units == 280


def test_who_declined_analytics_is_not_measured() -> None:
    refused = pl.col("user_id") == f"{0:022d}"
    assert of(config(), logs(200).with_columns(consent_analytics=~refused)).units == 199


def test_nothing_is_made_up_of_an_empty_lake() -> None:
    with pytest.raises(BadInput, match="no whole day"):
        of(config(), pl.LazyFrame(schema=EVENTS))
