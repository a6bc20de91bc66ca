"""The catalog over HTTP: GET /v1/tracks/{track_id} and /v1/artists/{artist_id}.

app.include_router(router(catalog))   # the app maps recsys.errors to RFC 9457 problem details
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from recsys.ports import CatalogReader

_TRACK = "4uLU6hMCjMI75M1A2tKUQC"
_ARTIST = "0gxyHStUsqpMadRV0Di1Qt"
_PROBLEM = {
    "type": "about:blank",
    "title": "Not Found",
    "status": 404,
    "detail": f"unknown track {_TRACK!r}: the catalog does not hold it",
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"description": "malformed id"},
    404: {
        "description": "unknown id",
        "content": {"application/problem+json": {"example": _PROBLEM}},
    },
}
TrackId = Annotated[str, Path(description="22 characters of 0-9A-Za-z", examples=[_TRACK])]
ArtistId = Annotated[str, Path(description="22 characters of 0-9A-Za-z", examples=[_ARTIST])]


class Out(BaseModel):
    """Base of all answers: exactly the declared fields."""

    model_config = ConfigDict(extra="forbid")


class AliasOut(Out):
    """The name of a thing elsewhere."""

    source: str = Field(examples=["isrc", "spotify", "musicbrainz"])
    foreign_id: str = Field(examples=["GBARL9300135"])


class WindowOut(Out):
    """A right to show the track; a track with no window is free everywhere."""

    country: str | None = Field(description="ISO 3166-1 alpha-2; null: every country", examples=["DE"])
    available_from: datetime | None = Field(description="null: since ever")
    available_until: datetime | None = Field(description="exclusive; null: for ever")


class ArtistRef(Out):
    """An artist by name."""

    artist_id: str = Field(examples=[_ARTIST])
    name: str | None = Field(examples=["Rick Astley"])


class AlbumRef(Out):
    """An album by title."""

    album_id: str
    title: str | None = Field(examples=["Whenever You Need Somebody"])
    release_date: date | None


class TrackRef(Out):
    """A track by title."""

    track_id: str = Field(examples=[_TRACK])
    title: str | None = Field(examples=["Never Gonna Give You Up"])


class TrackOut(TrackRef):
    """One track: what it is, and where and when it may be shown."""

    artist: ArtistRef | None
    album: AlbumRef | None
    genre: str | None = Field(description="leaf of the hierarchy, parent/leaf", examples=["pop/dance pop"])
    release_date: date | None
    duration_ms: int | None = Field(examples=[213573])
    explicit: bool | None
    premium: bool | None = Field(None, description="for listeners of the premium tier alone")
    isrc: str | None = Field(examples=["GBARL9300135"])
    audio: dict[str, float] = Field(examples=[{"energy": 0.94, "tempo": 113.3}])
    availability: list[WindowOut]
    aliases: list[AliasOut]
    withdrawn_at: datetime | None = Field(description="from this time on it may not be shown")


class ArtistOut(ArtistRef):
    """One artist with the newest tracks, at most 50."""

    genre: str | None
    aliases: list[AliasOut]
    tracks: list[TrackRef]


def router(reader: CatalogReader) -> APIRouter:
    """The catalog's routes over any reader; UnknownId and BadInput pass through to the app's handlers."""
    routes = APIRouter(prefix="/v1", tags=["catalog"], responses=_PROBLEMS)

    @routes.get("/tracks/{track_id}", response_model=TrackOut, summary="One track")
    def track(track_id: TrackId) -> dict[str, Any]:
        return reader.track(track_id)

    @routes.get("/artists/{artist_id}", response_model=ArtistOut, summary="One artist and the newest tracks")
    def artist(artist_id: ArtistId) -> dict[str, Any]:
        return reader.artist(artist_id)

    return routes
