"""The listener's local day and week: for how long a list stays, and from which moment its history is cut."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from recsys.types import local_time


@dataclass(frozen=True)
class Period:
    """One day or week of a listener."""

    name: str  # 2026-03-01 or 2026-W09; later periods sort after earlier ones of their kind
    start: int  # UTC ms of its first moment


def day(now: int, tz: str) -> Period:
    """The local calendar day at a UTC time."""
    local = local_time(now, tz)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    return Period(f"{local:%Y-%m-%d}", int(midnight.timestamp() * 1000))


def week(now: int, tz: str) -> Period:
    """The local ISO week (from Monday) at a UTC time."""
    local = local_time(now, tz)
    year, number, weekday = local.isocalendar()
    monday = local.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=weekday - 1)
    return Period(f"{year}-W{number:02d}", int(monday.timestamp() * 1000))
