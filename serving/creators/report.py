"""Whose music a home showed: by tier, territory, label and age, how evenly, through time, and what its floors gave.

found = creators(home, since, until); found.to_dict(); picture(found)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from recsys.errors import BadInput, NotReady
from recsys.evaluation.creators import Book, Concentration, Group, by_day, concentration, groups, seen
from recsys.home import Home
from recsys.ingest import caught_up
from serving.creators.floors import FloorFigures, floors


@dataclass(frozen=True)
class Creators:
    """See recsys/evaluation/creators.py for what each part says."""

    surface: str
    since: datetime
    until: datetime
    slots: int
    listeners: int
    artists: int
    tiers: list[Group]
    territories: list[Group]
    labels: list[Group]
    ages: list[Group]
    even: Concentration
    days: pl.DataFrame
    floors: FloorFigures

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        body = {k: v for k, v in vars(self).items() if k not in ("days", "even", "floors")}
        for kind in ("tiers", "territories", "labels", "ages"):
            body[kind] = [asdict(group) for group in body[kind]]
        return body | {
            "concentration": asdict(self.even),
            "floors": asdict(self.floors),
            "days": self.days.to_dicts(),
        }


def creators(
    home: Home,
    since: datetime | None = None,
    until: datetime | None = None,
    surface: str = "home",
    labels: pl.DataFrame | None = None,
) -> Creators:
    """From the home's log and lake.

    Args:
        since, until: when slots were looked at; by default the last seven days of the log that hold any.
        labels: artist_id and label.

    Raises:
        NotReady: nothing was looked at on that surface in that time.
    """
    events, tracks = logged(home)
    since, until = period(events, since, until, surface)
    slots = seen(events, tracks, since, until, surface)
    if not len(slots):
        raise NotReady(f"nothing was looked at on {surface} between {since:%Y-%m-%d} and {until:%Y-%m-%d}")
    book = Book.of(events, tracks, since, until, labels)
    return Creators(
        surface,
        since,
        until,
        len(slots),
        slots["user_id"].n_unique(),
        len(book.artists),
        groups(slots, book, "tier"),
        groups(slots, book, "territory"),
        groups(slots, book, "label"),
        groups(slots, book, "age"),
        concentration(slots, book),
        by_day(slots, book),
        floors(events, tracks, since, until, surface),
    )


def logged(home: Home) -> tuple[pl.LazyFrame, pl.DataFrame]:
    """Events of the log and the lake that may be analysed, and the catalog's tracks.

    Raises:
        NotReady: the home has none.
    """
    lake = caught_up(home)
    if not (lake.has("events") and lake.has("tracks")):
        raise NotReady(f"{home.root} holds no events or no catalog: import or simulate some first")
    may = pl.col("consent_analytics").fill_null(True) & ~pl.col("incognito_mode").fill_null(False)
    return lake.scan("events").filter(may), lake.scan("tracks").collect()


def period(
    events: pl.LazyFrame, since: datetime | None, until: datetime | None, surface: str
) -> tuple[datetime, datetime]:
    """What was asked for, or the seven days that end with the last slot that was looked at.

    Raises:
        NotReady: nothing was ever looked at there. BadInput: the end is not after the beginning.
    """
    if until is None or since is None:
        shown = events.filter(pl.col("kind") == "impression", pl.col("surface") == surface)
        last = shown.select(pl.col("ts").max()).collect().item()
        if not isinstance(last, datetime):
            raise NotReady(f"nothing was ever looked at on {surface}: serve it, or simulate a log")
        until = until or last.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        since = since or until - timedelta(days=7)
    if since >= until:
        raise BadInput(f"--since {since:%Y-%m-%d} has to be before --until {until:%Y-%m-%d}")
    return since, until
