"""A listener's tastes as a few groups of artists, and what lies near each: the ground of mixes and of discovery.

tastes(batch, model, items, settings)[j].centers     # (c, d) unit vectors, the listener's largest taste first
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.two_tower.model import TwoTower
from recsys.items import Items
from recsys.pipeline import Proposal
from recsys.plays import Outcome, Plays
from recsys.types import QueryBatch
from recsys.vectors import normalize
from serving.list_settings import MixSettings
from serving.parts.sources import rights, stack
from serving.parts.window import heard, liked

Floats = NDArray[np.float32]
MOST_ARTISTS = 120
"""Artists that are grouped, those played most: the rest says little, and merging costs their cube."""
PARTIAL = 0.6
"""What a play that was neither skipped nor finished counts, against 1 for a finished one."""


@dataclass(frozen=True)
class Taste:
    """c groups of one listener's artists; none where nothing is known."""

    centers: Floats  # (c, d) unit
    share: Floats  # (c,) of the listener's weighted plays

    def group(self, vectors: Floats) -> tuple[NDArray[np.int64], Floats]:
        """(m,) the nearest group of each unit vector, and its cosine with the middle of that group."""
        cosine = vectors @ self.centers.T
        nearest = cosine.argmax(axis=1)
        return nearest, cosine[np.arange(len(vectors)), nearest]


def tastes(batch: QueryBatch, model: TwoTower, items: Items, settings: MixSettings) -> list[Taste]:
    """Each listener's groups; computed once a batch."""
    key = f"taste/{id(model)}/{settings.half_life}/{settings.apart}/{settings.mixes}"
    if key not in batch.memo:
        parts = [batch.histories.take(np.array([j])) for j in range(len(batch))]
        batch.memo[key] = [taste_of(part, model.unit_vectors, items.artist, settings) for part in parts]
    found: list[Taste] = batch.memo[key]
    return found


def taste_of(plays: Plays, unit: Floats, artist: NDArray[np.integer], settings: MixSettings) -> Taste:
    """The groups of one listener.

    Artists (each the weighted sum of its played tracks' vectors) are merged, the two closest first, until no two
    groups are closer than `apart` and at most `mixes` are left: agglomerative clustering by the cosine of sums
    (Sneath & Sokal 1973, "Numerical Taxonomy"). It draws nothing at random. Groups below the `least` share of plays
    are left out, unless that leaves none.

    Args:
        plays: one listener. unit: (n, d) track vectors. artist: (n,) dense artist of each track.
    """
    good = (plays.outcome != Outcome.SKIP) & (plays.track >= 0)
    track = plays.track[good]
    age = np.arange(len(track) - 1, -1, -1)
    weight = 0.5 ** (age / settings.half_life) * np.where(plays.outcome[good] == Outcome.FINISH, 1.0, PARTIAL)
    names, which = np.unique(artist[track], return_inverse=True)
    mass = np.asarray(np.bincount(which, weight, minlength=len(names)), np.float64)
    sums = np.zeros((len(names), unit.shape[1]))
    np.add.at(sums, which, weight[:, None] * unit[track])
    best = np.argsort(-mass, kind="stable")[:MOST_ARTISTS]
    sums, mass = _merge(sums[best], mass[best], settings.apart, settings.mixes)
    order = np.argsort(-mass, kind="stable")
    share = mass[order] / mass.sum() if len(mass) else mass
    kept = order[(share >= settings.least) | (np.arange(len(order)) == 0)]
    return Taste(
        normalize(sums[kept].astype(np.float32)), (mass[kept] / max(mass.sum(), 1e-9)).astype(np.float32)
    )


def _merge(
    sums: NDArray[np.float64], mass: NDArray[np.float64], apart: float, most: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums and masses of the groups that are left."""
    sums, mass = sums.copy(), mass.copy()
    unit = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    alive = np.ones(len(sums), bool)
    while alive.sum() > 1:
        a, b = np.unravel_index(int(cosine.argmax()), cosine.shape)
        if alive.sum() <= most and cosine[a, b] < apart:
            break
        sums[a] += sums[b]
        mass[a] += mass[b]
        unit[a] = sums[a] / max(float(np.linalg.norm(sums[a])), 1e-9)
        alive[b] = False
        cosine[b], cosine[:, b] = -np.inf, -np.inf
        likeness = np.where(alive, unit @ unit[a], -np.inf)
        likeness[a] = -np.inf
        cosine[a], cosine[:, a] = likeness, likeness
    return sums[alive], mass[alive]


@dataclass(frozen=True)
class MixSource:
    """Tracks of one of the listener's tastes: all played ones, and the nearest of the others.

    Every track belongs to the nearest taste alone, so no two mixes share one. Where nothing is known of the
    listener, the first mix is what the two-tower model gives somebody new.
    """

    model: TwoTower
    items: Items
    settings: MixSettings
    number: int  # from 0, the largest taste first

    @property
    def name(self) -> str:
        return f"mix_{self.number + 1}"

    def propose(self, batch: QueryBatch) -> Proposal:
        found = tastes(batch, self.model, self.items, self.settings)
        allowed = rights(self.items, batch)
        return stack([self._one(batch, j, taste, allowed[j]) for j, taste in enumerate(found)])

    def _one(
        self, batch: QueryBatch, j: int, taste: Taste, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], Floats]:
        if not len(taste.centers):
            return self._unknown(batch, j, allowed)
        if self.number >= len(taste.centers):
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        group, cosine = self._grouped(batch, j, taste)
        played = np.isin(np.arange(len(group)), liked(batch, j))
        mine = allowed & (group == self.number)
        known, others = np.flatnonzero(mine & played), np.flatnonzero(mine & ~played)
        near = others[np.argsort(-cosine[others], kind="stable")[: self.settings.pool]]
        ids = np.concatenate([known, near])
        return ids, cosine[ids]

    def _grouped(self, batch: QueryBatch, j: int, taste: Taste) -> tuple[NDArray[np.int64], Floats]:
        """Group and cosine of every track, for all mixes of a listener at once."""
        key = f"taste/grouped/{j}"
        if key not in batch.memo:
            batch.memo[key] = taste.group(self.model.unit_vectors)
        found: tuple[NDArray[np.int64], Floats] = batch.memo[key]
        return found

    def _unknown(
        self, batch: QueryBatch, j: int, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], Floats]:
        if self.number:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        one = batch.take(np.array([j]))
        ids, scores = self.model.candidates(one, 2 * self.settings.pool, allowed)
        return ids[0][ids[0] >= 0], scores[0][ids[0] >= 0]


@dataclass(frozen=True)
class NewArtistSource:
    """Tracks by artists who are not in the listener's window, nearest to any of the listener's tastes."""

    model: TwoTower
    items: Items
    settings: MixSettings
    k: int
    name: str = "new_artist"

    def propose(self, batch: QueryBatch) -> Proposal:
        found = tastes(batch, self.model, self.items, self.settings)
        allowed = rights(self.items, batch)
        parts = []
        for j, taste in enumerate(found):
            known = np.isin(self.items.artist, self.items.artist[heard(batch, j)])
            usable = np.flatnonzero(allowed[j] & ~known) if len(taste.centers) else np.zeros(0, np.int64)
            cosine = self._near(taste, usable)
            best = np.argsort(-cosine, kind="stable")[: self.k]
            parts.append((usable[best], cosine[best]))
        return stack(parts)

    def _near(self, taste: Taste, tracks: NDArray[np.int64]) -> Floats:
        if not len(tracks):
            return np.zeros(0, np.float32)
        return taste.group(self.model.unit_vectors[tracks])[1].astype(np.float32)
