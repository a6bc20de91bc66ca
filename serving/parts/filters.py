"""Pure masks over candidates. None can fail open: an error drops the whole rung, never the filter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.items import Items
from recsys.pipeline import Candidates, Filter
from recsys.topk import members
from recsys.types import Query, QueryBatch
from serving.loaded import Retrieval
from serving.parts.sources import rights

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class RightsFilter:
    """Territory window open, already released, not withdrawn, clean where asked for, of the listener's tier; whatever
    a source believed."""

    items: Items
    name: str = "rights"

    def keep(self, batch: QueryBatch, candidates: Candidates) -> Bools:
        return rights(self.items, batch)[candidates.owner, candidates.ids]


@dataclass(frozen=True)
class PolicyFilter:
    """Nothing that the listener said no to, by track or artist, nothing snoozed, nothing that the request excludes."""

    items: Items
    name: str = "policy"

    def keep(self, batch: QueryBatch, candidates: Candidates) -> Bools:
        keep = np.ones(len(candidates), bool)
        for j, query in enumerate(batch.queries):
            rows = slice(int(candidates.offsets[j]), int(candidates.offsets[j + 1]))
            tracks = [*self.items.numbers(query.user.not_interested).tolist(), *query.exclude]
            if tracks:
                keep[rows] &= ~members(candidates.ids[rows], np.array(tracks))
            artists = unwanted_artists(self.items, query)
            if len(artists):
                keep[rows] &= ~members(self.items.artist[candidates.ids[rows]], artists)
        return keep


def unwanted_artists(items: Items, query: Query) -> NDArray[np.int32]:
    """Dense artists that may not come at `query.now`; those that the release lacks are left out."""
    snoozed = [artist for artist, until in query.user.snoozed if query.now < until]
    return items.artist_numbers((*query.user.not_interested_artists, *snoozed))


def rules(release: Retrieval) -> tuple[Filter[QueryBatch], ...]:
    """What no rung of any surface may show: by rights, and by what the listener or the request excludes."""
    return (RightsFilter(release.items), PolicyFilter(release.items))
