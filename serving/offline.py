"""The served pipeline seen as an evaluation model: the ranker over its candidates, each source alone, and slates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.evaluation.protocol import Model
from recsys.pipeline import Candidates, Source, collect
from recsys.schemas import Surface
from recsys.types import Query, QueryBatch, UserState
from serving.loaded import LoadedRelease
from serving.recommender import Recommender, request_seed
from serving.settings import HomeSettings
from serving.surfaces import home as surface

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class RankedHome:
    """What the home feed would rank, by its utility; tracks that it does not retrieve score -inf."""

    release: LoadedRelease
    settings: HomeSettings
    name: str = "ranker"

    def score(self, batch: QueryBatch) -> Scores:
        release = self.release
        stages = (
            surface.eligible(release) + surface.light(release.light, self.settings) + surface.heavy(release)
        )
        found = collect(surface.sources(release), stages, replace(batch, memo={}))
        return scatter(found, found.columns["utility"], len(batch), len(release.items))


@dataclass(frozen=True)
class SourceAlone:
    """One candidate source, by its own score."""

    source: Source[QueryBatch]
    items: int

    @property
    def name(self) -> str:
        return f"source:{self.source.name}"

    def score(self, batch: QueryBatch) -> Scores:
        found = self.source.propose(replace(batch, memo={}))
        candidates = Candidates(found.ids, found.offsets)
        return scatter(candidates, found.score, len(batch), self.items)


def scatter(found: Candidates, score: NDArray[Any], requests: int, items: int) -> Scores:
    """(b, n) scores, -inf where not a candidate."""
    out = np.full((requests, items), -np.inf, np.float32)
    out[found.owner, found.ids] = score
    return out


def models(release: LoadedRelease) -> dict[str, Model]:
    """The release's own models, compared on every task."""
    return {"two_tower": release.two_tower, "sequence": release.sequence}


def home_models(release: LoadedRelease, settings: HomeSettings) -> dict[str, Model]:
    """What is compared on the task `home` only: the ranker, and each of its sources alone."""
    alone = [SourceAlone(source, len(release.items)) for source in surface.sources(release)]
    whole = ("source:two_tower", "source:sequence")  # these two stand in the table as models of their own
    named: dict[str, Model] = {model.name: model for model in alone if model.name not in whole}
    return {"ranker": RankedHome(release, settings), **named}


def served_slates(recommender: Recommender, seed: int = 0) -> Callable[[QueryBatch, int], NDArray[np.int64]]:
    """(batch, k) -> (b, k) dense tracks of the served home page's first k slots, exploration included; -1 pads."""

    def slates(batch: QueryBatch, k: int) -> NDArray[np.int64]:
        queries = tuple(_query(int(now), f"{seed}:{j}:{now}", k) for j, now in enumerate(batch.now))
        result = recommender.pipeline(queries[0]).run(replace(batch, queries=queries, memo={}))
        out = np.full((len(batch), k), -1, np.int64)
        for j, slate in enumerate(result.slates):
            tracks = [item.track for item in slate.items][:k]
            out[j, : len(tracks)] = tracks
        return out

    return slates


def _query(now: int, name: str, limit: int) -> Query:
    return Query(name, Surface.HOME, now, request_seed(name), limit, UserState("0" * 22))
