"""Changes to the catalog over HTTP: POST /v1/tracks, PUT and DELETE /v1/tracks/{track_id}/withdrawal.

app.include_router(edit_router(catalog))     # the app maps recsys.errors to problem details, and asks for a token

Answered once durable. From then on no answer of any server on this catalog is without the change.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Path
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    field_validator,
)

from music.catalog.service import Catalog
from recsys.schemas import ALBUMS, ALIASES, ARTISTS, AUDIO, AVAILABILITY, TRACKS

MAX_TRACKS = 1_000
_TRACK, _ARTIST = "4uLU6hMCjMI75M1A2tKUQC", "0gxyHStUsqpMadRV0Di1Qt"
_ERAS = (datetime(1800, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))


def _text(value: object) -> object:
    """Times are ISO 8601 texts: a bare number would be read as seconds."""
    if value is not None and not isinstance(value, str):
        raise ValueError("must be an ISO 8601 text")
    return value


PublicId = Annotated[str, Field(pattern="^[0-9A-Za-z]{22}$")]
Text = Annotated[str, Field(min_length=1, max_length=500, pattern="^[^\\x00]*$")]
Country = Annotated[str, Field(pattern="^[A-Z]{2}$", examples=["DE"])]
Moment = Annotated[AwareDatetime, BeforeValidator(_text), Field(ge=_ERAS[0], le=_ERAS[1])]
Day = Annotated[date, BeforeValidator(_text), Field(ge=_ERAS[0].date(), le=_ERAS[1].date())]
Feature = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-1e6, le=1e6)]
TrackPath = Annotated[str, Path(pattern="^[0-9A-Za-z]{22}$", examples=[_TRACK])]


class In(BaseModel):
    """Base of all bodies: an unknown field is refused."""

    model_config = ConfigDict(extra="forbid")


class ArtistIn(In):
    """Who plays; without a name, one that the catalog knows already."""

    artist_id: PublicId = Field(examples=[_ARTIST])
    name: Text | None = Field(None, examples=["Rick Astley"])
    genre: Text | None = None


class AlbumIn(In):
    """What the track is on; without a title, one that the catalog knows already."""

    album_id: PublicId
    title: Text | None = Field(None, examples=["Whenever You Need Somebody"])
    release_date: Day | None = None


class WindowIn(In):
    """A right to show the track."""

    country: Country | None = Field(None, description="null: every country")
    available_from: Moment | None = Field(None, description="null: since ever")
    available_until: Moment | None = Field(None, description="exclusive; null: for ever")


class AliasIn(In):
    """The name of the track elsewhere."""

    source: Annotated[str, Field(min_length=1, max_length=64, pattern="^[^\\x00]*$")]
    foreign_id: Text


class TrackIn(In):
    """A whole track: a field that is left out is unknown from now on, but for rights and aliases, which stay."""

    track_id: PublicId = Field(examples=[_TRACK])
    title: Text | None = Field(None, examples=["Never Gonna Give You Up"])
    artist: ArtistIn | None = None
    album: AlbumIn | None = None
    genre: Text | None = Field(None, description="leaf of the hierarchy, parent/leaf", examples=["pop/dance"])
    release_date: Day | None = None
    duration_ms: Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)] | None = None
    explicit: StrictBool | None = None
    premium: StrictBool | None = Field(None, description="for listeners of the premium tier alone")
    isrc: Annotated[str, Field(pattern="^[A-Za-z0-9-]{1,32}$")] | None = None
    key: Annotated[int, Field(strict=True, ge=-1, le=11)] | None = None
    mode: Annotated[int, Field(strict=True, ge=0, le=1)] | None = None
    audio: dict[str, Feature] = Field(
        default_factory=dict, json_schema_extra={"propertyNames": {"enum": list(AUDIO)}}
    )
    availability: list[WindowIn] | None = Field(
        None,
        max_length=1_000,
        description="absent: as before, a new track free everywhere; empty: free everywhere",
    )
    aliases: list[AliasIn] = Field(default_factory=list, max_length=50)

    @field_validator("audio")
    @classmethod
    def _known(cls, audio: dict[str, float]) -> dict[str, float]:
        if unknown := set(audio) - set(AUDIO):
            raise ValueError(f"no audio feature {sorted(unknown)[0]!r}: one of {', '.join(AUDIO)}")
        return audio


class TracksIn(In):
    """Tracks to publish or change, in one transaction: all or none."""

    tracks: list[TrackIn] = Field(min_length=1, max_length=MAX_TRACKS)


class WithdrawalIn(In):
    """When a track goes; an earlier withdrawal stands."""

    at: Moment | None = Field(None, description="null: now")


class Written(In):
    """Sent once the change is durable."""

    revision: int = Field(description="of the catalog; every later Decision names this one or a newer one")
    tracks: int = Field(description="how many were named")


class WithdrawalOut(In):
    """Where a track stands."""

    revision: int
    track_id: str
    withdrawn_at: datetime | None


def edit_router(catalog: Catalog) -> APIRouter:
    """The catalog's writing routes; BadInput, UnknownId and StoreUnavailable pass through to the app's handlers."""
    errors: dict[int | str, dict[str, Any]] = {
        400: {"description": "a row breaks a rule, or names an artist or album that is not known"},
        503: {"description": "the catalog cannot be written now; nothing was"},
    }
    routes = APIRouter(prefix="/v1", tags=["catalog"], responses=errors)

    @routes.post("/tracks", response_model=Written, summary="Publish or change tracks")
    def publish(body: TracksIn) -> dict[str, Any]:
        """All or none of up to 1,000 tracks; each is whole, and replaces what was known of it."""
        revision = catalog.write(
            tables_of(body.tracks),
            windows_of=[t.track_id for t in body.tracks if t.availability is not None],
        )
        return {"revision": revision, "tracks": len(body.tracks)}

    @routes.put(
        "/tracks/{track_id}/withdrawal",
        response_model=WithdrawalOut,
        responses={404: {"description": "unknown id"}},
        summary="Withdraw a track",
    )
    def withdraw(track_id: TrackPath, body: WithdrawalIn | None = None) -> dict[str, Any]:
        """From then on it is in no answer, of any server on this catalog."""
        at = body.at if body is not None and body.at is not None else datetime.now(UTC)
        return _standing(catalog, track_id, catalog.withdraw(track_id, at))

    @routes.delete(
        "/tracks/{track_id}/withdrawal",
        response_model=WithdrawalOut,
        responses={404: {"description": "unknown id"}},
        summary="Take a withdrawal back",
    )
    def restore(track_id: TrackPath) -> dict[str, Any]:
        """The track's own windows are in force again."""
        return _standing(catalog, track_id, catalog.restore(track_id))

    return routes


