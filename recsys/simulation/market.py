"""What is the same for everyone on one day: which tracks are out and open, how popular each is, how to draw one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recsys.simulation.audio import F32
from recsys.simulation.catalog import I32, Catalog
from recsys.simulation.rng import F64, U64, uniforms

BUZZ = 0.12
"""Exponent by which recent plays feed back into popularity."""
TOP = 300


@dataclass(frozen=True)
class Market:
    """One day. `recent` is a decayed count of everyone's plays up to the day before yesterday."""

    catalog: Catalog
    day: int
    recent: F32  # (n,)

    @cached_property
    def open(self) -> NDArray[np.bool_]:
        """(n, countries) playable today."""
        return self.catalog.open_on(self.day)

    @cached_property
    def weight(self) -> F64:
        """(n,) popularity: the track's own, newness in its first weeks, and the buzz of recent plays."""
        age = self.day - self.catalog.release
        fresh = np.where((age > 0) & (age < 60), 1 + 2 * np.exp(-np.maximum(age, 0) / 10), 1.0)
        buzz = (1 + self.recent / max(float(self.recent.mean()), 1e-9)) ** BUZZ
        out: F64 = self.catalog.weight * fresh * buzz * (age > 0)
        return out

    @cached_property
    def by_leaf(self) -> I32:
        """Tracks in order of leaf genre."""
        return np.argsort(self.catalog.leaf, kind="stable").astype(np.int32)

    @cached_property
    def _leaf_mass(self) -> F64:
        return np.concatenate([[0.0], np.cumsum(self.weight[self.by_leaf])])

    @cached_property
    def _leaf_start(self) -> NDArray[np.int64]:
        sizes = np.bincount(self.catalog.leaf, minlength=len(self.catalog.leaf_parent))
        return np.concatenate([[0], np.cumsum(sizes)])

    @cached_property
    def _artist_mass(self) -> F64:
        return np.concatenate([[0.0], np.cumsum(self.weight**0.7)])

    @cached_property
    def top(self) -> I32:
        """The most played tracks of late."""
        return np.argsort(-(self.recent + 1e-3 * self.catalog.weight), kind="stable")[:TOP].astype(np.int32)

    def in_leaf(self, leaf: NDArray[np.integer], u: F64) -> I32:
        """A track of each leaf genre by popularity; shapes broadcast."""
        return self.by_leaf[_draw(self._leaf_mass, self._leaf_start[leaf], self._leaf_start[leaf + 1], u)]

    def by_artist(self, artist: NDArray[np.integer], u: F64) -> I32:
        """A track of each artist by popularity (flattened)."""
        starts = self.catalog.artist_start
        return _draw(self._artist_mass, starts[artist], starts[artist + 1], u).astype(np.int32)


def _draw(mass: F64, start: NDArray[np.integer], stop: NDArray[np.integer], u: F64) -> NDArray[np.int64]:
    low, high = mass[start], mass[stop]
    at: NDArray[np.int64] = np.searchsorted(mass, low + u * (high - low), side="right") - 1
    out: NDArray[np.int64] = np.maximum(np.minimum(at, stop - 1), start)
    return out


def wander(market: Market, home_leaf: NDArray[np.int64], u: F64) -> NDArray[np.int64]:
    """The leaf genre explored next: mostly the taste's own, at times a sibling of it or any other."""
    leaves = len(market.catalog.leaf_parent)
    per_parent = leaves // (int(market.catalog.leaf_parent[-1]) + 1)
    sibling = home_leaf // per_parent * per_parent + np.floor((u - 0.78) / 0.15 * per_parent).astype(np.int64)
    other = np.floor((u - 0.93) / 0.07 * leaves).astype(np.int64)
    leaf = np.where(u < 0.78, home_leaf, np.where(u < 0.93, sibling, other))
    return np.maximum(np.minimum(leaf, leaves - 1), 0)


def explore(
    market: Market,
    key: U64,
    start: int,
    country: NDArray[np.int64],
    home_leaf: NDArray[np.int64],
    preference: F32,
    recent: I32 | None = None,
    among: int = 4,
) -> tuple[I32, NDArray[np.bool_]]:
    """The best of a few tracks met by chance (popularity within a genre; a softmax choice by taste).

    Uses draws start .. start + 2 * among of each key.

    Returns:
        (n,) tracks and whether each may be played (open, and not among `recent`).
    """
    u = uniforms(key, 2 * among + 1, start)
    leaf = wander(market, home_leaf, u[-1])
    track = market.in_leaf(leaf[None, :], u[:among])
    appeal = 7.0 * np.einsum("mnd,nd->mn", market.catalog.latent[track], preference)
    appeal -= np.log(-np.log(u[among : 2 * among]))
    usable = market.open[track, country[None, :]]
    if recent is not None:
        usable &= ~(recent[None, :, :] == track[:, :, None]).any(2)
    best = np.argmax(np.where(usable, appeal, -np.inf), axis=0)
    columns = np.arange(len(key))
    return track[best, columns], usable[best, columns]
