"""The tracks of one release as an in-memory matrix: dense numbers, content, rights. Loaded once, read by all.

Dense numbers are mapped once, at the edge: `items.number(track_id)` in, `items.track_ids[number]` out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import repeat
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.errors import UnknownId
from recsys.ids import TrackId, TrackIndex
from recsys.plays import I16, I32, I64
from recsys.schemas import AUDIO, AVAILABILITY

_EVER = np.iinfo(np.int64).max
MS_PER_DAY = 86_400_000
UNKNOWN_DAY = -1_000_000


@dataclass(frozen=True)
class Items:
    """n tracks, dense number = position. `frame` keeps public ids and names for display."""

    frame: pl.DataFrame  # columns of schemas.TRACKS plus artist_name; row i is track i
    artist_ids: list[str]  # dense artist number -> public id
    genres: list[str]  # dense genre number -> "parent/leaf"
    parents: list[str]  # dense parent-genre number -> name
    countries: list[str]  # dense country number -> ISO code; rights columns below follow it
    artist: I32  # (n,)
    album: I32  # (n,)
    genre: I16  # (n,) -1 unknown
    parent: I16  # (n,) -1 unknown
    release_day: I32  # (n,) days since 1970-01-01; UNKNOWN_DAY where unknown
    duration_ms: I32  # (n,) 0 where unknown
    explicit: NDArray[np.bool_]  # (n,)
    audio: NDArray[np.float32]  # (n, len(AUDIO)) standardised; 0 where unknown
    audio_known: NDArray[np.bool_]  # (n,)
    available_from: I64  # (n, countries+1) UTC ms; last column: a country not listed
    available_until: I64  # (n, countries+1) UTC ms, exclusive; equal to `from` where never available

    def __len__(self) -> int:
        return len(self.artist)

    @cached_property
    def track_ids(self) -> list[str]:
        return self.frame["track_id"].to_list()

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {track_id: i for i, track_id in enumerate(self.track_ids)}

    @cached_property
    def _countries(self) -> dict[str, int]:
        return {code: i for i, code in enumerate(self.countries)}

    @cached_property
    def _artists(self) -> dict[str, int]:
        return {artist_id: i for i, artist_id in enumerate(self.artist_ids)}

    @cached_property
    def named(self) -> NDArray[np.bool_]:
        """(artists,) whether an artist is one: tracks without any have the artist "" together."""
        return np.array([artist != "" for artist in self.artist_ids], bool)

    @cached_property
    def _albums(self) -> dict[str, int]:
        return dict(zip(self.frame["album_id"].fill_null("").to_list(), self.album.tolist(), strict=True))

    @cached_property
    def premium(self) -> NDArray[np.bool_]:
        """(n,) tracks for listeners of the premium tier alone; none in a release from before there were tiers."""
        if "premium" not in self.frame.columns:
            return np.zeros(len(self), bool)
        return self.frame["premium"].fill_null(False).to_numpy().astype(bool)

    @cached_property
    def moments(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Centers and scales that the audio features were standardised with."""
        audio = self.frame.select(AUDIO).to_numpy().astype(np.float32)
        return _moments(audio[np.isfinite(audio).all(axis=1)])

    def take(self, rows: NDArray[np.integer]) -> Items:
        """Some tracks as items of their own; artists, albums and genres keep their numbers."""
        arrays = ("artist", "album", "genre", "parent", "release_day", "duration_ms", "explicit")
        more = ("audio", "audio_known", "available_from", "available_until")
        return replace(self, frame=self.frame[rows], **{n: getattr(self, n)[rows] for n in (*arrays, *more)})

    def number(self, track_id: str) -> TrackIndex:
        """Raises UnknownId where this release has no such track."""
        try:
            return TrackIndex(self._numbers[track_id])
        except KeyError:
            raise UnknownId(f"unknown track {track_id!r} in this release") from None

    def numbers(self, track_ids: Iterable[str | None]) -> I32:
        """Dense numbers, -1 where unknown."""
        known: dict[str | None, int] = self._numbers  # type: ignore[assignment]  # read only
        return np.fromiter(map(known.get, track_ids, repeat(-1)), np.int32)

    def artist_number(self, artist_id: str) -> int:
        try:
            return self._artists[artist_id]
        except KeyError:
            raise UnknownId(f"unknown artist {artist_id!r} in this release") from None

    def artist_numbers(self, artist_ids: Iterable[str]) -> I32:
        """Dense numbers of those artists that this release has."""
        known = self._artists
        return np.array([known[a] for a in artist_ids if a in known], np.int32)

    def country_number(self, code: str | None) -> int:
        """Column of the rights matrices for a country code; the last column for one not listed."""
        return self._countries.get(code or "", len(self.countries))

    def track_id(self, number: int) -> TrackId:
        return TrackId(self.track_ids[number])

    def available(self, country: int, now_ms: int) -> NDArray[np.bool_]:
        """(n,) mask of tracks that may be shown in a country (number) at a time."""
        return (self.available_from[:, country] <= now_ms) & (now_ms < self.available_until[:, country])

    def somewhere(self, now_ms: int) -> NDArray[np.bool_]:
        """(n,) mask of tracks that are released and may be shown in some territory at a time."""
        open_ = (self.available_from <= now_ms) & (now_ms < self.available_until)
        return open_.any(axis=1) & self.released(now_ms)

    def released(self, now_ms: int) -> NDArray[np.bool_]:
        """(n,) mask of tracks whose release day has come (an unknown release day counts as come)."""
        return self.release_day <= now_ms // MS_PER_DAY

    def age_days(self, now_ms: int) -> I32:
        """(n,) days since release, at least 0; -1 where the release date is unknown."""
        age = np.maximum(now_ms // MS_PER_DAY - self.release_day, 0)
        return np.where(self.release_day == UNKNOWN_DAY, -1, age).astype(np.int32)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.frame.write_parquet(folder / "tracks.parquet")
        np.savez(
            folder / "rights.npz",
            countries=self.countries,
            since=self.available_from,
            until=self.available_until,
        )

    @classmethod
    def load(cls, folder: Path) -> Items:
        frame = pl.read_parquet(folder / "tracks.parquet")
        with np.load(folder / "rights.npz") as rights:
            return cls._build(frame, [str(c) for c in rights["countries"]], rights["since"], rights["until"])

    @classmethod
    def of(cls, tracks: pl.DataFrame, artists: pl.DataFrame, availability: pl.DataFrame | None) -> Items:
        """From the lake's catalog tables; tracks are numbered in order of track_id."""
        names = artists.select("artist_id", artist_name="name").unique("artist_id", keep="first")
        frame = tracks.sort("track_id").join(names, on="artist_id", how="left", maintain_order="left")
        return cls._build(frame, *_rights(frame["track_id"], availability))

    @classmethod
    def _build(cls, frame: pl.DataFrame, countries: list[str], since: I64, until: I64) -> Items:
        genre = frame["genre"].fill_null("")
        parent = genre.str.split("/").list.first()
        genres, genre_no = _dense(genre)
        parents, parent_no = _dense(parent)
        artist_ids, artist_no = _dense(frame["artist_id"].fill_null(""))
        audio = frame.select(AUDIO).to_numpy().astype(np.float32)
        known = np.isfinite(audio).all(axis=1)
        center, scale = _moments(audio[known])
        return cls(
            frame=frame,
            artist_ids=artist_ids,
            genres=genres,
            parents=parents,
            countries=countries,
            artist=artist_no.astype(np.int32),
            album=_dense(frame["album_id"].fill_null(""))[1].astype(np.int32),
            genre=_blank(genres, genre_no),
            parent=_blank(parents, parent_no),
            release_day=frame["release_date"]
            .cast(pl.Int32)
            .fill_null(UNKNOWN_DAY)
            .to_numpy()
            .astype(np.int32),
            duration_ms=frame["duration_ms"].fill_null(0).to_numpy().astype(np.int32),
            explicit=frame["explicit"].fill_null(False).to_numpy().astype(bool),
            audio=np.where(known[:, None], (audio - center) / scale, 0).astype(np.float32),
            audio_known=known,
            available_from=since,
            available_until=until,
        )


def _dense(values: pl.Series) -> tuple[list[str], I64]:
    names = values.unique().sort()
    numbers = values.replace_strict(names, np.arange(len(names)), return_dtype=pl.Int64)
    return names.to_list(), numbers.to_numpy()


def _blank(names: list[str], numbers: I64) -> I16:
    """Numbers with the empty name mapped to -1."""
    return np.where(np.array(names, object)[numbers] == "", -1, numbers).astype(np.int16)


def _moments(audio: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if not len(audio):
        return np.zeros(audio.shape[1], np.float32), np.ones(audio.shape[1], np.float32)
    return audio.mean(0), np.maximum(audio.std(0), 1e-6)


def _rights(track_ids: pl.Series, availability: pl.DataFrame | None) -> tuple[list[str], I64, I64]:
    """Countries named by the windows, and the rights matrices."""
    if availability is None:
        availability = pl.DataFrame(schema=AVAILABILITY)
    countries = availability["country"].drop_nulls().unique().sort().to_list()
    return countries, *rights(track_ids, availability, countries)


def rights(track_ids: pl.Series, availability: pl.DataFrame, countries: list[str]) -> tuple[I64, I64]:
    """Rights matrices (n, countries+1); several windows of a track in one country are taken as one (min from, max
    until), and a window in a country that is not listed opens nothing."""
    n = len(track_ids)
    since = np.full((n, len(countries) + 1), -_EVER)
    until = np.full((n, len(countries) + 1), _EVER)
    rows = (
        availability.with_columns(
            pl.col("available_from").dt.epoch("ms").fill_null(-_EVER),
            pl.col("available_until").dt.epoch("ms").fill_null(_EVER),
        )
        .group_by("track_id", "country")
        .agg(pl.col("available_from").min(), pl.col("available_until").max())
        .join(pl.DataFrame({"track_id": track_ids, "row": np.arange(n)}), on="track_id")
    )
    listed = rows["row"].unique().to_numpy()
    since[listed], until[listed] = _EVER, -_EVER  # a track with rows is closed wherever no row opens it
    everywhere = rows.filter(pl.col("country").is_null())
    since[everywhere["row"].to_numpy()] = everywhere["available_from"].to_numpy()[:, None]
    until[everywhere["row"].to_numpy()] = everywhere["available_until"].to_numpy()[:, None]
    named = rows.filter(pl.col("country").is_in(countries))
    row = named["row"].to_numpy()
    column = np.searchsorted(countries, named["country"].to_list())
    since[row, column] = np.minimum(since[row, column], named["available_from"].to_numpy())
    until[row, column] = np.maximum(until[row, column], named["available_until"].to_numpy())
    closed = since > until
    since[closed], until[closed] = 0, 0
    return since, until


__all__ = ["MS_PER_DAY", "UNKNOWN_DAY", "Items", "rights"]
