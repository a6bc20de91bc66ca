"""Which plays, skips and saves belong to what was shown: one rule for labels, off-policy estimates and experiments.

An event belongs to the impression with its user_id, request_id and track_id, if it began (a play: ts - ms_played;
a save: ts) at or after the impression and less than WINDOW_MS later, by the client's clock; when it arrived does
not matter. The first such play decides finished, skipped and streamed; the last save or unsave decides saved.
A track shown twice for one request is one impression, the first. What carries no request id, or that of a
request whose impression is not there, is nobody's.

rows = attribute(trainable(lake.scan("events")))
"""

from __future__ import annotations

import polars as pl
from pydantic import BaseModel, ConfigDict

from recsys.schemas import EVENTS, STREAM_MS, EventKind

WINDOW_MS = 24 * 3_600_000
_SLOT = ["user_id", "request_id", "track_id"]
_OF_PLAYS = {
    "ms_played",
    "reason_start",
    "reason_end",
    "shuffle",
    "skipped",
    "offline",
    "payload",
    "artist_id",
    "playlist_id",
    "snooze_days",
    "exposed",
    "took_ms",
}
IMPRESSION_COLUMNS = [name for name in EVENTS if name not in _OF_PLAYS]


class RewardWeights(BaseModel):
    """Reward of one impression: what its outcome is worth; an impression that is not played is worth 0."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    finished: float = 1.0
    streamed: float = 0.3  # 30 s or more, but not to the end
    skipped: float = -0.5  # before 30 s
    saved: float = 1.0  # on top


def attribute(
    events: pl.LazyFrame, window_ms: int = WINDOW_MS, weights: RewardWeights | None = None
) -> pl.DataFrame:
    """One row for each (listener, request, track) shown, in order of (ts, request_id, position).

    Args:
        events: rows of the lake's `events`; the caller has dropped those it may not use (`dataset.trainable`).

    Returns:
        IMPRESSION_COLUMNS and: played, finished, skipped, streamed (30 s or more), saved (booleans), ms_played
        (of the first play; 0 where there is none), reward (float).
    """
    events = events.filter(pl.col("request_id").is_not_null(), pl.col("track_id").is_not_null())
    shown = (
        events.filter(pl.col("kind") == EventKind.IMPRESSION.value)
        .select(IMPRESSION_COLUMNS)
        .collect()
        .sort("ts", "position", "event_id", nulls_last=True)
        .unique(_SLOT, keep="first", maintain_order=True)
    )
    keys = shown.select(*_SLOT, shown_at=pl.col("ts").dt.epoch("ms")).lazy()
    rows = (
        shown.join(_first_plays(events, keys, window_ms), on=_SLOT, how="left", maintain_order="left")
        .join(_last_saves(events, keys, window_ms), on=_SLOT, how="left", maintain_order="left")
        .with_columns(
            pl.col("played", "finished", "skipped", "streamed", "saved").fill_null(False),
            pl.col("ms_played").fill_null(0),
        )
    )
    return rows.with_columns(reward=_reward(weights or RewardWeights())).sort(
        "ts", "request_id", "position", maintain_order=True
    )


def _first_plays(events: pl.LazyFrame, shown: pl.LazyFrame, window_ms: int) -> pl.DataFrame:
    began = pl.col("ts").dt.epoch("ms") - pl.col("ms_played")
    finished = (pl.col("reason_end") == "trackdone").fill_null(False)
    streamed = pl.col("ms_played") >= STREAM_MS
    return (
        events.filter(pl.col("kind") == EventKind.PLAY_END.value)
        .select(*_SLOT, "event_id", "ms_played", "reason_end", began=began)
        .join(shown, on=_SLOT)
        .filter(_within(window_ms))
        .collect()
        .sort("began", "event_id")
        .unique(_SLOT, keep="first", maintain_order=True)
        .select(
            *_SLOT,
            "ms_played",
            played=pl.lit(True),
            finished=finished,
            skipped=~finished & ~streamed,
            streamed=streamed,
        )
    )


def _last_saves(events: pl.LazyFrame, shown: pl.LazyFrame, window_ms: int) -> pl.DataFrame:
    return (
        events.filter(pl.col("kind").is_in([EventKind.SAVE.value, EventKind.UNSAVE.value]))
        .select(*_SLOT, "kind", began=pl.col("ts").dt.epoch("ms"))
        .join(shown, on=_SLOT)
        .filter(_within(window_ms))
        .collect()
        .sort("began", "kind")  # "unsave" sorts behind "save": it wins a tie
        .unique(_SLOT, keep="last", maintain_order=True)
        .select(*_SLOT, saved=pl.col("kind") == EventKind.SAVE.value)
    )


def _within(window_ms: int) -> pl.Expr:
    return pl.col("began").is_between(pl.col("shown_at"), pl.col("shown_at") + window_ms, closed="left")


def _reward(weights: RewardWeights) -> pl.Expr:
    partly = pl.col("streamed") & ~pl.col("finished")
    return (
        pl.col("finished") * weights.finished
        + partly * weights.streamed
        + pl.col("skipped") * weights.skipped
        + pl.col("saved") * weights.saved
    ).alias("reward")


__all__ = ["IMPRESSION_COLUMNS", "WINDOW_MS", "RewardWeights", "attribute"]
