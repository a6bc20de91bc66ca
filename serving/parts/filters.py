"""Pure masks over candidates. None can fail open: an error drops the whole rung, never the filter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.items import Items
from recsys.pipeline import Candidates
from recsys.types import QueryBatch
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
    """Nothing that the listener said no to, and nothing that the request itself excludes."""

    items: Items
    name: str = "policy"

    def keep(self, batch: QueryBatch, candidates: Candidates) -> Bools:
        keep = np.ones(len(candidates), bool)
        for j, query in enumerate(batch.queries):
            banned = [*self.items.numbers(query.user.not_interested).tolist(), *query.exclude]
            if banned:
                rows = slice(int(candidates.offsets[j]), int(candidates.offsets[j + 1]))
                keep[rows] = ~np.isin(candidates.ids[rows], banned)
        return keep
