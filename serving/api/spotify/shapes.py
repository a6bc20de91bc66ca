"""Shapes of the Spotify drop-in, behind the OpenAPI page; tests hold the answers to them, field by field.

Names and types are those of Spotify's public reference. Where the catalog does not know a value it is null.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Percent = Annotated[int, Field(ge=0, le=100, description="log plays as a share of the most played one's")]
Markets = Annotated[
    list[str] | None, Field(description="ISO 3166-1 alpha-2, now; left out where a market was asked for")
]


class Shape(BaseModel):
    """Base of all shapes: exactly the declared fields."""

    model_config = ConfigDict(extra="forbid")


class Links(Shape):
    """`spotify` is the name that clients look for; the address is one of this server."""

    spotify: str


class ExternalIds(Shape):
    """Names of a recording elsewhere."""

    isrc: str | None = Field(None, examples=["GBARL9300135"])


class Image(Shape):
    """A picture; none are known here."""

    url: str
    height: int | None
    width: int | None


class SimplifiedArtist(Shape):
    """An artist as tracks and albums name it."""

    external_urls: Links
    href: str
    id: str
    name: str | None
    type: Literal["artist"]
    uri: str = Field(examples=["spotify:artist:2bVnXs6HgJtLc9MwQzR4yK"])


class Followers(Shape):
    """How many follow an artist: not counted here."""

    href: None
    total: int | None


class Artist(SimplifiedArtist):
    """An artist."""

    followers: Followers
    genres: list[str]
    images: list[Image]
    popularity: Percent


class SimplifiedAlbum(Shape):
    """An album as tracks name it; of a track that stands on none, `id` and what follows from it are null."""

    album_type: str = Field(description="`single` up to three tracks, else `album`")
    artists: list[SimplifiedArtist]
    available_markets: Markets = None
    external_urls: Links | None
    href: str | None
    id: str | None
    images: list[Image]
    name: str | None
    release_date: str | None = Field(examples=["2026-02-20"])
    release_date_precision: str | None
    total_tracks: int
    type: Literal["album"]
    uri: str | None


class SimplifiedTrack(Shape):
    """A track as albums list it."""

    artists: list[SimplifiedArtist]
    available_markets: Markets = None
    disc_number: None
    duration_ms: int | None
    explicit: bool
    external_urls: Links
    href: str
    id: str
    is_local: Literal[False]
    is_playable: bool | None = Field(None, description="there where a market was asked for")
    name: str | None
    preview_url: None
    track_number: None
    type: Literal["track"]
    uri: str


class Track(SimplifiedTrack):
    """A track."""

    album: SimplifiedAlbum
    external_ids: ExternalIds
    popularity: Percent


class AlbumTracks(Shape):
    """One page of an album's tracks."""

    href: str
    items: list[SimplifiedTrack]
    limit: int
    next: str | None
    offset: int
    previous: str | None
    total: int


class Copyright(Shape):
    """Who holds the rights in an album: not known here."""

    text: str
    type: str


class Album(SimplifiedAlbum):
    """An album."""

    copyrights: list[Copyright]
    external_ids: ExternalIds
    genres: list[str]
    label: None
    popularity: Percent
    tracks: AlbumTracks


class Tracks(Shape):
    """Several tracks, in the order of the ids; null for one that is not known."""

    tracks: list[Track | None]


class Artists(Shape):
    """Several artists, in the order of the ids; null for one that is not known."""

    artists: list[Artist | None]


class AudioFeatures(Shape):
    """What a track sounds like."""

    acousticness: float | None
    analysis_url: str
    danceability: float | None
    duration_ms: int | None
    energy: float | None
    id: str
    instrumentalness: float | None
    key: int = Field(ge=-1, le=11, description="pitch class, 0 is C; -1: not known")
    liveness: float | None
    loudness: float | None = Field(description="dB")
    mode: int | None = Field(description="1 is major")
    speechiness: float | None
    tempo: float | None = Field(description="beats a minute")
    time_signature: None
    track_href: str
    type: Literal["audio_features"]
    uri: str
    valence: float | None


class SeveralAudioFeatures(Shape):
    """Audio features in the order of the ids; null for a track that is not known, or not described."""

    audio_features: list[AudioFeatures | None]


class Seed(Shape):
    """How many tracks a seed had to offer."""

    afterFilteringSize: int = Field(description="of those, within every min_ and max_")
    afterRelinkingSize: int = Field(description="of those, available in the market")
    href: str | None = Field(description="null for a genre")
    id: str
    initialPoolSize: int = Field(description="released tracks that the seed can lead to")
    type: Literal["ARTIST", "TRACK", "GENRE"]


class Recommendations(Shape):
    """Tracks like the seeds."""

    seeds: list[Seed]
    tracks: list[Track]


class Genres(Shape):
    """Every name that `seed_genres` takes."""

    genres: list[str]


class ErrorBody(Shape):
    """What went wrong."""

    status: int
    message: str


class Error(Shape):
    """Every answer that is not a success."""

    error: ErrorBody
