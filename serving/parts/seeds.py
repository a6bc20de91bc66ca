"""Candidates from several seeds at once: artists, tracks and genres, with how many tracks each can lead to.

Seeds stand in `Query.options["seeds"]` as {"type": "artist"|"track"|"genre", "id": text, "tracks": [dense, ...]}; those
of a genre are not listed, since the name says them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from models.two_tower.model import TwoTower
from recsys.items import Items
from recsys.pipeline import Proposal
from recsys.types import Query, QueryBatch
from recsys.vectors import normalize
from serving.parts.sources import rights, top
from serving.parts.tunables import Attributes

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Seed = dict[str, Any]


def genre_name(text: str) -> str:
    """A genre as seeds spell it: lower case, hyphens for spaces and commas."""
    return "-".join(text.lower().replace(",", " ").split())


def genre_names(items: Items) -> list[str]:
    """Every genre of the catalog that can be a seed, on both levels of the hierarchy."""
    return sorted({genre_name(part) for path in items.genres for part in path.split("/") if part})


def in_genre(items: Items, name: str) -> Bools:
    """(n,) tracks of a genre: of a leaf, or of all leaves below a parent."""
    wanted = genre_name(name)
    named = [wanted in (genre_name(path), *map(genre_name, path.split("/"))) for path in items.genres]
    return np.array([*named, False])[items.genre]  # an unknown genre is -1: the last


def members(items: Items, seed: Seed) -> Bools:
    """(n,) the tracks that a seed can lead to: those of a genre; any, for an artist or a track that is known."""
    if seed["type"] == "genre":
        return in_genre(items, seed["id"])
    return np.full(len(items), bool(seed["tracks"]))


def allowed(attributes: Attributes, query: Query, open_: Bools) -> Bools:
    """(n,) of the tracks in `open_`, those within the bounds that the request does not exclude."""
    mask = open_ & attributes.fits(query.options)
    mask[list(query.exclude)] = False
    return mask


@dataclass(frozen=True)
class SeedSource:
    """The tracks most like any of the seeds, among those that may be shown and lie within the bounds.

    A track's score is its greatest likeness to a seed. Likeness is the normal score (van der Waerden 1952) of the
    track's rank in the whole catalog by cosine in the two-tower model: in standard deviations, and the same for the
    nearest track of every seed, so that each has an equal say, however dense its neighbourhood is. A genre is the
    middle of its tracks and leads to no others.
    """

    model: TwoTower
    attributes: Attributes
    k: int = 500
    name: str = "seeds"

    def propose(self, batch: QueryBatch) -> Proposal:
        open_ = rights(self.attributes.items, batch)
        scores = np.full(open_.shape, -np.inf, np.float32)
        for j, query in enumerate(batch.queries):
            usable = allowed(self.attributes, query, open_[j])
            for seed in query.options.get("seeds", ()):
                tracks, likeness = self._nearest(seed, usable)
                scores[j, tracks] = np.maximum(scores[j, tracks], likeness)
        return top(scores, self.k)

    def _nearest(self, seed: Seed, usable: Bools) -> tuple[NDArray[np.int64], Floats]:
        """The k usable tracks most like a seed, in no order, and how like it they are."""
        unit, reach = self.model.unit_vectors, members(self.attributes.items, seed)
        if not reach.any():
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        own = unit[reach] if seed["type"] == "genre" else unit[seed["tracks"]]
        cosine = unit @ normalize(own.mean(axis=0))
        near = top(np.where(reach & usable, cosine, -np.inf)[None], self.k)
        others = np.sort(cosine[reach])
        nearer = len(others) - np.searchsorted(others, near.score, side="right")  # of the whole catalog
        return near.ids, ndtri(1 - (nearer + 0.5) / len(unit)).astype(np.float32)


@dataclass(frozen=True)
class PopularFitSource:
    """The most played tracks where the listener is, within the bounds; whatever the seeds."""

    attributes: Attributes
    popularity: Floats  # (countries+1, n)
    k: int = 500
    name: str = "popular"

    def propose(self, batch: QueryBatch) -> Proposal:
        open_ = rights(self.attributes.items, batch)
        scores = np.stack([self.popularity[int(country)] for country in batch.country])
        for j, query in enumerate(batch.queries):
            scores[j][~allowed(self.attributes, query, open_[j])] = -np.inf
        return top(scores, self.k)
