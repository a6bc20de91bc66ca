"""Candidates from several seeds at once: artists, tracks and genres, with how many tracks each can lead to.

Seeds stand in `Query.options["seeds"]` as {"type": "artist"|"track"|"genre", "id": text, "tracks": [dense, ...]}; those
of a genre are not listed, since the name says them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.two_tower.model import TwoTower
from recsys.items import Items
from recsys.pipeline import Proposal
from recsys.types import Query, QueryBatch
from serving.parts.sources import normalize, rights, top
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

    Likeness to a seed is the cosine in the two-tower model, less its mean over the catalog, in standard deviations: so
    that seeds with a dense neighbourhood and seeds with a thin one have an equal say. A track's score is its greatest
    likeness. A genre is the middle of its tracks and leads to no others.
    """

    model: TwoTower
    attributes: Attributes
    k: int = 500
    name: str = "seeds"

    def propose(self, batch: QueryBatch) -> Proposal:
        open_ = rights(self.attributes.items, batch)
        scores = np.full(open_.shape, -np.inf, np.float32)
        for j, query in enumerate(batch.queries):
            for seed in query.options.get("seeds", ()):
                np.maximum(scores[j], self._likeness(seed), out=scores[j])
            scores[j][~allowed(self.attributes, query, open_[j])] = -np.inf
        return top(scores, self.k)

    def _likeness(self, seed: Seed) -> Floats:
        """(n,) standard deviations above the catalog's mean; -inf for tracks that the seed does not lead to."""
        unit, reach = self.model.unit_vectors, members(self.attributes.items, seed)
        if not reach.any():
            return np.full(len(unit), -np.inf, np.float32)
        own = unit[reach] if seed["type"] == "genre" else unit[seed["tracks"]]
        cosine = unit @ normalize(own.mean(axis=0))
        likeness = (cosine - cosine.mean()) / max(float(cosine.std()), 1e-6)
        return np.where(reach, likeness, -np.inf).astype(np.float32)


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
