"""The catalog's SQL tables, the same on SQLite and Postgres; a test holds that the migrations lead to them.

Times are integers, microseconds since 1970 in UTC, because SQLite has no time type that keeps a zone.
"""

from __future__ import annotations

from datetime import date
from typing import ClassVar

from sqlalchemy import BigInteger, Double, ForeignKey, Index, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
Id = String(22)


class Base(DeclarativeBase):
    """Root of the mapped tables; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map: ClassVar = {float: Double}


class ArtistRow(Base):
    """Who plays."""

    __tablename__ = "artists"
    artist_id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str | None]
    genre: Mapped[str | None]


class AlbumRow(Base):
    """A release of tracks."""

    __tablename__ = "albums"
    album_id: Mapped[str] = mapped_column(Id, primary_key=True)
    title: Mapped[str | None]
    artist_id: Mapped[str | None] = mapped_column(Id, ForeignKey("artists.artist_id"))
    release_date: Mapped[date | None]


class TrackRow(Base):
    """One recording; audio features are noisy descriptions and may be absent."""

    __tablename__ = "tracks"
    track_id: Mapped[str] = mapped_column(Id, primary_key=True)
    title: Mapped[str | None]
    artist_id: Mapped[str | None] = mapped_column(Id, ForeignKey("artists.artist_id"), index=True)
    album_id: Mapped[str | None] = mapped_column(Id, ForeignKey("albums.album_id"))
    genre: Mapped[str | None]
    release_date: Mapped[date | None]
    duration_ms: Mapped[int | None]
    explicit: Mapped[bool | None]
    isrc: Mapped[str | None] = mapped_column(String(32), index=True)
    key: Mapped[int | None]
    mode: Mapped[int | None]
    danceability: Mapped[float | None]
    energy: Mapped[float | None]
    valence: Mapped[float | None]
    acousticness: Mapped[float | None]
    instrumentalness: Mapped[float | None]
    speechiness: Mapped[float | None]
    liveness: Mapped[float | None]
    loudness: Mapped[float | None]
    tempo: Mapped[float | None]
    withdrawn_at: Mapped[int | None] = mapped_column(BigInteger, index=True)
    premium: Mapped[bool | None]  # for listeners of the premium tier alone
    added: Mapped[int | None] = mapped_column(index=True)  # revision that first wrote it; null: before 0002


class HistoryRow(Base):
    """What readers saw of a track before a revision changed it (JSON): an undo log, so that any revision reads."""

    __tablename__ = "track_history"
    revision: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    track_id: Mapped[str] = mapped_column(Id, ForeignKey("tracks.track_id"), primary_key=True)
    before: Mapped[str]


class AvailabilityRow(Base):
    """A window of a track; the number only makes the row unique."""

    __tablename__ = "availability"
    track_id: Mapped[str] = mapped_column(Id, ForeignKey("tracks.track_id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    country: Mapped[str | None] = mapped_column(String(2))
    available_from: Mapped[int | None] = mapped_column(BigInteger)
    available_until: Mapped[int | None] = mapped_column(BigInteger)


class AliasRow(Base):
    """A foreign id; one foreign id names one thing, one thing may have many."""

    __tablename__ = "aliases"
    entity: Mapped[str] = mapped_column(String(16), primary_key=True)
    source: Mapped[str] = mapped_column(String(64), primary_key=True)
    foreign_id: Mapped[str] = mapped_column(String(512), primary_key=True)
    id: Mapped[str] = mapped_column(Id)
    __table_args__ = (Index("ix_aliases_entity_id", "entity", "id"),)


class RevisionRow(Base):
    """One row that counts the catalog's changes; updating it also puts writers in a queue."""

    __tablename__ = "revision"
    only: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int]
