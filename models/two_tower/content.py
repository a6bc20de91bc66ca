"""What the item tower knows of tracks: rows of its embedding tables and dense content, for any catalog.

Tables are keyed by public ids and names, so a later catalog with new tracks maps onto the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.two_tower.history import F32
from recsys.items import MS_PER_DAY, Items
from recsys.plays import I32, I64, Plays

AGE_DAYS = (3, 7, 14, 30, 60, 120, 365, 1095, 3650)
AGE_BUCKETS = len(AGE_DAYS) + 2
"""Bucket 0: release date unknown."""


@dataclass(frozen=True)
class Vocabulary:
    """Names with a row of their own in the embedding tables; row 0 of each table stands for all others."""

    tracks: list[str]
    artists: list[str]
    albums: list[str]
    genres: list[str]
    parents: list[str]

    @classmethod
    def of(cls, items: Items, plays_per_track: NDArray[np.integer], min_plays: int) -> Vocabulary:
        """Tracks with at least min_plays plays, and the artists, albums and genres that have one played."""
        played = np.flatnonzero(plays_per_track > 0)
        known = np.flatnonzero(plays_per_track >= max(min_plays, 1))
        albums = items.frame["album_id"].fill_null("").gather(played)
        return cls(
            tracks=[items.track_ids[i] for i in known],
            artists=[items.artist_ids[i] for i in np.unique(items.artist[played])],
            albums=[a for a in albums.unique().sort() if a],
            genres=[items.genres[i] for i in np.unique(items.genre[played]) if i >= 0],
            parents=[items.parents[i] for i in np.unique(items.parent[played]) if i >= 0],
        )

    @cached_property
    def sizes(self) -> tuple[int, int, int, int, int]:
        """Rows of the five tables, row 0 counted."""
        tables = (self.tracks, self.artists, self.albums, self.genres, self.parents)
        a, b, c, d, e = (len(table) + 1 for table in tables)
        return a, b, c, d, e

    @cached_property
    def numbers(self) -> tuple[dict[str, int], ...]:
        """Row of each name in the five tables."""
        tables = (self.tracks, self.artists, self.albums, self.genres, self.parents)
        return tuple({name: i + 1 for i, name in enumerate(table)} for table in tables)


@dataclass(frozen=True)
class Content:
    """n tracks as inputs of the item tower."""

    rows: I64  # (n, 5) rows of the track, artist, album, genre and parent-genre tables; 0 unknown
    audio: F32  # (n, len(AUDIO) + 1) standardised features, then whether they are known
    release_day: I32  # (n,)
    catalog: Items

    @classmethod
    def of(cls, items: Items, vocabulary: Vocabulary) -> Content:
        albums = items.frame["album_id"].fill_null("").to_list()
        of_track, of_artist, of_album, of_genre, of_parent = vocabulary.numbers
        columns = [
            _rows(items.track_ids, of_track),
            _rows(items.artist_ids, of_artist)[items.artist],
            _rows(albums, of_album),
            _rows([*items.genres, ""], of_genre)[items.genre],  # -1 reads the last, unknown
            _rows([*items.parents, ""], of_parent)[items.parent],
        ]
        audio = np.column_stack([items.audio, items.audio_known]).astype(np.float32)
        return cls(np.column_stack(columns), audio, items.release_day, items)

    def age_bucket(self, tracks: I64, now_ms: int) -> I64:
        """(m,) age buckets of some tracks at a time."""
        age = self.catalog.age_days(now_ms)[tracks]
        return np.where(age < 0, 0, 1 + np.searchsorted(AGE_DAYS, age, side="right"))


@dataclass(frozen=True)
class FirstPlays:
    """When the log first hears of tracks and albums that came out while it ran; -1 for all others.

    Until then a track is placed by its content, in training as when it is served.
    """

    track: I64  # (n,) UTC day
    album: I64  # (n,) of each track's album

    @classmethod
    def of(cls, plays: Plays, items: Items) -> FirstPlays:
        never = np.iinfo(np.int64).max
        known = plays.track >= 0
        track = np.full(len(items), never)
        np.minimum.at(track, plays.track[known], plays.start[known] // MS_PER_DAY)
        album = np.full(int(items.album.max(initial=-1)) + 1, never)
        np.minimum.at(album, items.album, track)
        began = int(track.min(initial=never))
        new = items.release_day > began
        return cls(np.where(new, track, -1), np.where(new, album[items.album], -1))


def _rows(names: Sequence[str], row: dict[str, int]) -> I64:
    return np.fromiter((row.get(name, 0) for name in names), np.int64, len(names))
