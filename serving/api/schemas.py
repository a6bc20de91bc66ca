"""Shapes of requests and answers: parameter types, and the models behind the OpenAPI page.

Answers are written straight from the service's dicts (no second validation on the request path); tests hold
them to these models.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from recsys.schemas import Device, Tier
from recsys.types import Context

MAX_LIMIT = 50
MAX_EVENTS = 1000
PUBLIC_ID = r"^[0-9A-Za-z]{22}$"
SEED = (
    r"^((track|artist|album):[0-9A-Za-z]{22}|playlist:[0-9A-Za-z]{22}(,[0-9A-Za-z]{22}){0,49}"
    r"|genre:[^\x00-\x1f]{1,64}|words:[^\x00-\x1f]{1,200})$"
)

TRACK = "5qYf3ZbKcTQw8LmVdN2xRe"
ARTIST = "2bVnXs6HgJtLc9MwQzR4yK"
USER = "7LkPwQ2nTzRb4VxYcM8sHd"
REQUEST = "0199b3c5-7a10-7c3e-9f21-6d0b2f4e8a55"

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="how many tracks")]
ShelfLimit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="how many tracks a shelf, at most")]
PublicId = Annotated[str, Field(pattern=PUBLIC_ID)]
User = Annotated[
    str | None,
    Query(pattern=PUBLIC_ID, description="22 characters of 0-9A-Za-z; unknown or absent: a new listener"),
]
Seed = Annotated[
    str,
    Query(
        pattern=SEED,
        description="`track:ID`, `artist:ID`, `album:ID`, `playlist:ID,ID,...` (1 to 50), `genre:NAME`, `words:TEXT`",
        examples=[f"track:{TRACK}"],
    ),
]
Cursor = Annotated[
    str | None,
    Query(max_length=16_000, description="`cursor` of the station's page before; absent: it starts"),
]
Dial = Annotated[
    float | None,
    Query(
        ge=0,
        le=1,
        description="0 familiar, 1 discover; absent: as on the station's page before, at first 0.5",
    ),
]


def context(
    country: Annotated[str | None, Query(pattern="^[A-Z]{2}$", description="ISO 3166-1 alpha-2")] = None,
    tz: Annotated[str, Query(max_length=64, description="IANA time zone")] = "UTC",
    device: Annotated[Device, Query()] = Device.UNKNOWN,
    incognito: Annotated[
        bool, Query(description="answer without the listener's history, train nothing")
    ] = False,
    explicit: Annotated[bool, Query(description="false: no explicit tracks")] = True,
    tier: Annotated[Tier, Query(description="what the listener pays for")] = Tier.FREE,
    session_id: Annotated[
        str | None, Query(min_length=1, max_length=64, description="as in events; for experiments by session")
    ] = None,
) -> Context:
    """The situation of a request, from optional query parameters."""
    return Context(country, tz, device.value, explicit, incognito, tier.value, session_id)


class Reason(BaseModel):
    """Why a track is shown: a stable code, and a sentence for people."""

    code: str = Field(examples=[f"finished:{TRACK}"])
    text: str = Field(examples=["Because you finished Night Bus"])


class Shown(BaseModel):
    """A track as answers show it."""

    model_config = ConfigDict(extra="forbid")

    track_id: str = Field(examples=[TRACK])
    title: str | None = Field(examples=["Night Bus"])
    artist_id: str | None = Field(examples=[ARTIST])
    artist_name: str | None = Field(examples=["The Long Exposure"])
    album_id: str | None
    genre: str | None = Field(examples=["electronic/downtempo"])
    explicit: bool | None


class Item(Shown):
    """One slot of an answer."""

    position: int = Field(ge=0, description="slot within its shelf or page, from 0")
    score: float = Field(description="utility that the selector ordered by")
    propensity: float = Field(
        gt=0, le=1, description="P(this track at this slot, given the slots before it, context, eligible set)"
    )
    reason: Reason


class Answer(BaseModel):
    """What every recommendation answer states about itself."""

    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(examples=[REQUEST], description="send it back with events; key of the Decision")
    user_id: str = Field(examples=[USER], description="of a new listener: made up for this answer")
    surface: str
    rung: str = Field(examples=["full"], description="how much of the pipeline answered")
    policy: str = Field(examples=["full-eps0.05"])
    release: str = Field(examples=["3"])
    logged: bool = Field(description="false: the Decision could not be made durable (disk full)")
    degraded: list[str] = Field(
        [], description="`state`: the listener could not be looked up; `stale_state`: as of minutes ago"
    )


class Shelf(BaseModel):
    """A titled row of the home feed."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(examples=["made_for_you"])
    title: str = Field(examples=["Made for you"])
    items: list[Item]


