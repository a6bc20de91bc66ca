"""What floors of re-ranking gave, from the Decisions of a home: slots asked for, and by how many they fell short.

A Decision says its policy's floors by name (`new0.1`, `tail0.1`: RerankSettings.label) and by how many slots each fell
short on a shelf. A floor may fall short because nothing fits, or because it would have cost more than its bound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import orjson
import polars as pl

from recsys.evaluation.creators import NEW_DAYS
from recsys.schemas import EventKind

_FLOOR = re.compile(r"(new|tail)(\d*\.?\d+)")


@dataclass(frozen=True)
class FloorFigures:
    """Of the answers at the full rung.

    Attributes:
        asked: share of the slots of a shelf that each floor asks for; the largest among the answers.
        met: share of answers in which no shelf fell short of it.
        short: mean slots by which an answer fell short.
        new_slots: share of all sent slots whose track was released within 30 days.
    """

    answers: int
    asked: dict[str, float] = field(default_factory=dict)
    met: dict[str, float] = field(default_factory=dict)
    short: dict[str, float] = field(default_factory=dict)
    new_slots: float | None = None


def floors(
    events: pl.LazyFrame, tracks: pl.DataFrame, since: datetime, until: datetime, surface: str
) -> FloorFigures:
    """From the logged answers of a surface in [since, until)."""
    ts = pl.col("ts")
    payloads = (
        events.filter(
            pl.col("kind") == EventKind.DECISION.value, ts >= since, ts < until, pl.col("surface") == surface
        )
        .select("ts", "payload")
        .collect(engine="streaming")
    )
    released = dict(tracks.select("track_id", "release_date").iter_rows())
    asked: dict[str, float] = {}
    short: dict[str, list[int]] = {"new": [], "tail": []}
    new, slots, answers = 0, 0, 0
    for at, payload in payloads.iter_rows():
        answer: dict[str, Any] = orjson.loads(payload)
        if answer["rung"] != "full":
            continue
        answers += 1
        own = {name: float(share) for name, share in _FLOOR.findall(answer["policy"])}
        for name, share in own.items():
            asked[name] = max(share, asked.get(name, 0.0))
            lacking = [n for where, n in answer.get("short", {}).items() if where.endswith(f":{name}")]
            short[name].append(sum(lacking))
        for slot in answer["slots"]:
            day = released.get(slot["track_id"])
            slots += 1
            new += isinstance(day, date) and 0 <= (at.date() - day).days < NEW_DAYS
    return FloorFigures(
        answers,
        asked,
        {name: sum(not n for n in short[name]) / len(short[name]) for name in asked},
        {name: sum(short[name]) / len(short[name]) for name in asked},
        new / slots if slots else None,
    )
