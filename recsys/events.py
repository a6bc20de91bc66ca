"""One event as clients post it, validated; and a batch sorted into good and refused ones with reasons."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import polars as pl
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from recsys.ids import is_event_id, is_public_id
from recsys.schemas import EVENTS, OF_THE_SERVER, SCHEMA_VERSION, EventKind, Surface

_NEEDS_TRACK = {
    EventKind.IMPRESSION,
    EventKind.PLAY_START,
    EventKind.PLAY_END,
    EventKind.SAVE,
    EventKind.UNSAVE,
    EventKind.ADD_TO_PLAYLIST,
}
_NEEDS_ARTIST = {
    EventKind.FOLLOW,
    EventKind.UNFOLLOW,
    EventKind.SNOOZE_ARTIST,
    EventKind.UNSNOOZE_ARTIST,
}
_NEEDS_EITHER = {EventKind.NOT_INTERESTED, EventKind.UNDO_NOT_INTERESTED}
_NEEDS_ORIGIN = {EventKind.EXCLUDE_FROM_TASTE, EventKind.INCLUDE_IN_TASTE}
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
FIRST_POSTED = datetime(2005, 1, 1, tzinfo=UTC)  # an earlier one comes from a clock that was never set
MAX_AHEAD = timedelta(hours=48)  # of the server's clock: any time zone mistaken for UTC, and a day of drift
_LONGEST_REASON = 300

Short = Annotated[str, Field(max_length=64)]
Text = Annotated[str, Field(max_length=256)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Event(BaseModel):
    """A row of the one log. Unknown fields are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    event_id: str
    kind: EventKind
    user_id: str
    ts: AwareDatetime
    session_id: Short | None = None
    request_id: Short | None = None
    received_at: AwareDatetime | None = None
    track_id: str | None = None
    artist_id: str | None = None
    playlist_id: str | None = None
    surface: Surface | None = None
    shelf: Short | None = None
    position: Annotated[int, Field(ge=0, le=10_000)] | None = None
    propensity: Probability | None = None
    reason: Text | None = None
    schema_version: Annotated[int, Field(ge=1, le=SCHEMA_VERSION)] = SCHEMA_VERSION
    consent_personalization: bool = True
    consent_analytics: bool = True
    consent_ads: bool = False
    tz: Short | None = None
    device: Short | None = None
    ms_played: Annotated[int, Field(ge=0, le=86_400_000)] | None = None
    reason_start: Short | None = None
    reason_end: Short | None = None
    shuffle: bool | None = None
    skipped: bool | None = None
    offline: bool | None = None
    incognito_mode: bool = False
    platform: Text | None = None
    snooze_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    conn_country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None
    payload: Annotated[str, Field(max_length=8_000_000)] | None = None
    # Of the server's own decisions; the document for clients has no word of them.
    exposed: SkipJsonSchema[Annotated[str, Field(max_length=100_000)] | None] = None
    took_ms: SkipJsonSchema[Annotated[float, Field(ge=0, allow_inf_nan=False)] | None] = None

    @field_validator("event_id")
    @classmethod
    def _uuid(cls, value: str) -> str:
        if not is_event_id(value):
            raise ValueError("must be a lower-case hyphenated UUID")
        return value

    @field_validator("user_id", "track_id", "artist_id", "playlist_id")
    @classmethod
    def _public(cls, value: str | None) -> str | None:
        if value is not None and not is_public_id(value):
            raise ValueError("must be 22 characters of 0-9A-Za-z")
        return value

    @field_validator("ts", "received_at")
    @classmethod
    def _sane(cls, value: datetime | None) -> datetime | None:
        if value is None:
            return None
        if not _EARLIEST <= value < LATEST:
            raise ValueError("must lie within the years 2000 to 2099")
        return value.astimezone(UTC)  # one form, so that the same event sent twice is the same bytes

    @model_validator(mode="after")
    def _complete(self) -> Event:
        if self.kind != EventKind.DECISION and (self.exposed is not None or self.took_ms is not None):
            raise ValueError("exposed, took_ms: only the server's own decision events have them")
        if self.kind in _NEEDS_TRACK and self.track_id is None:
            raise ValueError(f"{self.kind.value} needs track_id")
        if self.kind == EventKind.PLAY_END and self.ms_played is None:
            raise ValueError("play_end needs ms_played")
        if self.kind in _NEEDS_ARTIST and self.artist_id is None:
            raise ValueError(f"{self.kind.value} needs artist_id")
        if self.kind in _NEEDS_EITHER and self.track_id is None and self.artist_id is None:
            raise ValueError(f"{self.kind.value} needs track_id or artist_id")
        if self.kind in _NEEDS_ORIGIN and self.session_id is None and self.playlist_id is None:
            raise ValueError(f"{self.kind.value} needs session_id or playlist_id")
        return self


def parse_batch(bodies: Sequence[Any]) -> tuple[list[tuple[int, Event]], list[tuple[int, str]]]:
    """Valid events with their place in the batch, and the places of refused ones with one-line reasons."""
    good: list[tuple[int, Event]] = []
    refused: list[tuple[int, str]] = []
    for place, body in enumerate(bodies):
        try:
            good.append((place, Event.model_validate(body)))
        except ValidationError as error:
            refused.append((place, _reason(error)))
    return good, refused


def _reason(error: ValidationError) -> str:
    parts = [f"{'.'.join(map(str, e['loc'])) or 'event'}: {e['msg']}" for e in error.errors()[:3]]
    return "; ".join(parts)[:_LONGEST_REASON]


def by_clients(good: Sequence[tuple[int, Event]]) -> tuple[list[tuple[int, Event]], list[tuple[int, str]]]:
    """Clients may send every kind but those that only the server writes: those they may, those refused."""
    refused = [
        (place, f"kind: {event.kind.value} is written by the server")
        for place, event in good
        if event.kind in OF_THE_SERVER
    ]
    return [(place, event) for place, event in good if event.kind not in OF_THE_SERVER], refused


def split_by_clock(
    good: Sequence[tuple[int, Event]], received: datetime
) -> tuple[list[tuple[int, Event]], list[tuple[int, str]]]:
    """Posted events whose `ts` can be true, and the places of others with reasons.

    A lake partition is a day of `ts`, so a client with a wild clock must not be able to make any day it likes.
    Late events are welcome, however late.
    """
    kept, refused = [], []
    for place, event in good:
        if event.ts > received + MAX_AHEAD:
            refused.append((place, "ts: more than 48 hours ahead of the server's clock"))
        elif event.ts < FIRST_POSTED:
            refused.append((place, "ts: before 2005; the client's clock is not set"))
        else:
            kept.append((place, event))
    return kept, refused


def to_frame(events: Sequence[Event]) -> pl.DataFrame:
    """Events as rows of the lake's `events` table."""
    rows = [event.model_dump(mode="python") for event in events]
    frame = pl.DataFrame(
        rows, schema={k: v for k, v in EVENTS.items() if k != "day"}, infer_schema_length=None
    )
    return frame.with_columns(day=pl.col("ts").dt.date())
