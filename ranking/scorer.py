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
    """Columns `p_finish`, `p_skip`, `p_save` (calibrated for the request's surface) and `utility`.

    Every candidate is scored as if it stood in the reference slot, so the order does not depend on the layout.
    `weights` overrides the declared utility without retraining.
    """

    ranker: Ranker
    weights: UtilityWeights | None = None
    name: str = "rank"

    def hydrate(self, batch: QueryBatch, candidates: Candidates) -> dict[str, Column]:
        x = candidates.columns["pair"].astype(np.float32)
        x[:, -1] = self.ranker.config.reference_slot
        raw = self.ranker.raw(x)
        surfaces = [q.surface for q in batch.queries] or [Surface.HOME] * len(batch)
        p = {o: np.empty(len(candidates)) for o in OBJECTIVES}
        for surface in sorted(set(surfaces)):
            rows = np.array([s == surface for s in surfaces])[candidates.owner]
            for objective in OBJECTIVES:
                p[objective][rows] = self.ranker.calibrate(objective, surface.value, raw[objective][rows])
        weights = self.weights or self.ranker.config.weights
        columns: dict[str, Column] = {f"p_{o}": p[o] for o in OBJECTIVES}
        return columns | {"utility": utility(p, weights)}


def reweighted(scorer: RankScorer, weights: UtilityWeights) -> RankScorer:
    """The same ranker under another declared utility."""
    return replace(scorer, weights=weights)
