"""Imported plays as rows of the lake's `events`: ids from content, so that importing again changes nothing."""

from __future__ import annotations

from hashlib import blake2b

import polars as pl

from recsys.ids import is_public_id, public_id
from recsys.importers.durations import fill_durations
from recsys.importers.match import TRACK_KEY
from recsys.schemas import EventKind, Surface, conform

_COPIED = ["reason_start", "shuffle", "skipped", "offline", "platform", "device", "conn_country", "tz"]


def user_id_of(source: str, name: str) -> str:
    """The public id of a log's listener; a name that already is a public id stays (a person joins an account)."""
    return name if is_public_id(name) else public_id(f"user:{source}", name)


def to_events(listens: pl.DataFrame, tracks: pl.DataFrame, source: str) -> pl.DataFrame:
    """One `play_end` a play, each id once.

    Args:
        listens: columns LISTENS; all plays of their listeners in this import.
        tracks: TRACK_KEY, track_id, way, length_ms.
    """
    users = {name: user_id_of(source, name) for name in listens["user"].unique()}
    start = pl.col("at").dt.epoch("ms") - pl.when("at_end").then(pl.col("ms_played")).otherwise(0)
    plays = (
        listens.join(tracks, on=TRACK_KEY, how="left", nulls_equal=True)
        .with_columns(
            user_id=pl.col("user").replace_strict(users, return_dtype=pl.String),
            start=start,
            duration_ms=pl.coalesce("duration_ms", "length_ms"),
        )
        .sort("user", "start", "track_id", maintain_order=True)
    )
    plays = fill_durations(plays).with_columns(event_id=_event_ids(plays, source))
    end = pl.from_epoch(pl.col("start") + pl.col("ms_played"), "ms").dt.cast_time_unit("us")
    rows = plays.select(
        "event_id",
        "user_id",
        "track_id",
        *_COPIED,
        "reason_end",
        "ms_played",
        "way",
        ts=end.dt.replace_time_zone("UTC"),
        session_id="session",
        kind=pl.lit(EventKind.PLAY_END.value),
        surface=pl.lit(Surface.LIBRARY.value),  # nothing of ours proposed it: the listener's own choice
        schema_version=pl.lit(1),
        incognito_mode=pl.col("incognito_mode").fill_null(False),
        consent_personalization=pl.lit(True),  # whoever imports a log vouches for it
        consent_analytics=pl.lit(True),
        consent_ads=pl.lit(False),
    ).unique("event_id", keep="first", maintain_order=True)
    rows = rows.with_columns(received_at=pl.col("ts"), day=pl.col("ts").dt.date())
    return conform(rows, "events").with_columns(rows["way"])


def _event_ids(plays: pl.DataFrame, source: str) -> pl.Series:
    """UUIDv7 (RFC 9562) of (source, listener, track as the log names it, start): time first, then a hash."""
    name = pl.coalesce(
        "source_id", pl.concat_str([pl.col("artist").fill_null(""), "title"], separator="\x1f")
    )
    content = plays.select(pl.concat_str([pl.lit(source), "user_id", name], separator="\x1e")).to_series()
    return pl.Series(
        [_uuid7(start, text) for start, text in zip(plays["start"], content, strict=True)], dtype=pl.String
    )


def _uuid7(ms: int, content: str) -> str:
    stamp, digest = f"{ms:012x}", blake2b(f"{content}\x1e{ms}".encode(), digest_size=10).hexdigest()
    variant = "89ab"[int(digest[0], 16) & 3]
    return f"{stamp[:8]}-{stamp[8:]}-7{digest[1:4]}-{variant}{digest[4:7]}-{digest[7:19]}"
