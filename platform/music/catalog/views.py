"""Entities as JSON-able fields: what the catalog's readers get, and the fields that api.py declares."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from music.catalog.model import Album, Alias, Artist, Track, Window


def track_view(track: Track) -> dict[str, Any]:
    """A track with its artist, album, rights in force and foreign ids; times are ISO 8601 in UTC."""
    return {
        "track_id": track.track_id,
        "title": track.title,
        "artist": track.artist and {"artist_id": track.artist.artist_id, "name": track.artist.name},
        "album": track.album and album_view(track.album),
        "genre": track.genre,
        "release_date": _iso(track.release_date),
        "duration_ms": track.duration_ms,
        "explicit": track.explicit,
        "premium": track.premium,
        "isrc": track.isrc,
        "audio": dict(track.audio),
        "availability": [_window_view(window) for window in track.rights],
        "aliases": [_alias_view(alias) for alias in track.aliases],
        "withdrawn_at": _iso(track.withdrawn_at),
    }


def album_view(album: Album) -> dict[str, Any]:
    """An album by title; the date is ISO 8601."""
    return {
        "album_id": album.album_id,
        "title": album.title,
        "release_date": _iso(album.release_date),
    }


def artist_view(artist: Artist, tracks: Sequence[tuple[str, str | None]]) -> dict[str, Any]:
    """An artist with foreign ids and the given (track_id, title)."""
    return {
        "artist_id": artist.artist_id,
        "name": artist.name,
        "genre": artist.genre,
        "aliases": [_alias_view(alias) for alias in artist.aliases],
        "tracks": [{"track_id": track_id, "title": title} for track_id, title in tracks],
    }


def _window_view(window: Window) -> dict[str, Any]:
    return {
        "country": window.country,
        "available_from": _iso(window.since),
        "available_until": _iso(window.until),
    }


def _alias_view(alias: Alias) -> dict[str, Any]:
    return {"source": alias.source, "foreign_id": alias.foreign_id}


def _iso(at: date | datetime | None) -> str | None:
    return None if at is None else at.isoformat()
