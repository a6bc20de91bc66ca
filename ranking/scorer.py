"""The ranker as stages of the candidate pipeline: LightScorer -> (Truncate) -> PairHydrator -> RankScorer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ranking.config import OBJECTIVES, UtilityWeights
from ranking.light import LightRanker
from ranking.model import Ranker, utility
from recsys.features.pair import pair_features
from recsys.features.stats import ItemStats
from recsys.items import Items
from recsys.pipeline import Candidates, Column
from recsys.schemas import Surface
from recsys.types import QueryBatch


@dataclass(frozen=True)
class LightScorer:
    """Column `light`: what to keep for the full ranker."""

    light: LightRanker
    name: str = "light"

    def score(self, batch: QueryBatch, candidates: Candidates) -> NDArray[np.float32]:
        return self.light.score(batch, candidates)


@dataclass(frozen=True)
class PairHydrator:
    """Column `pair`, (m, f): the feature row of each candidate; model scores must be there already."""

    items: Items
    stats: ItemStats
    columns: tuple[str, ...] = ("two_tower", "sequence")
    name: str = "pair"

    def hydrate(self, batch: QueryBatch, candidates: Candidates) -> dict[str, Column]:
        scores = {name: np.asarray(candidates.columns[name], np.float32) for name in self.columns}
        ids, offsets = candidates.ids, candidates.offsets
        return {"pair": pair_features(batch, ids, offsets, self.items, self.stats, scores)}


@dataclass(frozen=True)
class RankScorer:
    """Columns `p_finish`, `p_skip`, `p_save` (given a play, calibrated for the surface), `p_play` and `utility`.

    `weights` overrides the declared utility without retraining.
    """

    ranker: Ranker
    weights: UtilityWeights | None = None
    name: str = "rank"

    def hydrate(self, batch: QueryBatch, candidates: Candidates) -> dict[str, Column]:
        x = candidates.columns["pair"].astype(np.float32, copy=False)
        surfaces = np.array([q.surface.value for q in batch.queries] or [Surface.HOME.value] * len(batch))
        p = {o: np.empty(len(candidates)) for o in OBJECTIVES}
        for surface in np.unique(surfaces):
            rows = (surfaces == surface)[candidates.owner]
            for objective, values in self.ranker.probabilities(x[rows], str(surface)).items():
                p[objective][rows] = values
        columns: dict[str, Column] = {f"p_{o}": p[o] for o in OBJECTIVES}
        return columns | {"utility": utility(p, self.weights or self.ranker.config.weights)}


def reweighted(scorer: RankScorer, weights: UtilityWeights) -> RankScorer:
    """The same ranker under another declared utility."""
    return replace(scorer, weights=weights)
