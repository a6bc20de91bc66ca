"""The catalog's entities, rules and facts: tracks, artists, albums, rights in time and place. No framework.

All times are timezone-aware UTC; countries are ISO 3166-1 alpha-2; durations are milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import StrEnum


class Entity(StrEnum):
    """What an alias can name."""

    TRACK = "track"
    ARTIST = "artist"
    ALBUM = "album"


@dataclass(frozen=True)
class Alias:
    """The name of a thing elsewhere: a Spotify URI, an ISRC, a MusicBrainz id, ..."""

    source: str
    foreign_id: str


@dataclass(frozen=True)
class Window:
    """A right to show a track: in one country (None: in every one), from `since` until before `until`."""

    country: str | None = None
    since: datetime | None = None  # None: since ever
    until: datetime | None = None  # None: for ever; exclusive

    def covers(self, country: str | None, at: datetime) -> bool:
        """Whether it opens a track for a listener in `country` (None: unknown) at a time."""
        here = self.country is None or self.country == country
        return here and (self.since is None or self.since <= at) and (self.until is None or at < self.until)

    def ended(self, at: datetime) -> Window:
        """The same right, over at `at` at the latest; empty where it would have begun later."""
        since = None if self.since is None else min(self.since, at)
        return replace(self, since=since, until=at if self.until is None else min(self.until, at))


@dataclass(frozen=True)
class Artist:
    """Who plays."""

    artist_id: str
    name: str | None
    genre: str | None = None
    aliases: tuple[Alias, ...] = ()


@dataclass(frozen=True)
class Album:
    """A release of tracks."""

    album_id: str
    title: str | None
    release_date: date | None = None


@dataclass(frozen=True)
class Track:
    """One recording on one album, with the rights to show it."""

    track_id: str
    title: str | None
    artist: Artist | None = None
    album: Album | None = None
    genre: str | None = None
    release_date: date | None = None
    duration_ms: int | None = None
    explicit: bool | None = None
    premium: bool | None = None  # for listeners of the premium tier alone
    isrc: str | None = None
    audio: dict[str, float] = field(default_factory=dict)  # schemas.AUDIO; absent where unknown
    windows: tuple[Window, ...] = ()
    aliases: tuple[Alias, ...] = ()
    withdrawn_at: datetime | None = None

    @property
    def rights(self) -> tuple[Window, ...]:
        """The windows in force: none at all means free everywhere; a withdrawal ends every one of them."""
        if self.withdrawn_at is None:
            return self.windows
        return tuple(window.ended(self.withdrawn_at) for window in self.windows or (Window(),))

    def available(self, country: str | None, at: datetime) -> bool:
        """Whether the track may be shown in a country at a time."""
        return not self.rights or any(window.covers(country, at) for window in self.rights)


@dataclass(frozen=True)
class CatalogUpdated:
    """Rows were added or changed, as of a revision of the catalog."""

    revision: int
    rows: dict[str, int]  # table -> rows written


@dataclass(frozen=True)
class TrackWithdrawn:
    """A track may not be shown from a time on."""

    revision: int
    track_id: str
    at: datetime


@dataclass(frozen=True)
class TrackRestored:
    """A withdrawal was taken back; the track's own windows are in force again."""

    revision: int
    track_id: str


Fact = CatalogUpdated | TrackWithdrawn | TrackRestored


def canonical(source: str, foreign_id: str) -> str:
    """One spelling per foreign id: an ISRC (ISO 3901) is written without hyphens and in capitals."""
    return foreign_id.replace("-", "").strip().upper() if source == "isrc" else foreign_id
