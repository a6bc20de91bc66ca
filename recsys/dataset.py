"""From lake tables to what models read: dense items, dense plays, and splits by time.

data = load(lake)                      # everything
train = data.plays.before(split.valid) # only what was known then
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from recsys.errors import NotReady
from recsys.features.registers import in_taste
from recsys.items import Items
from recsys.lake import Lake
from recsys.plays import I16, Outcome, Plays
from recsys.schemas import STREAM_MS, EventKind
from recsys.types import DEVICES, SURFACES, session_numbers

MS_PER_DAY = 86_400_000


@dataclass(frozen=True)
class Split:
    """Times (UTC ms) that cut a log: train < valid <= validation < test <= test window < end."""

    valid: int
    test: int
    end: int


@dataclass(frozen=True)
class Dataset:
    """All plays that may train a model (consented, not incognito, not excluded), with dense numbers."""

    items: Items
    plays: Plays
    user_ids: list[str]  # listener number -> public id
    country: I16  # (users,) number in items.countries, len(countries) where unknown
    split: Split
    versions: dict[str, int]  # lake table -> version read


def load(
    lake: Lake,
    test_share: float = 0.15,
    valid_share: float = 0.05,
    versions: dict[str, int] | None = None,
) -> Dataset:
    """Reads the lake at the given versions of its tables, at the current ones where absent.

    Raises:
        NotReady: no events or tracks.
    """
    versions = lake.versions() if versions is None else versions
    items = load_items(lake, versions)
    events = trainable(in_taste(lake.scan("events", versions.get("events"))))
    frame = plays_frame(events)
    if frame.is_empty():
        raise NotReady("the lake holds no plays: run `recsys simulate` or `recsys import` first")
    user_ids = frame["user_id"].unique().sort()
    plays, country = dense(frame, items, user_ids)
    return Dataset(
        items, plays, user_ids.to_list(), country, split_times(plays, test_share, valid_share), versions
    )


def load_items(lake: Lake, versions: dict[str, int] | None = None) -> Items:
    """The catalog's tracks, at the given versions of the lake's tables or as they are now."""
    at = versions or {}

    def read(table: str) -> pl.DataFrame:
        return lake.scan(table, at.get(table)).collect()

    return Items.of(
        read("tracks"), read("artists"), read("availability") if lake.has("availability") else None
    )


def trainable(events: pl.LazyFrame) -> pl.LazyFrame:
    """Events that may train: with the personalization consent and not incognito."""
    return events.filter(
        pl.col("consent_personalization").fill_null(True), ~pl.col("incognito_mode").fill_null(False)
    )


def plays_frame(events: pl.LazyFrame, also: Sequence[str] = ()) -> pl.DataFrame:
    """One row a play, sorted by (user_id, start, track_id): user_id, track_id, start (ms), outcome, ...

    `ts` of a play_end is when the play ended. A local hour comes from the event's time zone. `also` names text
    columns of the events to keep beside, "" where they are null.
    """
    start = pl.col("ts").dt.epoch("ms") - pl.col("ms_played")
    skipped = (pl.col("ms_played") < STREAM_MS) & (pl.col("reason_end").fill_null("") != "trackdone")
    finished = pl.col("reason_end") == "trackdone"
    plays = (
        events.filter(pl.col("kind") == EventKind.PLAY_END.value, pl.col("track_id").is_not_null())
        .select(
            "user_id",
            "track_id",
            start.alias("start"),
            pl.col("ms_played").cast(pl.Int32),
            pl.when(finished)
            .then(int(Outcome.FINISH))
            .when(skipped)
            .then(int(Outcome.SKIP))
            .otherwise(int(Outcome.PARTIAL))
            .cast(pl.Int8)
            .alias("outcome"),
            pl.col("tz").fill_null("UTC"),
            _number("device", DEVICES),
            _number("surface", SURFACES),
            pl.col("conn_country"),
            *(pl.col(name).fill_null("") for name in also),
        )
        .sort("user_id", "start", "track_id")
        .collect()
    )
    return _with_local_hour(plays)


def _number(column: str, names: list[str]) -> pl.Expr:
    numbers = {name: i for i, name in enumerate(names)}
    return pl.col(column).replace_strict(numbers, default=-1, return_dtype=pl.Int8)


def _with_local_hour(plays: pl.DataFrame) -> pl.DataFrame:
    """Adds `hour`, the local hour at the start of the play, zone by zone (polars converts one at a time)."""
    stamp = pl.from_epoch(pl.col("start"), "ms").dt.replace_time_zone("UTC")
    hour = pl.lit(None, pl.Int8)
    for tz in plays["tz"].unique():
        try:
            pl.select(pl.lit(0).cast(pl.Datetime("ms", "UTC")).dt.convert_time_zone(tz))
        except pl.exceptions.PolarsError:
            tz_hour = stamp.dt.hour()
        else:
            tz_hour = stamp.dt.convert_time_zone(tz).dt.hour()
        hour = pl.when(pl.col("tz") == tz).then(tz_hour).otherwise(hour)
    return plays.with_columns(hour=hour.cast(pl.Int8))


def dense(frame: pl.DataFrame, items: Items, user_ids: pl.Series) -> tuple[Plays, I16]:
    """Dense plays of the given listeners (rows sorted as plays_frame does), and each one's last country."""
    users = pl.DataFrame({"user_id": user_ids, "user": np.arange(len(user_ids), dtype=np.int32)})
    tracks = pl.DataFrame({"track_id": items.track_ids, "track": np.arange(len(items), dtype=np.int32)})
    rows = (
        frame.join(users, on="user_id", maintain_order="left")
        .join(tracks, on="track_id", how="left", maintain_order="left")
        .sort("user", maintain_order=True)
    )
    counts = np.bincount(rows["user"].to_numpy(), minlength=len(user_ids))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    start = rows["start"].to_numpy().astype(np.int64)
    ms_played = rows["ms_played"].to_numpy().astype(np.int32)
    plays = Plays(
        offsets=offsets,
        track=rows["track"].fill_null(-1).to_numpy().astype(np.int32),
        start=start,
        outcome=rows["outcome"].to_numpy().astype(np.int8),
        ms_played=ms_played,
        session=session_numbers(start, ms_played, offsets),
        hour=rows["hour"].fill_null(0).to_numpy().astype(np.int8),
        device=rows["device"].to_numpy().astype(np.int8),
        surface=rows["surface"].to_numpy().astype(np.int8),
    )
    return plays, _countries(rows, items, len(user_ids))


def _countries(rows: pl.DataFrame, items: Items, users: int) -> I16:
    last = rows.group_by("user").agg(pl.col("conn_country").drop_nulls().last())
    out: I16 = np.full(users, len(items.countries), np.int16)
    for user, code in last.iter_rows():
        out[user] = items.country_number(code)
    return out


def split_times(plays: Plays, test_share: float, valid_share: float) -> Split:
    """Cuts at UTC midnights: the last `test_share` of the log's days test, the days before them validate.

    Days with next to no plays (under 1% of a usual day's) do not count: a few plays long after the rest of a log,
    as when an old world is served today, must not become its test window.
    """
    days, counts = np.unique(plays.start // MS_PER_DAY, return_counts=True)
    days = days[counts >= 0.01 * np.median(counts)]
    tested, validated = (max(1, round(len(days) * share)) for share in (test_share, valid_share))
    test, end = int(days[-tested]), int(days[-1]) + 1
    enough = len(days) >= tested + validated
    valid = int(days[-tested - validated]) if enough else test - validated
    return Split(valid * MS_PER_DAY, test * MS_PER_DAY, end * MS_PER_DAY)


__all__ = ["Dataset", "Split", "dense", "load", "load_items", "plays_frame", "split_times", "trainable"]
