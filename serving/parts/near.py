"""What lies near given tracks or artists: sources and scorers over `Query.station` (dense seed tracks)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.artists import ArtistNeighbors, artist_vectors
from models.two_tower.model import TwoTower
from recsys.items import Items
from recsys.pipeline import Candidates, Proposal
from recsys.types import QueryBatch
from recsys.vectors import normalize
from serving.parts.scorers import dots
from serving.parts.sources import rights, stack, top

Floats = NDArray[np.float32]


def seed_vectors(model: TwoTower, batch: QueryBatch) -> Floats:
    """(b, d) unit mean of the vectors of each request's seed tracks; zeros where it has none."""
    key = f"near/{id(model)}"
    if key not in batch.memo:
        unit = model.unit_vectors
        sums = [unit[list(q.station)].sum(0) if q.station else np.zeros(unit.shape[1]) for q in batch.queries]
        batch.memo[key] = normalize(np.stack(sums).astype(np.float32))
    vectors: Floats = batch.memo[key]
    return vectors


@dataclass(frozen=True)
class NearSource:
    """The tracks nearest to the seeds, without the seeds; none where there are no seeds."""

    model: TwoTower
    items: Items
    k: int = 300
    name: str = "near"

    def propose(self, batch: QueryBatch) -> Proposal:
        cosine = seed_vectors(self.model, batch) @ self.model.unit_vectors.T
        for j, query in enumerate(batch.queries):
            cosine[j, list(query.station)] = -np.inf
            if not query.station:
                cosine[j] = -np.inf
        return top(np.where(rights(self.items, batch), cosine, -np.inf), self.k)


@dataclass(frozen=True)
class NearScorer:
    """Cosine between a candidate and the middle of the seeds; 0 without seeds."""

    model: TwoTower
    name: str = "near"

    def score(self, batch: QueryBatch, candidates: Candidates) -> Floats:
        return dots(seed_vectors(self.model, batch), self.model.unit_vectors, candidates)


@dataclass(frozen=True)
class NearArtistSource:
    """The artists nearest to one artist, each by the most popular of its tracks that may be shown.

    By how likely its listeners are to hear the other (models/artists); whoever is not among its neighbours comes after
    them, by the cosine of artist vectors brought to [-1, 0]. An artist that came after the release was built, or a
    release without neighbours, is answered by cosines alone. The artist is given by its tracks in `Query.station`;
    artists without a name or a track that may be shown are left out.
    """

    model: TwoTower
    items: Items
    popularity: Floats  # (countries+1, n); the last row is worldwide
    neighbors: ArtistNeighbors | None = None
    k: int = 200
    name: str = "near_artist"

    @cached_property
    def vectors(self) -> Floats:
        """(artists, d) unit."""
        return artist_vectors(self.items, self.model.unit_vectors, self.popularity[-1])

    def propose(self, batch: QueryBatch) -> Proposal:
        allowed, parts = rights(self.items, batch), []
        for j, query in enumerate(batch.queries):
            faces = self._faces(allowed[j] & self._liked(query.user.not_interested), int(batch.country[j]))
            own = int(self.items.artist[query.station[0]]) if query.station else -1
            faces = faces[self.items.artist[faces] != own] if own >= 0 else faces[:0]
            score = self._scores(own, self.items.artist[faces])
            best = np.argsort(-score, kind="stable")[: self.k]
            parts.append((faces[best], score[best]))
        return stack(parts)

    def _scores(self, own: int, others: NDArray[np.integer]) -> Floats:
        """(m,) how near each of some artists is to one."""
        cosine = np.asarray(self.vectors[others] @ self.vectors[own], np.float32)
        if self.neighbors is None or own >= len(self.neighbors.ids):
            return cosine
        known = np.full(len(self.items.artist_ids), np.nan, np.float32)
        known[self.neighbors.ids[own]] = self.neighbors.score[own]
        return np.where(np.isnan(known[others]), (cosine - 1) / 2, known[others])

    def _faces(self, usable: NDArray[np.bool_], country: int) -> NDArray[np.int64]:
        """Each artist's most popular usable track."""
        tracks = np.flatnonzero(usable & self.items.named[self.items.artist])
        order = tracks[np.lexsort((tracks, -self.popularity[country][tracks], self.items.artist[tracks]))]
        first = np.unique(self.items.artist[order], return_index=True)[1]
        faces: NDArray[np.int64] = order[first]
        return faces

    def _liked(self, unwanted: frozenset[str]) -> NDArray[np.bool_]:
        """All tracks but those that the listener said no to: another one may stand for the artist."""
        mask = np.ones(len(self.items), bool)
        numbers = self.items.numbers(unwanted)
        mask[numbers[numbers >= 0]] = False
        return mask
