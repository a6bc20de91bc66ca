"""From a release's tracks to Spotify's object shapes: tracks, artists, albums, audio features.

objects = Objects(release, catalog.albums, "http://127.0.0.1:8000/", now, market="SE")
objects.tracks([3, 17])              # dense track numbers in, JSON-able objects out
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.errors import UnknownId
from recsys.items import Items
from recsys.schemas import AUDIO
from serving.api.spotify import PREFIX
from serving.api.spotify.countries import COUNTRIES
from serving.loaded import LoadedRelease
from serving.parts.seeds import genre_name
from serving.parts.tunables import percent

SINGLE = 3
"""Tracks up to which an album counts as a single."""
Object = dict[str, Any]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Objects:
    """Objects of one release as of one time.

    Attributes:
        albums: titles and dates of albums by id (CatalogReader.albums).
        base: address of the server, with a slash at its end.
        now: UTC ms; what is available is so at this time.
        market: where it is to be playable; None: nobody asked.
    """

    release: LoadedRelease
    albums: Callable[[Sequence[str]], dict[str, Object]]
    base: str
    now: int
    market: str | None = None

    @property
    def items(self) -> Items:
        return self.release.items

    # --- tracks -------------------------------------------------------------------------------------------

    def tracks(self, tracks: Sequence[int]) -> list[Object]:
        """Full track objects, in the given order."""
        albums = self._simplified_albums(sorted({int(self.items.album[t]) for t in tracks}))
        popularity = percent(self.release.popularity[-1])
        rows = self.items.frame[list(tracks)].to_dicts()
        return [
            self._track(track, row)
            | {
                "album": albums[int(self.items.album[track])],
                "external_ids": {"isrc": row["isrc"]} if row["isrc"] else {},
                "popularity": int(popularity[track]),
            }
            for track, row in zip(tracks, rows, strict=True)
        ]

    def _track(self, track: int, row: Object) -> Object:
        return {
            **self._identity("track", row["track_id"], row["title"]),
            "artists": self._named(row),
            **self._availability(np.array([track])),
            **({} if self.market is None else {"is_playable": bool(self._open[track])}),
            "disc_number": None,
            "duration_ms": row["duration_ms"],
            "explicit": bool(row["explicit"]),
            "is_local": False,
            "preview_url": None,
            "track_number": None,
        }

    def audio_features(self, tracks: Sequence[int]) -> list[Object | None]:
        """What tracks sound like; None for one of which nothing is known."""
        rows = self.items.frame[list(tracks)].to_dicts()
        return [self._audio(row) if any(row[name] is not None for name in AUDIO) else None for row in rows]

    def _audio(self, row: Object) -> Object:
        track_id = row["track_id"]
        features = {name: None if row[name] is None else round(row[name], 6) for name in AUDIO}
        return features | {
            "key": -1 if row["key"] is None else row["key"],
            "mode": row["mode"],
            "time_signature": None,
            "duration_ms": row["duration_ms"],
            "id": track_id,
            "uri": f"spotify:track:{track_id}",
            "track_href": self.href("track", track_id),
            "analysis_url": f"{self.base}{PREFIX[1:]}/audio-analysis/{track_id}",
            "type": "audio_features",
        }

    # --- artists ------------------------------------------------------------------------------------------

    def artists(self, artists: Sequence[int]) -> list[Object]:
        """Full artist objects, in the given order; `artists` are dense numbers."""
        rows = grouped(self.items.artist, artists)
        return [self._artist(artist, rows[artist]) for artist in artists]

    def _artist(self, artist: int, tracks: Rows) -> Object:
        frame = self.items.frame[tracks.tolist()]
        found = Counter(genre for genre in frame["genre"] if genre)
        return {
            **self._identity("artist", self.items.artist_ids[artist], frame["artist_name"][0]),
            "followers": {"href": None, "total": None},
            "genres": [genre_name(genre.rsplit("/", 1)[-1]) for genre, _ in found.most_common()],
            "images": [],
            "popularity": self._artist_popularity[artist],
        }

    @cached_property
    def _artist_popularity(self) -> list[int]:
        return _summed(self.release.popularity[-1], self.items.artist)

    def top_tracks(self, artist: int, most: int = 10) -> list[Object]:
        """An artist's most played tracks in the market, among those that are available there."""
        own = np.flatnonzero((self.items.artist == artist) & self._open)
        popularity = self.release.popularity[self.items.country_number(self.market)][own]
        return self.tracks([int(t) for t in own[np.argsort(-popularity, kind="stable")][:most]])

    # --- albums -------------------------------------------------------------------------------------------

    def album_tracks(self, album_id: str) -> Rows:
        """Dense numbers of an album's tracks.

        Raises:
            UnknownId: none stands on it.
        """
        found = np.flatnonzero((self.items.frame["album_id"] == album_id).fill_null(False).to_numpy())
        if not len(found):
            raise UnknownId(f"unknown album {album_id!r}")
        return found

    def album(self, album_id: str) -> Object:
        """A full album object with its first tracks.

        Raises:
            UnknownId: no track stands on it.
        """
        own = self.album_tracks(album_id)
        number = int(self.items.album[own[0]])
        genres = Counter(genre for genre in self.items.frame["genre"][own.tolist()] if genre)
        return {
            **self._simplified_albums([number])[number],
            "copyrights": [],
            "external_ids": {},
            "genres": [genre_name(genre.rsplit("/", 1)[-1]) for genre, _ in genres.most_common()],
            "label": None,
            "popularity": _summed(self.release.popularity[-1], self.items.album)[number],
            "tracks": self.album_page(album_id, 50, 0),
        }

    def album_page(self, album_id: str, limit: int, offset: int) -> Object:
        """One page of an album's tracks, in the order of their ids: which track comes when is not known.

        Raises:
            UnknownId: no track stands on it.
        """
        own = self.album_tracks(album_id)
        shown = own[offset : offset + limit].tolist()
        rows = self.items.frame[shown].to_dicts()

        def at(start: int) -> str:
            place = f"&market={self.market}" if self.market else ""
            return f"{self.href('album', album_id)}/tracks?offset={start}&limit={limit}{place}"

        return {
            "href": at(offset),
            "items": [self._track(track, row) for track, row in zip(shown, rows, strict=True)],
            "limit": limit,
            "next": at(offset + limit) if offset + limit < len(own) else None,
            "offset": offset,
            "previous": at(max(offset - limit, 0)) if offset else None,
            "total": len(own),
        }

    def _simplified_albums(self, albums: Sequence[int]) -> dict[int, Object]:
        """By dense number."""
        rows = grouped(self.items.album, albums)
        ids = {album: self.items.frame["album_id"][int(own[0])] for album, own in rows.items()}
        known = self.albums([album_id for album_id in ids.values() if album_id])
        return {
            album: self._album(ids[album], own, known.get(ids[album] or "")) for album, own in rows.items()
        }

    def _album(self, album_id: str | None, tracks: Rows, known: Object | None) -> Object:
        known = known or {"title": None, "release_date": None}
        released = known["release_date"]
        own = self.items.frame[tracks.tolist()].to_dicts() if album_id else []
        artists = {artist["id"]: artist for row in own for artist in self._named(row)}
        return {
            **self._identity("album", album_id, known["title"]),
            "album_type": "single" if len(own) <= SINGLE else "album",
            "artists": list(artists.values()),
            **self._availability(tracks if album_id else tracks[:0]),
            "images": [],
            "release_date": released,
            "release_date_precision": "day" if released else None,
            "total_tracks": len(own),
        }

    # --- what they share ----------------------------------------------------------------------------------

    def href(self, kind: str, public_id: str) -> str:
        """Where an object is served."""
        return f"{self.base}{PREFIX[1:]}/{kind}s/{public_id}"

    def _identity(self, kind: str, public_id: str | None, name: str | None) -> Object:
        if public_id is None:
            return {"external_urls": None, "href": None, "id": None, "name": name, "type": kind, "uri": None}
        href = self.href(kind, public_id)
        page = href if kind == "album" else f"{self.base}radio?seed={kind}:{public_id}"
        return {
            "external_urls": {"spotify": page},
            "href": href,
            "id": public_id,
            "name": name,
            "type": kind,
            "uri": f"spotify:{kind}:{public_id}",
        }

    def _named(self, row: Object) -> list[Object]:
        return [self._identity("artist", row["artist_id"], row["artist_name"])] if row["artist_id"] else []

    @cached_property
    def _open(self) -> NDArray[np.bool_]:
        """(n,) what anybody may be shown in the market: tracks of the premium tier are not."""
        country = self.items.country_number(self.market)
        open_ = self.items.available(country, self.now) & self.items.released(self.now)
        return np.asarray(open_ & ~self.items.premium)

    def _availability(self, tracks: Rows) -> Object:
        """Where any of some tracks is available, unless one market was asked for."""
        if self.market is not None:
            return {}
        items = self.items
        open_ = (items.available_from[tracks] <= self.now) & (self.now < items.available_until[tracks])
        somewhere = [bool(o) for o in np.any(open_[items.released(self.now)[tracks]], axis=0)]
        listed = dict(zip(items.countries, somewhere, strict=False))
        elsewhere = COUNTRIES if somewhere[-1] else ()
        return {
            "available_markets": sorted(
                {*(c for c in elsewhere if c not in listed), *(c for c, here in listed.items() if here)}
            )
        }


def grouped(numbers: NDArray[np.integer], wanted: Sequence[int]) -> dict[int, Rows]:
    """The rows of each wanted number, in one pass."""
    rows = np.flatnonzero(np.isin(numbers, wanted))
    return {number: rows[numbers[rows] == number] for number in wanted}


def _summed(popularity: NDArray[np.float32], owner: NDArray[np.integer]) -> list[int]:
    """Popularity of owners of tracks, 0 to 100: from the plays of all of them together."""
    plays = np.bincount(owner, np.expm1(popularity.astype(np.float64)))
    return [int(p) for p in percent(np.log1p(plays).astype(np.float32))]
