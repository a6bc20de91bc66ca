"""Stages that see a request as of an earlier moment: what makes a list the same all day, whoever computes it.

`Query.options["as_of"]` (UTC ms, logged with the decision) names the moment, usually the start of the listener's
local day. Rights and policy are not among these stages: they hold as of now.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recsys.pipeline import Candidates, Column, Hydrator, Proposal, Scorer, Source
from recsys.types import QueryBatch

NOON = 12
"""The hour of day that such a list is made for: one list serves the whole day."""


def frozen(batch: QueryBatch) -> QueryBatch:
    """The batch at its requests' `as_of` (now where there is none): earlier plays only, at noon."""
    if "as_of" not in batch.memo:
        moment = [int(q.options.get("as_of", q.now)) for q in batch.queries]
        as_of = np.array(moment, np.int64)
        hour = np.full(len(batch), NOON, np.int8)
        past = batch.histories.before(as_of)
        batch.memo["as_of"] = replace(batch, histories=past, now=as_of, hour=hour, memo={})
    past_batch: QueryBatch = batch.memo["as_of"]
    return past_batch


@dataclass(frozen=True)
class FrozenSource:
    """A source as of then."""

    inner: Source[QueryBatch]

    @property
    def name(self) -> str:
        return self.inner.name

    def propose(self, batch: QueryBatch) -> Proposal:
        return self.inner.propose(frozen(batch))


@dataclass(frozen=True)
class FrozenScorer:
    """A scorer as of then."""

    inner: Scorer[QueryBatch]

    @property
    def name(self) -> str:
        return self.inner.name

    def score(self, batch: QueryBatch, candidates: Candidates) -> NDArray[np.floating]:
        return self.inner.score(frozen(batch), candidates)


@dataclass(frozen=True)
class FrozenHydrator:
    """A hydrator as of then."""

    inner: Hydrator[QueryBatch]

    @property
    def name(self) -> str:
        return self.inner.name

    def hydrate(self, batch: QueryBatch, candidates: Candidates) -> dict[str, Column]:
        return self.inner.hydrate(frozen(batch), candidates)
