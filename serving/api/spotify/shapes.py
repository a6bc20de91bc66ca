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


class SpotifyLinks(Shape):
    """`spotify` is the name that clients look for; the address is one of this server."""

    spotify: str


class SpotifyExternalIds(Shape):
    """Names of a recording elsewhere."""

    isrc: str | None = Field(None, examples=["GBARL9300135"])


class SpotifyImage(Shape):
    """A picture; none are known here."""

    url: str
    height: int | None
    width: int | None


class SpotifySimplifiedArtist(Shape):
    """An artist as tracks and albums name it."""

    external_urls: SpotifyLinks
    href: str
    id: str
    name: str | None
    type: Literal["artist"]
    uri: str = Field(examples=["spotify:artist:2bVnXs6HgJtLc9MwQzR4yK"])


class SpotifyFollowers(Shape):
    """How many follow an artist: not counted here."""

    href: None
    total: int | None


class SpotifyArtist(SpotifySimplifiedArtist):
    """An artist."""

    followers: SpotifyFollowers
    genres: list[str]
    images: list[SpotifyImage]
    popularity: Percent


class SpotifySimplifiedAlbum(Shape):
    """An album as tracks name it; of a track that stands on none, `id` and what follows from it are null."""

    album_type: str = Field(description="`single` up to three tracks, else `album`")
    artists: list[SpotifySimplifiedArtist]
    available_markets: Markets = None
    external_urls: SpotifyLinks | None
    href: str | None
    id: str | None
    images: list[SpotifyImage]
    name: str | None
    release_date: str | None = Field(examples=["2026-02-20"])
    release_date_precision: str | None
    total_tracks: int
    type: Literal["album"]
    uri: str | None


class SpotifySimplifiedTrack(Shape):
    """A track as albums list it."""

    artists: list[SpotifySimplifiedArtist]
    available_markets: Markets = None
    disc_number: None
    duration_ms: int | None
    explicit: bool
    external_urls: SpotifyLinks
    href: str
    id: str
    is_local: Literal[False]
    is_playable: bool | None = Field(None, description="there where a market was asked for")
    name: str | None
    preview_url: None
    track_number: None
    type: Literal["track"]
    uri: str


class SpotifyTrack(SpotifySimplifiedTrack):
    """A track."""

    album: SpotifySimplifiedAlbum
    external_ids: SpotifyExternalIds
    popularity: Percent


class SpotifyAlbumTracks(Shape):
    """One page of an album's tracks."""

    href: str
    items: list[SpotifySimplifiedTrack]
    limit: int
    next: str | None
    offset: int
    previous: str | None
    total: int


class SpotifyCopyright(Shape):
    """Who holds the rights in an album: not known here."""

    text: str
    type: str


class SpotifyAlbum(SpotifySimplifiedAlbum):
    """An album."""

    copyrights: list[SpotifyCopyright]
    external_ids: SpotifyExternalIds
    genres: list[str]
    label: None
    popularity: Percent
    tracks: SpotifyAlbumTracks


class SpotifyTracks(Shape):
    """Several tracks, in the order of the ids; null for one that is not known."""

    tracks: list[SpotifyTrack | None]


class SpotifyArtists(Shape):
    """Several artists, in the order of the ids; null for one that is not known."""

    artists: list[SpotifyArtist | None]


class SpotifyAudioFeatures(Shape):
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


class SpotifySeveralAudioFeatures(Shape):
    """Audio features in the order of the ids; null for a track that is not known, or not described."""

    audio_features: list[SpotifyAudioFeatures | None]


class SpotifySeed(Shape):
    """How many tracks a seed had to offer."""

    afterFilteringSize: int = Field(description="of those, within every min_ and max_")
    afterRelinkingSize: int = Field(description="of those, available in the market")
    href: str | None = Field(description="null for a genre")
    id: str
    initialPoolSize: int = Field(description="released tracks that the seed can lead to")
    type: Literal["ARTIST", "TRACK", "GENRE"]


class SpotifyRecommendations(Shape):
    """Tracks like the seeds."""

    seeds: list[SpotifySeed]
    tracks: list[SpotifyTrack]


class SpotifyGenres(Shape):
    """Every name that `seed_genres` takes."""

    genres: list[str]


class SpotifyErrorBody(Shape):
    """What went wrong."""

    status: int
    message: str


class SpotifyError(Shape):
    """Every answer that is not a success."""

    error: SpotifyErrorBody
