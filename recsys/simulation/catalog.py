"""The simulated catalog: genres, artists, albums, tracks, rights, and the hidden factors behind them.

Tracks are numbered by (artist, album, place on the album), so that an album is a run of consecutive numbers.
Everything here is drawn from the profile's seed alone: `Catalog.make(profile)`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.simulation.audio import F32, audio_features
from recsys.simulation.identify import hashed_ids
from recsys.simulation.names import GENRES
from recsys.simulation.profiles import Profile

LATENT = 16
"""Dimensions of taste space."""
NEIGHBOURS = 6
EVER = 20_000
"""Days before or after the first day that stand for `since ever` and `for ever`."""
COUNTRIES: dict[str, tuple[str, float, float]] = {
    # code: time zone, its offset in hours during the window, share of listeners
    "AU": ("Australia/Sydney", 11.0, 0.05),
    "BR": ("America/Sao_Paulo", -3.0, 0.12),
    "DE": ("Europe/Berlin", 1.0, 0.11),
    "FR": ("Europe/Paris", 1.0, 0.08),
    "GB": ("Europe/London", 0.0, 0.12),
    "IN": ("Asia/Kolkata", 5.5, 0.09),
    "JP": ("Asia/Tokyo", 9.0, 0.06),
    "MX": ("America/Mexico_City", -6.0, 0.10),
    "SE": ("Europe/Stockholm", 1.0, 0.05),
    "US": ("America/New_York", -5.0, 0.22),
}
CODES = list(COUNTRIES)

I16 = NDArray[np.int16]
I32 = NDArray[np.int32]


@dataclass(frozen=True)
class Catalog:
    """n tracks by A artists in G leaf genres; days count from the profile's first day."""

    artist_start: I32  # (A+1,) first track of each artist
    artist_leaf: I16  # (A,)
    artist_home: I16  # (A,) country number
    artist_weight: F32  # (A,) popularity
    artist_latent: F32  # (A, LATENT) unit length
    leaf_parent: I16  # (G,)
    artist: I32  # (n,)
    album: I32  # (n,)
    leaf: I16  # (n,)
    latent: F32  # (n, LATENT) unit length
    mood: F32  # (n, 2) energy and valence, standardised
    quality: F32  # (n,) standardised
    weight: F32  # (n,) long-tail popularity before any exposure
    release: I32  # (n,) day of release
    duration_ms: I32  # (n,)
    explicit: NDArray[np.bool_]  # (n,)
    since: I16  # (n, countries) first day of the right to show it; -EVER: since ever
    until: I16  # (n, countries) first day without that right; EVER: for ever; = since: never
    neighbours: I32  # (n, NEIGHBOURS) tracks that tend to follow, nearest first
    audio: F32  # (n, len(AUDIO)) noisy views of the factors, in the features' usual units
    key: NDArray[np.int8]  # (n,)
    mode: NDArray[np.int8]  # (n,)

    def __len__(self) -> int:
        return len(self.artist)

    def save(self, path: Path) -> None:
        np.savez(path, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Catalog:
        with np.load(path) as stored:
            return cls(**{f.name: stored[f.name] for f in fields(cls)})

    @cached_property
    def album_start(self) -> I32:
        """(n,) first track of each track's album."""
        first = np.flatnonzero(np.diff(self.album, prepend=-1))
        return first[self.album].astype(np.int32)

    def open_on(self, day: int) -> NDArray[np.bool_]:
        """(n, countries) tracks that may be played at every moment of simulated day `day`.

        A simulated day is local, 04:00 to 04:00, so it touches the UTC days day-1 to day+1.
        """
        return (self.since <= day - 1) & (self.until >= day + 2)

    @classmethod
    def make(cls, profile: Profile) -> Catalog:
        """Draws the whole catalog from the profile's seed."""
        rng = np.random.Generator(np.random.Philox([profile.seed, 1]))
        artists = _artists(profile, rng)
        size = np.diff(artists["artist_start"])
        artist = np.repeat(np.arange(profile.artists), size).astype(np.int32)
        tracks = _tracks(artists, artist, rng)
        place = np.arange(profile.tracks) - artists["artist_start"][artist]
        album, release = _albums(profile, artist, place, size, rng)
        since, until = _rights(profile, album, release, rng)
        return cls(
            **artists,
            **tracks,
            artist=artist,
            album=album,
            release=release,
            since=since,
            until=until,
            neighbours=_neighbours(tracks["leaf"], tracks["latent"], tracks["weight"], rng),
            **audio_features(tracks["latent"], tracks["mood"], rng),
        )


def track_ids(seed: int, n: int) -> list[str]:
    """Public id of each simulated track."""
    ids: list[str] = hashed_ids("sim", [f"{seed}:track:{i}" for i in range(n)]).to_pylist()
    return ids


def leaf_names(profile: Profile) -> list[str]:
    """Names of the leaf genres, "parent/leaf"."""
    parents = list(GENRES)[: profile.parents]
    return [f"{parent}/{leaf}" for parent in parents for leaf in GENRES[parent][: profile.leaves]]


def _unit(x: NDArray[np.floating]) -> F32:
    out: F32 = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    return out


def _around(center: NDArray[np.floating], share: float, rng: np.random.Generator) -> F32:
    """Unit vectors near `center`; `share` is the expected cosine."""
    noise = rng.standard_normal(center.shape) / np.sqrt(center.shape[1])
    return _unit(share * center + np.sqrt(1 - share**2) * noise)


def _artists(profile: Profile, rng: np.random.Generator) -> dict[str, Any]:
    leaves = profile.parents * profile.leaves
    parent = np.repeat(np.arange(profile.parents), profile.leaves)
    parent_latent = _unit(rng.standard_normal((profile.parents, LATENT)))
    leaf_latent = _around(parent_latent[parent], 0.75, rng)
    size_of_leaf = rng.lognormal(0, 0.6, leaves)
    leaf = rng.choice(leaves, profile.artists, p=size_of_leaf / size_of_leaf.sum())
    raw = rng.lognormal(0, 0.9, profile.artists)
    size = 1 + np.floor(raw / raw.sum() * (profile.tracks - profile.artists)).astype(np.int64)
    size[np.argsort(-raw)[: profile.tracks - size.sum()]] += 1
    return {
        "artist_start": np.concatenate([[0], np.cumsum(size)]).astype(np.int32),
        "artist_leaf": leaf.astype(np.int16),
        "artist_home": rng.choice(len(CODES), profile.artists, p=_listener_shares()).astype(np.int16),
        "artist_weight": _saturated(0.85 * rng.standard_normal(profile.artists)),
        "artist_latent": _around(leaf_latent[leaf], 0.8, rng),
        "leaf_parent": parent.astype(np.int16),
    }


def _listener_shares() -> NDArray[np.float64]:
    return np.array([share for _, _, share in COUNTRIES.values()])


def _saturated(log_weight: NDArray[np.float64], cap: float = 3.0) -> F32:
    """Popularity with a long lower tail and a flat head: exp(log_weight), levelling off at exp(cap)."""
    weight: F32 = (1 / (np.exp(-log_weight) + np.exp(-cap))).astype(np.float32)
    return weight


def _tracks(artists: dict[str, Any], artist: I32, rng: np.random.Generator) -> dict[str, Any]:
    n = len(artist)
    latent = _around(artists["artist_latent"][artist], 0.85, rng)
    mood = latent @ rng.standard_normal((LATENT, 2)) + 0.8 * rng.standard_normal((n, 2))
    fame = np.log(artists["artist_weight"][artist]) + 0.55 * rng.standard_normal(n)
    quality = 0.4 * fame / fame.std() + np.sqrt(1 - 0.4**2) * rng.standard_normal(n)
    return {
        "leaf": artists["artist_leaf"][artist].astype(np.int16),
        "latent": latent,
        "mood": ((mood - mood.mean(0)) / mood.std(0)).astype(np.float32),
        "quality": quality.astype(np.float32),
        "weight": _saturated(fame),
        "duration_ms": np.clip(rng.lognormal(np.log(222_000), 0.28, n), 65_000, 900_000).astype(np.int32),
        "explicit": rng.random(n) < np.where(artists["artist_leaf"][artist] % 3 == 0, 0.3, 0.08),
    }


def _albums(
    profile: Profile, artist: I32, place: NDArray[np.int64], size: NDArray[np.int64], rng: np.random.Generator
) -> tuple[I32, I32]:
    """Album number and release day of each track; an artist's albums run from the oldest to the newest."""
    length = np.where(rng.random(len(size)) < 0.12, 1, rng.integers(4, 15, len(size)))
    nth = place // length[artist]
    first = (place % length[artist]) == 0
    album = np.cumsum(first).astype(np.int32) - 1
    owner, order = artist[first], nth[first]
    newest = order == (size - 1)[owner] // length[owner]
    step = rng.integers(250, 900, len(size))
    age = rng.integers(2, 2_500, len(size))[owner] + step[owner] * (
        (size - 1)[owner] // length[owner] - order
    )
    day = np.minimum(-age, -1)
    upcoming = newest & (rng.random(len(order)) < 0.25)
    day[upcoming] = rng.integers(1, profile.days, upcoming.sum())
    return album, np.maximum(day, -EVER + 1)[album].astype(np.int32)


def _rights(profile: Profile, album: I32, release: I32, rng: np.random.Generator) -> tuple[I16, I16]:
    """Windows per track and country, by album: most are open everywhere from their release on."""
    first = np.flatnonzero(np.diff(album, prepend=-1))
    released = release[first]
    shape = (len(first), len(CODES))
    since, until = np.full(shape, -EVER), np.full(shape, EVER)
    kind = rng.random(len(first))
    regional = kind < 0.06
    late = (kind >= 0.06) & (kind < 0.09)
    ending = (kind >= 0.09) & (kind < 0.12) & (released < 0)
    since[late] = rng.integers(1, profile.days, (late.sum(), 1))
    until[ending] = rng.integers(1, profile.days, (ending.sum(), 1))
    since[released > 0] = np.maximum(since, released[:, None])[released > 0]
    closed = regional[:, None] & (rng.random(shape) < 0.35)
    until[closed] = since[closed]
    return since[album].astype(np.int16), until[album].astype(np.int16)


def _neighbours(leaf: I16, latent: F32, weight: F32, rng: np.random.Generator, pool: int = 48) -> I32:
    """For each track the nearest of `pool` tracks of its leaf genre, drawn by popularity."""
    order = np.argsort(leaf, kind="stable")
    sizes = np.bincount(leaf)
    stop = np.cumsum(sizes)[leaf]
    mass = np.concatenate([[0.0], np.cumsum(weight[order], dtype=np.float64)])
    low, high = mass[stop - sizes[leaf]], mass[stop]
    out = np.empty((len(leaf), NEIGHBOURS), np.int32)
    for rows in np.array_split(np.arange(len(leaf)), max(len(leaf) // 20_000, 1)):
        u = low[rows, None] + rng.random((len(rows), pool)) * (high - low)[rows, None]
        candidate = order[np.minimum(np.searchsorted(mass, u, side="right") - 1, len(leaf) - 1)]
        near = np.einsum("nd,npd->np", latent[rows], latent[candidate])
        near[candidate == rows[:, None]] = -2
        best = np.argsort(-near, axis=1, kind="stable")[:, :NEIGHBOURS]
        out[rows] = np.take_along_axis(candidate, best, axis=1)
    return out
