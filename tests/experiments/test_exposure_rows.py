"""Exposures come back from the lake as they were written, and one damaged row does not sink the others."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import orjson
import polars as pl
import pytest

from experiments.exposure import COLUMNS, exposures
from recsys.lake import Lake
from recsys.schemas import EVENTS, conform

AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
GOOD = {
    "version": "v1",
    "arms": [
        {"experiment": "ranker", "arm": "treatment", "overridden": False},
        {"experiment": "naïve/é", "arm": "b", "overridden": True},
    ],
    "country": None,
    "tier": "free",
    "platform": "mobile",
    "cohort": ["new", "staff"],
}


def decisions(*exposed: str | None, kind: str = "decision") -> pl.DataFrame:
    rows = [
        {
            "kind": kind,
            "user_id": f"u{i}",
            "request_id": f"r{i}",
            "surface": "home",
            "ts": AT,
            "exposed": text,
        }
        for i, text in enumerate(exposed)
    ]
    return conform(pl.DataFrame(rows, infer_schema_length=None), "events")


def test_each_arm_of_a_decision_is_a_row_with_what_targeting_saw() -> None:
    rows = exposures(decisions(orjson.dumps(GOOD).decode(), None).lazy()).collect()
    assert tuple(rows.columns) == COLUMNS
    assert rows.to_dicts() == [
        {
            "experiment": experiment,
            "arm": arm,
            "unit": "u0",
            "unit_kind": "listener",
            "request_id": "r0",
            "surface": "home",
            "at": AT,
            "version": "v1",
            "overridden": overridden,
            "country": None,
            "tier": "free",
            "platform": "mobile",
            "cohort": ["new", "staff"],
        }
        for experiment, arm, overridden in [("ranker", "treatment", False), ("naïve/é", "b", True)]
    ]


BROKEN = [
    "",
    "{",
    "null",
    "[]",
    "3",
    '{"arms": "x"}',
    '{"arms": [[]]}',
    '{"arms": []}',
    '{"arms": [null]}',
    '{"arms": [{"experiment": "ranker", "arm": null}]}',
    '{"arms": [{"experiment": "ranker", "arm": "a", "overridden": "yes"}]}',
    '{"version": {"a": 1}, "arms": [{"experiment": "ranker", "arm": "a"}]}',
    "\x00\ufffd",
    '{"arms": []}, {"arms": []}',
]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_damaged_row_gives_nothing_and_sinks_no_other(streaming: bool) -> None:
    good = orjson.dumps(GOOD).decode()
    mixed = [text for broken in BROKEN for text in (good, broken)] * 7
    rows = exposures(decisions(*mixed).lazy()).collect(engine="streaming" if streaming else "auto")
    assert rows.height == 2 * 7 * len(BROKEN)
    assert set(rows["experiment"]) == {"ranker", "naïve/é"}
    assert set(rows["unit"]) == {f"u{i}" for i in range(0, len(mixed), 2)}


def test_what_the_lake_held_before_there_was_the_column_gives_no_rows(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    old = decisions(None, None).drop("exposed", "took_ms")
    old.write_delta(lake.uri("events"), delta_write_options={"partition_by": ["day"]})
    assert exposures(lake.scan("events")).collect().is_empty()
    lake.append("events", decisions(orjson.dumps(GOOD).decode()))
    assert exposures(lake.scan("events")).collect().height == 2
    assert set(lake.scan("events").collect_schema()) == set(EVENTS)


def test_an_arm_of_a_session_has_the_session_s_id_and_counts_only_where_there_is_one() -> None:
    arms = [{"experiment": "a", "arm": "x", "unit": "session"}, {"experiment": "b", "arm": "y"}]
    text = orjson.dumps({"version": "v1", "arms": arms}).decode()
    events = decisions(text, text).with_columns(session_id=pl.Series(["s0", None]))
    rows = exposures(events.lazy()).collect().sort("request_id", "experiment")
    assert rows.select("experiment", "unit", "unit_kind", "request_id").rows() == [
        ("a", "s0", "session", "r0"),
        ("b", "u0", "listener", "r0"),
        ("b", "u1", "listener", "r1"),
    ]


def test_events_of_other_kinds_give_no_rows() -> None:
    assert exposures(decisions(orjson.dumps(GOOD).decode(), kind="impression").lazy()).collect().is_empty()
