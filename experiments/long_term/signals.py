"""Short-term signals of listeners: one row each, of their first days and of the days before.

told = Told.of(lake.scan("events"), units, lake.read("tracks"))
frame = signals(told, units, days=7)         # unit and SIGNALS
outcome = returned(told, units, 7, 28)       # unit, return_days, back

`units` has `unit` and `exposed_day`, the day from which on the policy under test can act; day 0 is that day.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from recsys.rewards import RewardWeights
from recsys.schemas import STREAM_MS, EventKind, Surface

RECENT_DAYS = 3.0
"""Half-life of `mood`, in days on which the listener played."""
BEFORE_DAYS = 7
"""Days before the exposure that are read: fixed before the policy acted."""
_W = RewardWeights()

SIGNALS: dict[str, str] = {
    "active": "days with a play",
    "late_active": "days with a play in the second half",
    "sessions": "sessions",
    "quiet": "days since the last play, at the end",
    "longest_gap": "the longest stretch of days without a play",
    "plays": "plays",
    "hours": "hours played",
    "streams": "plays of 30 s or more",
    "finishes": "plays to the end",
    "skips": "plays ended before 30 s",
    "saves": "tracks saved",
    "follows": "artists followed",
    "not_interested": "tracks dismissed",
    "tracks": "different tracks",
    "artists": "different artists",
    "new_tracks": "tracks not played in the days before",
    "new_artists": "artists not played in the days before",
    "pages": "home pages opened",
    "seen": "home slots looked at",
    "home_plays": "plays from home",
    "home_streams": "of those, 30 s or more",
    "home_finishes": "of those, to the end",
    "mood": "reward of a play, saves on top, recent days of playing counting more; the days before included",
    "before_active": "days with a play, in the days before",
    "before_plays": "plays, in the days before",
    "before_finishes": "plays to the end, in the days before",
    "before_skips": "plays ended before 30 s, in the days before",
}


@dataclass(frozen=True)
class Told:
    """What a service is told of some listeners, by day since their exposure (negative: before it).

    Attributes:
        plays: unit, day, session, track, artist (null where unknown), ms, finished, home.
        marks: unit, day, what (saves, follows, not_interested, pages, seen), count.
    """

    plays: pl.DataFrame
    marks: pl.DataFrame

    @classmethod
    def of(cls, events: pl.LazyFrame, units: pl.DataFrame, tracks: pl.DataFrame | None = None) -> Told:
        """From rows of `events`; those without consent to analytics, and incognito ones, tell nothing.

        Args:
            units: `unit` (user_id) and `exposed_day`. tracks: the catalog's, for the artist of a play.
        """
        usable = (
            events.filter(
                pl.col("consent_analytics").fill_null(True), ~pl.col("incognito_mode").fill_null(False)
            )
            .join(
                units.lazy().select(pl.col("unit").alias("user_id"), "exposed_day"),
                on="user_id",
                maintain_order="left",
            )
            .with_columns(
                unit=pl.col("user_id"),
                age=(pl.col("ts").dt.date() - pl.col("exposed_day")).dt.total_days().cast(pl.Int32),
            )
        )
        kind = {each: pl.col("kind") == each.value for each in EventKind}
        marks = pl.concat(
            [
                _marks(usable.filter(kind[EventKind.FOLLOW]), "follows"),
                _marks(usable.filter(kind[EventKind.NOT_INTERESTED]), "not_interested"),
                _marks(_home(usable).filter(kind[EventKind.IMPRESSION]), "seen"),
                _marks(_home(usable).filter(kind[EventKind.IMPRESSION]).unique("request_id"), "pages"),
                _marks(usable.filter(kind[EventKind.SAVE]), "saves"),
            ]
        )
        return cls(_plays(usable.filter(kind[EventKind.PLAY_END]), tracks), marks.collect())


def _home(events: pl.LazyFrame) -> pl.LazyFrame:
    return events.filter(pl.col("surface") == Surface.HOME.value)


def _marks(events: pl.LazyFrame, what: str) -> pl.LazyFrame:
    return (
        events.group_by("unit", pl.col("age").alias("day"))
        .len("count")
        .select("unit", "day", pl.lit(what).alias("what"), "count")
    )


def _plays(events: pl.LazyFrame, tracks: pl.DataFrame | None) -> pl.DataFrame:
    artist = pl.col("artist_id")
    if tracks is not None:
        of = tracks.lazy().select("track_id", pl.col("artist_id").alias("by")).unique("track_id")
        events = events.join(of, on="track_id", how="left", maintain_order="left")
        artist = pl.col("artist_id").fill_null(pl.col("by"))
    return events.select(
        "unit",
        pl.col("age").alias("day"),
        pl.col("session_id").alias("session"),
        pl.col("track_id").alias("track"),
        artist.alias("artist"),
        pl.col("ms_played").fill_null(0).alias("ms"),
        (pl.col("reason_end") == "trackdone").fill_null(False).alias("finished"),
        (pl.col("surface") == Surface.HOME.value).fill_null(False).alias("home"),
    ).collect()


def signals(told: Told, units: pl.DataFrame, days: int = 7) -> pl.DataFrame:
    """One row a unit, in the order of `units`: `unit` and the columns of SIGNALS, over days 0..days-1.

    A unit that did nothing has zeros, was quiet all the time, and has no mood (null).
    """
    plays = told.plays.lazy().filter(pl.col("day").is_between(-BEFORE_DAYS, days - 1))
    inside = pl.col("day") >= 0
    done, stream = pl.col("finished"), pl.col("finished") | (pl.col("ms") >= STREAM_MS)
    home = inside & pl.col("home")
    counts = plays.group_by("unit").agg(
        plays=inside.sum(),
        sessions=pl.col("session").filter(inside).n_unique(),
        hours=pl.col("ms").filter(inside).sum() / 3_600_000,
        streams=(inside & stream).sum(),
        finishes=(inside & done).sum(),
        skips=(inside & ~stream).sum(),
        tracks=pl.col("track").filter(inside).n_unique(),
        artists=pl.col("artist").filter(inside).n_unique(),
        home_plays=home.sum(),
        home_streams=(home & stream).sum(),
        home_finishes=(home & done).sum(),
        before_plays=(~inside).sum(),
        before_finishes=(~inside & done).sum(),
        before_skips=(~inside & ~stream).sum(),
    )
    parts = [
        counts,
        _by_day(plays, days),
        _mood(plays, told.marks.lazy()),
        *(_first_time(plays, name) for name in ("track", "artist")),
        _marked(told.marks.lazy(), days),
    ]
    found = units.lazy().select("unit")
    for part in parts:
        found = found.join(part, on="unit", how="left", maintain_order="left")
    blank = {"quiet": days, "longest_gap": days}
    return (
        found.with_columns(
            pl.col(name).fill_null(blank.get(name, 0)).cast(pl.Float64) for name in SIGNALS if name != "mood"
        )
        .select("unit", *SIGNALS)
        .collect()
    )


def returned(told: Told, units: pl.DataFrame, days: int = 7, horizon: int = 28) -> pl.DataFrame:
    """One row a unit: `return_days`, days with a play after the first `days` and before `horizon`, and `back`,
    whether there was one in the last `days` of them."""
    by_day = (
        told.plays.lazy().filter(pl.col("day").is_between(days, horizon - 1)).select("unit", "day").unique()
    )
    sums = by_day.group_by("unit").agg(
        return_days=pl.len(), back=(pl.col("day") >= horizon - days).any().cast(pl.Float64)
    )
    found = units.lazy().select("unit").join(sums, on="unit", how="left", maintain_order="left")
    return found.with_columns(pl.col("return_days", "back").fill_null(0).cast(pl.Float64)).collect()


def _by_day(plays: pl.LazyFrame, days: int) -> pl.LazyFrame:
    """Days with a play, and the gaps between them."""
    active = plays.select("unit", pl.col("day").cast(pl.Int32)).unique().sort("unit", "day")
    inside = pl.col("day") >= 0
    here = pl.col("day").filter(inside)
    between = here.diff().max().fill_null(0) - 1
    return active.group_by("unit").agg(
        active=inside.sum(),
        late_active=(pl.col("day") >= (days + 1) // 2).sum(),
        before_active=(~inside).sum(),
        quiet=days - 1 - here.max(),
        longest_gap=pl.max_horizontal(between, here.min(), days - 1 - here.max()),
    )


def _mood(plays: pl.LazyFrame, marks: pl.LazyFrame) -> pl.LazyFrame:
    """Rewards by recsys.rewards' weights, of all plays; a day's saves count on top of its plays."""
    finished = pl.col("finished")
    stream = finished | (pl.col("ms") >= STREAM_MS)
    # Counts first, days in order: the same to the last bit in whatever order rows come.
    total = (
        finished.sum() * _W.finished + (stream & ~finished).sum() * _W.streamed + (~stream).sum() * _W.skipped
    )
    saves = marks.filter(pl.col("what") == "saves").select("unit", "day", saves="count")
    daily = (
        plays.group_by("unit", "day")
        .agg(total=total, plays=pl.len())
        .join(saves, on=["unit", "day"], how="left")
        .sort("unit", "day")
    )
    nth = pl.col("day").rank("ordinal", descending=True).over("unit") - 1
    return (
        daily.with_columns(
            reward=(pl.col("total") + _W.saved * pl.col("saves").fill_null(0)) / pl.col("plays"),
            weight=0.5 ** (nth / RECENT_DAYS),
        )
        .group_by("unit", maintain_order=True)
        .agg(mood=(pl.col("weight") * pl.col("reward")).sum() / pl.col("weight").sum())
    )


def _first_time(plays: pl.LazyFrame, name: str) -> pl.LazyFrame:
    first = plays.filter(pl.col(name).is_not_null()).group_by("unit", name).agg(first=pl.col("day").min())
    return first.group_by("unit").agg((pl.col("first") >= 0).sum().alias(f"new_{name}s"))


def _marked(marks: pl.LazyFrame, days: int) -> pl.LazyFrame:
    kinds = ("follows", "not_interested", "pages", "seen", "saves")
    inside = marks.filter(pl.col("day").is_between(0, days - 1))
    return inside.group_by("unit").agg(
        pl.col("count").filter(pl.col("what") == kind).sum().alias(kind) for kind in kinds
    )
