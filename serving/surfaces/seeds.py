"""What a station starts from: `track:ID`, `artist:ID`, `album:ID`, `playlist:ID,ID,...`, `genre:NAME`, `words:TEXT`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.errors import BadInput, UnknownId
from recsys.items import Items
from serving.loaded import LoadedRelease
from serving.parts.words import WordIndex

FORMS = "seed must be track:ID, artist:ID, album:ID, playlist:ID,ID,..., genre:NAME or words:TEXT"
PLAYLIST = 100  # tracks of a playlist that count, newest (last) first
OF_ARTIST, OF_GENRE, OF_WORDS = 10, 30, 20


@dataclass(frozen=True)
class Seeds:
    """A seed in one release: the tracks whose mean is the station's place, and the genres that it is held to."""

    kind: str
    tracks: tuple[int, ...]
    genres: tuple[int, ...] = ()  # dense leaf genres; empty: held to the neighbourhood of its tracks


def resolve(seed: str, release: LoadedRelease, words: WordIndex) -> Seeds:
    """The seed of a new station.

    Raises:
        BadInput: not of a form that FORMS lists.
        UnknownId: this release knows nothing of that name.
    """
    kind, _, value = seed.partition(":")
    items, value = release.items, value.strip()
    if not value:
        raise BadInput(FORMS)
    if kind == "track":
        return Seeds(kind, (int(items.number(value)),))
    if kind == "artist":
        tracks = np.flatnonzero(items.artist == items.artist_number(value))
        return Seeds(kind, _popular(release, tracks, OF_ARTIST))
    if kind == "album":
        return Seeds(kind, _album(items, value))
    if kind == "playlist":
        return Seeds(kind, _playlist(items, value))
    if kind == "genre":
        return _genre(release, value)
    if kind == "words":
        found = words.search(value, OF_WORDS)
        if not found:
            raise UnknownId("no track, artist or genre matches these words: try fewer or other ones")
        return Seeds(kind, tuple(found))
    raise BadInput(FORMS)


def _popular(release: LoadedRelease, tracks: NDArray[np.integer], k: int) -> tuple[int, ...]:
    best = tracks[np.argsort(-release.popularity[-1][tracks], kind="stable")]
    return tuple(int(track) for track in best[:k])


def _album(items: Items, album_id: str) -> tuple[int, ...]:
    tracks = np.flatnonzero((items.frame["album_id"] == album_id).fill_null(False).to_numpy())
    if not len(tracks):
        raise UnknownId(f"unknown album {album_id!r} in this release")
    return tuple(int(track) for track in tracks)


def _playlist(items: Items, value: str) -> tuple[int, ...]:
    """Tracks that this release lacks are passed over; one at least must be known."""
    known = [int(n) for n in items.numbers(value.split(",")) if n >= 0]
    if not known:
        raise UnknownId("this release knows no track of this playlist")
    return tuple(known[-PLAYLIST:])


def _genre(release: LoadedRelease, name: str) -> Seeds:
    items = release.items
    leaves = genre_leaves(items, name)
    if not leaves:
        known = ", ".join(sorted(parent for parent in items.parents if parent)[:12])
        raise UnknownId(
            f"unknown genre {name[:64]!r} in this release; it has {known}, and leaves such as "
            f"{next((g for g in items.genres if '/' in g), 'parent/leaf')}"
        )
    tracks = np.flatnonzero(np.isin(items.genre, leaves))
    return Seeds("genre", _popular(release, tracks, OF_GENRE), leaves)


def genre_leaves(items: Items, name: str) -> tuple[int, ...]:
    """Dense leaf genres of "parent/leaf", of "parent", or of a leaf's own name where only one has it."""
    wanted = name.casefold()
    named = [(number, genre.casefold()) for number, genre in enumerate(items.genres) if genre]
    whole = tuple(number for number, genre in named if genre == wanted)
    below = tuple(number for number, genre in named if genre.partition("/")[0] == wanted)
    own = tuple(number for number, genre in named if genre.rpartition("/")[2] == wanted)
    return below or whole or (own if len(own) == 1 else ())
