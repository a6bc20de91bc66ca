"""What units did, by day: silent days count, windows are the same days for all, surfaces and consent apart."""

from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from experiments.config import Config
from experiments.question import Metric, Window
from experiments.report.frame import Value, answers, daily, values_of, windowed
from experiments.report.schedule import Schedule
from experiments.report.units import COHORTS
from recsys.errors import BadInput
from recsys.schemas import Surface, conform

FIRST, LAST = date(2026, 5, 10), date(2026, 5, 13)


def events(*rows: dict[str, Any]) -> pl.LazyFrame:
    made = [
        {
            "user_id": "a",
            "ts": datetime(2026, 5, int(row.pop("on")), 12, tzinfo=UTC),
            "kind": "play_end",
            **row,
        }
        for row in rows
    ]
    frame = pl.DataFrame(made, infer_schema_length=None).with_columns(day=pl.col("ts").dt.date())
    return conform(frame, "events").lazy()


def units(**exposed: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "unit": list(exposed),
            "arm": ["control"] * len(exposed),
            "exposed_day": [date(2026, 5, day) for day in exposed.values()],
            **{name: ["x"] * len(exposed) for name in COHORTS},
        }
    )


def test_every_unit_has_every_day_and_silence_is_zero() -> None:
    log = events({"on": 11, "ms_played": 10_000}, {"on": 11, "ms_played": 90_000, "reason_end": "trackdone"})
    values = [Value("plays"), Value("skips"), Value("hours"), Value("active")]
    frame = daily(log, units(a=11, b=12), values, FIRST, LAST)
    assert frame.height == 2 * 4
    row = frame.row(by_predicate=(pl.col("unit") == "a") & (pl.col("day") == date(2026, 5, 11)), named=True)
    assert (row["plays"], row["skips"], row["active"]) == (2, 1, 1)
    assert row["hours"] == pytest.approx(100 / 3600)
    assert frame.filter(pl.col("unit") == "b")["plays"].sum() == 0


def test_only_what_happened_on_the_surfaces_asked_for_counts() -> None:
    log = events(
        {"on": 11, "ms_played": 1, "surface": "home"}, {"on": 11, "ms_played": 1, "surface": "radio"}
    )
    here = Value("plays", (Surface.HOME,))
    frame = daily(log, units(a=11), [here, Value("plays")], FIRST, LAST)
    assert (frame[here.name].sum(), frame["plays"].sum()) == (1, 2)


def test_incognito_events_and_those_without_consent_add_nothing() -> None:
    log = events(
        {"on": 11, "ms_played": 1, "incognito_mode": True},
        {"on": 11, "ms_played": 1, "consent_analytics": False},
        {"on": 11, "ms_played": 1, "consent_analytics": True},
    )
    assert daily(log, units(a=11), [Value("plays")], FIRST, LAST)["plays"].sum() == 1


def test_a_window_is_of_the_same_days_for_every_unit_and_waits_until_they_are_over() -> None:
    log = events({"on": 10, "ms_played": 1}, {"on": 12, "ms_played": 1}, {"on": 13, "ms_played": 1})
    frame = daily(log, units(a=11, b=13), [Value("plays")], FIRST, LAST)
    found = windowed(frame, [Value("plays")], Window(first=1, last=2), LAST)
    assert found["unit"].to_list() == ["a"]
    assert found["plays"].to_list() == [2]
    assert found["plays.before"].to_list() == [1]
    assert found["day"].to_list() == [date(2026, 5, 13)]


def test_answers_are_rows_of_their_own() -> None:
    log = events(
        {"on": 11, "kind": "decision", "took_ms": 20.0},
        {"on": 12, "kind": "decision", "took_ms": 30.0},
        {"on": 12, "kind": "decision"},
    )
    assert sorted(answers(log, units(a=11), Value("latency_ms"), FIRST, LAST)["latency_ms"]) == [20.0, 30.0]


def test_a_metric_names_its_columns() -> None:
    ratio = Metric(name="x", kind="ratio", direction="increase", numerator="reward", denominator="days")
    assert [v.name for v in values_of(ratio)] == ["reward"]


def scheduled(stopping: dict[str, Any], hours: int = 8, days: int = 28, **more: Any) -> Schedule:
    start = datetime(2026, 12, 1, hours, tzinfo=UTC)
    arms = [{"name": "control", "weight": 0.5}, {"name": "new", "weight": 0.5}]
    question = {"primary": "hours", "mde": 0.02, "stopping": stopping | {"days": days}, **more}
    one = {"name": "t", "salt": "t", "arms": arms, "start": start, "question": question}
    return Schedule.of(Config.model_validate({"experiments": [one]}).experiments[0])


def test_a_planned_look_counts_the_whole_days_before_it() -> None:
    looks = scheduled({"rule": "group_sequential", "looks": 4}).looks
    assert [day for _, day in looks] == [date(2026, 12, d) for d in (7, 14, 21, 28)]
    assert [share for share, _ in looks] == [0.25, 0.5, 0.75, 1.0]


def test_looks_of_less_than_a_day_are_refused() -> None:
    with pytest.raises(BadInput, match="whole day"):
        scheduled({"rule": "group_sequential", "looks": 10}, days=5, min_days=0)