class HomeAnswer(Answer):
    """The home feed."""

    shelves: list[Shelf]


class RadioAnswer(Answer):
    """One page of a station."""

    seed: str
    cursor: str = Field(description="pass it to get the next page; carries what was played already")
    dial: float = Field(ge=0, le=1, description="0 familiar, 1 discover")
    relaxed: list[str] = Field(description="rules of the station that had to be given up; see docs/radio.md")
    items: list[Item]


_PLAY_END: dict[str, JsonValue] = {
    "event_id": "0199b3c5-8f00-7b12-8a6c-3f5e9d1c7a01",
    "kind": "play_end",
    "user_id": USER,
    "ts": "2026-03-01T18:04:10Z",
    "request_id": REQUEST,
    "track_id": TRACK,
    "surface": "home",
    "ms_played": 12_400,
    "reason_end": "fwdbtn",
}


class EventBatch(BaseModel):
    """Events to log; each is checked on its own, against the columns in docs/api.md."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"events": [_PLAY_END]}]})

    events: list[Any] = Field(
        min_length=1,
        description=f"1 to {MAX_EVENTS} events; what is not one is refused by itself",
        json_schema_extra={
            "items": {"anyOf": [{"$ref": "#/components/schemas/Event"}, {}]},
            "maxItems": MAX_EVENTS,  # beyond it: 413
        },
    )


class Refusal(BaseModel):
    """An event that was not taken, and why."""

    index: int = Field(description="its place in the posted list")
    reason: str = Field(examples=["play_end needs ms_played"])


class Acknowledgement(BaseModel):
    """Sent only after the accepted events are on disk."""

    model_config = ConfigDict(extra="forbid")

    accepted: int
    duplicates: int = Field(description="already logged with the same body; acknowledged again")
    refused: list[Refusal]


class DecisionRecord(BaseModel):
    """The whole record of one answer (recsys.types.Decision); later versions may say more."""

    model_config = ConfigDict(extra="allow")

    request_id: str = Field(examples=[REQUEST])
    user_id: str
    surface: str
    now: int = Field(description="UTC ms")
    seed: int
    limit: int
    rung: str
    policy: str
    release: dict[str, str]
    versions: dict[str, str]
    arms: dict[str, str]
    sources: dict[str, dict[str, Any]] = Field(description="name: outcome, count, ms")
    counts: dict[str, int] = Field(description="candidates after each stage")
    stages_ms: dict[str, float]
    listener: dict[str, Any]
    eligible: list[int] = Field(description="dense ids that reached the selector")
    scores: dict[str, list[float | None]] = Field(description="columns beside `eligible`")
    slots: list[dict[str, Any]]
    logged: bool


class LineRefusal(BaseModel):
    """A line that was not taken, and why."""

    line: int = Field(description="its number in the body, from 1")
    reason: str = Field(examples=["play_end needs ms_played"])


class BatchReceipt(BaseModel):
    """What became of a batch; sent only after the accepted events are on disk."""

    model_config = ConfigDict(extra="forbid")

    lines: int = Field(description="lines that are done with, from the first on")
    accepted: int
    duplicates: int = Field(description="already logged with the same body; acknowledged again")
    refused: int
    reasons: list[LineRefusal] = Field(description="of the first 100 refused lines")


class Problem(BaseModel):
    """RFC 9457 problem details, the one shape of every error."""

    type: str = Field(examples=["/docs#unknown-id"])
    title: str = Field(examples=["Nothing here has that id"])
    status: int = Field(examples=[404])
    detail: str
    instance: str | None = None
    errors: list[dict[str, str]] | None = Field(None, description="of invalid fields: where, message")
