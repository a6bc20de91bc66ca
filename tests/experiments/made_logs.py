"""Made-up logs whose truth is known, the config of a test over them, and its report.

read(config({"rule": "fixed"}), logs(lift=0.1)).verdict
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
import polars as pl

from experiments.config import Config
from experiments.report.build import build
from experiments.report.record import Report
from recsys.schemas import conform

START = datetime(2026, 5, 11, tzinfo=UTC)
DAYS = 14
BEFORE = 14


def config(
    stopping: dict[str, Any],
    start: datetime = START,
    metrics: tuple[dict[str, Any], ...] = (),
    **question: Any,
) -> Config:
    """A test of two weeks; `question` adds to what it asks, or replaces it."""
    asked = {
        "primary": "hours",
        "secondary": ["saves"],
        "guardrails": [{"metric": "skip_rate", "margin": 0.10}],
        "mde": 0.05,
        "stopping": stopping,
        **question,
    }
    return Config.model_validate(
        {
            "metrics": [{"name": "saves", "kind": "mean", "direction": "increase"}, *metrics],
            "experiments": [
                {
                    "name": "ranker",
                    "salt": "ranker",
                    "start": start,
                    "stop": start + timedelta(days=DAYS),
                    "arms": [
                        {"name": "control", "weight": 0.5},
                        {"name": "treatment", "weight": 0.5, "release": "challenger"},
                    ],
                    "question": asked,
                }
            ],
        }
    )


def logs(
    listeners: int = 1200,
    lift: float = 0.0,
    skips: float = 0.0,
    lost: float = 0.0,
    seed: int = 0,
    overridden: int = 0,
    at_once: bool = False,
) -> pl.LazyFrame:
    """Events of listeners with habits of their own: `lift` of the minutes a play lasts in treatment, `skips` more of
    them skipped, a share of treated units `lost` before they are logged; `at_once`: all come on the first day."""
    rng = np.random.default_rng(seed)
    treated = rng.random(listeners) < 0.5
    seen = ~treated | (rng.random(listeners) >= lost)
    habit, first = rng.gamma(2.0, 1.5, listeners), rng.geometric(0.4, listeners) - 1
    first = np.zeros(listeners, np.int64) if at_once else first
    units = np.array([f"{i:022d}" for i in range(listeners)])
    parts = []
    for day in range(-BEFORE, DAYS):
        plays = rng.poisson(habit)
        who = np.repeat(np.arange(listeners), plays)
        on = treated[who] & (day >= first[who])
        skipped = rng.random(len(who)) < 0.25 * (1 + skips * on)
        minutes = np.where(skipped, 0.2, rng.gamma(4.0, 0.8, len(who)) * (1 + lift * on) + 0.5)
        at = START + timedelta(days=day, hours=12)
        parts.append(
            pl.DataFrame(
                {
                    "kind": np.where(rng.random(len(who)) < 0.1, "save", "play_end"),
                    "user_id": units[who],
                    "ms_played": (minutes * 60_000).astype(np.int32),
                    "reason_end": np.where(skipped, "fwdbtn", "trackdone"),
                }
            ).with_columns(ts=pl.lit(at))
        )
        asked = np.flatnonzero(seen & (first <= day) & (day >= 0))
        arms = np.where(treated[asked], "treatment", "control")
        parts.append(
            pl.DataFrame(
                {
                    "kind": ["decision"] * len(asked),
                    "user_id": units[asked],
                    "request_id": [f"{day}-{i}" for i in asked],
                    "surface": ["home"] * len(asked),
                    "exposed": [
                        exposed(arm, int(i) < overridden, int(i)) for arm, i in zip(arms, asked, strict=True)
                    ],
                    "took_ms": rng.gamma(9.0, 2.0, len(asked)),
                }
            ).with_columns(ts=pl.lit(at))
        )
    whole = pl.concat(parts, how="diagonal_relaxed").with_columns(
        day=pl.col("ts").dt.date(), consent_analytics=pl.lit(True)
    )
    return conform(whole, "events").lazy()


def exposed(arm: str, overridden: bool, number: int) -> str:
    arms = [{"experiment": "ranker", "arm": arm, "overridden": overridden}]
    about = {
        "country": "SE" if number % 3 else "NO",
        "tier": "free",
        "platform": "mobile",
        "cohort": ["known"],
    }
    return orjson.dumps({"version": "0123456789abcdef", "arms": arms, **about}).decode()


def read(config: Config, events: pl.LazyFrame, day: float = DAYS) -> Report:
    return build(config, "ranker", events, START + timedelta(days=day))


SEQUENTIAL = {"rule": "group_sequential", "looks": 2}