def _standing(catalog: Catalog, track_id: str, revision: int) -> dict[str, Any]:
    withdrawn_at = catalog.entity(track_id).withdrawn_at
    return {"revision": revision, "track_id": track_id, "withdrawn_at": withdrawn_at}


def tables_of(tracks: list[TrackIn]) -> dict[str, pl.DataFrame]:
    """The bodies as rows of the catalog's tables; of a track that is named twice, the last counts."""
    last = list({track.track_id: track for track in tracks}.values())
    artists = [t.artist for t in last if t.artist is not None and t.artist.name is not None]
    albums = [t for t in last if t.album is not None and t.album.title is not None]
    rows: dict[str, tuple[list[dict[str, Any]], dict[str, pl.DataType]]] = {
        "artists": ([a.model_dump() for a in artists], ARTISTS),
        "albums": ([_album(t) for t in albums], ALBUMS),
        "tracks": ([_track(t) for t in last], TRACKS),
        "availability": (
            [{"track_id": t.track_id, **w.model_dump()} for t in last for w in t.availability or ()],
            AVAILABILITY,
        ),
        "aliases": (
            [{"entity": "track", "id": t.track_id, **a.model_dump()} for t in last for a in t.aliases],
            ALIASES,
        ),
    }
    return {name: pl.DataFrame(found, schema=schema) for name, (found, schema) in rows.items() if found}


def _track(track: TrackIn) -> dict[str, Any]:
    own = track.model_dump(exclude={"artist", "album", "audio", "availability", "aliases"})
    ids = {
        "artist_id": track.artist.artist_id if track.artist else None,
        "album_id": track.album.album_id if track.album else None,
    }
    return own | ids | track.audio


def _album(track: TrackIn) -> dict[str, Any]:
    assert track.album is not None
    return {**track.album.model_dump(), "artist_id": track.artist.artist_id if track.artist else None}
