"""Columns of every lake table, in one place. Schemas grow by nullable columns only; an old row always reads.

All times are UTC. `events` is the one log (docs: DESIGN "Events"); names of play columns follow Spotify's
extended streaming history export.
"""

from __future__ import annotations

from enum import StrEnum

import polars as pl

TIME = pl.Datetime("us", "UTC")
SCHEMA_VERSION = 1
STREAM_MS = 30_000
"""A play counts as a stream from 30 s on; one ended before, by the listener, is a skip."""


class EventKind(StrEnum):
    DECISION = "decision"
    IMPRESSION = "impression"
    PLAY_START = "play_start"
    PLAY_END = "play_end"
    SAVE = "save"
    UNSAVE = "unsave"
    ADD_TO_PLAYLIST = "add_to_playlist"
    FOLLOW = "follow"
    UNFOLLOW = "unfollow"
    NOT_INTERESTED = "not_interested"
    UNDO_NOT_INTERESTED = "undo_not_interested"
    SNOOZE_ARTIST = "snooze_artist"
    UNSNOOZE_ARTIST = "unsnooze_artist"
    EXCLUDE_FROM_TASTE = "exclude_from_taste"
    INCLUDE_IN_TASTE = "include_in_taste"
    CONSENT = "consent"
    """Says nothing but its own consent flags."""
    COMPLAINT = "complaint"
    SEARCH = "search"
    SHARE = "share"
    AD_IMPRESSION = "ad_impression"
    AD_CLICK = "ad_click"
    SHADOW = "shadow"
    """What another release would have answered to a request; shown to nobody (serving/shadow.py)."""


OF_THE_SERVER = (EventKind.DECISION, EventKind.SHADOW)
"""Kinds that only the server writes. They say nothing about the listener, and are large."""


class Surface(StrEnum):
    HOME = "home"
    RADIO = "radio"
    SEARCH = "search"
    LIBRARY = "library"
    """The listener's own choice: library, queue, album page."""
    SIMILAR = "similar"
    # Numbered by position in logs and states (types.SURFACES): new ones go to the end.
    DAILY_MIX = "daily_mix"
    DISCOVERY = "discovery"
    RELEASE_RADAR = "release_radar"
    BECAUSE = "because"
    SIMILAR_ARTISTS = "similar_artists"
    CONTINUATION = "continuation"
    NEXT_UP = "next_up"
    RECOMMENDATIONS = "recommendations"


class Device(StrEnum):
    MOBILE = "mobile"
    DESKTOP = "desktop"
    SPEAKER = "speaker"
    CAR = "car"
    UNKNOWN = "unknown"


class Tier(StrEnum):
    """What a listener pays for; tracks may be for premium alone."""

    FREE = "free"
    PREMIUM = "premium"


EVENTS: dict[str, pl.DataType] = {
    "event_id": pl.String(),
    "kind": pl.String(),
    "user_id": pl.String(),
    "session_id": pl.String(),
    "request_id": pl.String(),
    "ts": TIME,  # client clock; of a play_end: when the play ended
    "received_at": TIME,  # server clock
    "track_id": pl.String(),
    "artist_id": pl.String(),  # of a follow, a snooze, ...
    "surface": pl.String(),
    "shelf": pl.String(),
    "position": pl.Int32(),
    "propensity": pl.Float64(),
    "reason": pl.String(),
    "schema_version": pl.Int16(),
    "consent_personalization": pl.Boolean(),
    "consent_analytics": pl.Boolean(),
    "consent_ads": pl.Boolean(),
    "tz": pl.String(),
    "device": pl.String(),
    "ms_played": pl.Int32(),
    "reason_start": pl.String(),
    "reason_end": pl.String(),
    "shuffle": pl.Boolean(),
    "skipped": pl.Boolean(),
    "offline": pl.Boolean(),
    "incognito_mode": pl.Boolean(),
    "platform": pl.String(),
    "conn_country": pl.String(),
    "payload": pl.String(),  # JSON: the whole Decision of a decision, the query text of a search, ...
    "playlist_id": pl.String(),  # from which a track was played; what an exclusion is about
    "snooze_days": pl.Int32(),
    "exposed": pl.String(),  # of a decision: the experiments that can show in it (experiments/exposure.py), JSON
    "took_ms": pl.Float64(),  # of a decision: from the request's arrival here until this record
    "day": pl.Date(),  # of ts in UTC; the partition column
}

AUDIO = (
    "danceability",
    "energy",
    "valence",
    "acousticness",
    "instrumentalness",
    "speechiness",
    "liveness",
    "loudness",
    "tempo",
)
"""Audio features of a track; each may be null (imported logs have none)."""

TRACKS: dict[str, pl.DataType] = {
    "track_id": pl.String(),
    "title": pl.String(),
    "artist_id": pl.String(),
    "album_id": pl.String(),
    "genre": pl.String(),  # leaf of the hierarchy, "parent/leaf"; null where unknown
    "release_date": pl.Date(),
    "duration_ms": pl.Int32(),
    "explicit": pl.Boolean(),
    "isrc": pl.String(),
    "key": pl.Int8(),
    "mode": pl.Int8(),
    **{name: pl.Float32() for name in AUDIO},
    "premium": pl.Boolean(),  # for listeners of the premium tier alone; null: for all
}
ARTISTS: dict[str, pl.DataType] = {"artist_id": pl.String(), "name": pl.String(), "genre": pl.String()}
ALBUMS: dict[str, pl.DataType] = {
    "album_id": pl.String(),
    "title": pl.String(),
    "artist_id": pl.String(),
    "release_date": pl.Date(),
}
AVAILABILITY: dict[str, pl.DataType] = {
    # A track may be shown in a country at a time if any row says so; a track without rows is free everywhere.
    "track_id": pl.String(),
    "country": pl.String(),  # ISO 3166-1 alpha-2; null: every country
    "available_from": TIME,  # null: since ever
    "available_until": TIME,  # null: for ever
}
ALIASES: dict[str, pl.DataType] = {
    "entity": pl.String(),  # track, artist, album
    "id": pl.String(),
    "source": pl.String(),  # spotify, isrc, musicbrainz, sim, ...
    "foreign_id": pl.String(),
}
LISTENERS: dict[str, pl.DataType] = {
    # What the service knows of an account, pseudonymous; people live in the identity domain alone.
    "user_id": pl.String(),
    "country": pl.String(),
    "tz": pl.String(),
    "joined_at": TIME,
}

TABLES: dict[str, dict[str, pl.DataType]] = {
    "events": EVENTS,
    "tracks": TRACKS,
    "artists": ARTISTS,
    "albums": ALBUMS,
    "availability": AVAILABILITY,
    "aliases": ALIASES,
    "listeners": LISTENERS,
}


def conform(frame: pl.DataFrame, table: str) -> pl.DataFrame:
    """`frame` with exactly the columns of `table`, in order, cast; absent ones null.

    Raises:
        polars.exceptions.InvalidOperationError: a value that does not fit its column.
    """
    schema = TABLES[table]
    return frame.select(
        pl.col(name).cast(kind) if name in frame.columns else pl.lit(None, kind).alias(name)
        for name, kind in schema.items()
    )
