"""Re-ranking of a surface's shelves: list effects and quotas built from a release for each request."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recsys.items import MS_PER_DAY, UNKNOWN_DAY, Items
from recsys.pipeline import Candidates
from recsys.rerank.calibration import Calibration, genre_mix
from recsys.rerank.dpp import Dpp
from recsys.rerank.floors import Floor, Floors
from recsys.rerank.mmr import Mmr
from recsys.rerank.prefix import spread
from recsys.rerank.settings import RerankSettings
from recsys.slate import ListEffect, Quota
from recsys.types import QueryBatch
from serving.loaded import Retrieval
from serving.parts.selectors import Effect, QuotaOf

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Reranker:
    """Effects and quotas over one score column, as the settings say; a part whose weight is 0 is left out."""

    release: Retrieval
    settings: RerankSettings
    column: str

    def effects(self) -> tuple[Effect, ...]:
        chosen: list[Effect] = []
        if self.settings.diversity_weight:
            chosen.append(self._diversity)
        if self.settings.calibration_weight:
            chosen.append(self._calibration)
        return tuple(chosen)

    def quotas(self) -> tuple[QuotaOf, ...]:
        return (self._floors,) if self.settings.new_share or self.settings.tail_share else ()

    def _unit(self, own: Candidates) -> float:
        return spread(np.asarray(own.columns[self.column], np.float64))

    def _diversity(self, _batch: QueryBatch, _j: int, own: Candidates) -> ListEffect:
        given = self.settings
        kind = Dpp if given.diversity == "dpp" else Mmr
        vectors = self.release.two_tower.unit_vectors[own.ids]
        return kind(vectors, given.diversity_weight * self._unit(own), given.shelves)

    def _calibration(self, batch: QueryBatch, j: int, own: Candidates) -> ListEffect:
        given, items = self.settings, self.release.items
        offered = items.parent[own.ids]
        mix = _mix(batch, j, items, offered, given.half_life)
        weight = given.calibration_weight * self._unit(own)
        return Calibration(offered, mix, weight, given.smoothing, given.shelves)

    def _floors(self, batch: QueryBatch, j: int, own: Candidates) -> Quota:
        given = self.settings
        new = is_new(self.release.items, own.ids, int(batch.country[j]), int(batch.now[j]), given.new_days)
        floors = (
            Floor("new", new, given.new_share),
            Floor("tail", self._rare[own.ids], given.tail_share),
        )
        return Floors([f for f in floors if f.share], given.floor_loss, given.shelves)

    @cached_property
    def _rare(self) -> Bools:
        return long_tail(self.release.popularity[-1], self.settings.tail_quantile)


def is_new(items: Items, tracks: NDArray[np.integer], country: int, now: int, days: int) -> Bools:
    """(m,) whether each track came out, or where no release date is known could first be shown in the listener's
    country, less than `days` ago. `country`: column of the rights matrices; `now`: UTC ms."""
    released = items.release_day[tracks]
    age = now // MS_PER_DAY - released
    new: Bools = (age >= 0) & (age < days)
    unknown = np.flatnonzero(released == UNKNOWN_DAY)
    if len(unknown):
        opened = items.available_from[tracks[unknown], country]
        new[unknown] = (opened <= now) & (opened > now - days * MS_PER_DAY)
    return new


def long_tail(popularity: NDArray[np.floating], quantile: float) -> Bools:
    """(n,) the least played part of a catalog: popularity at or below its `quantile`."""
    return np.asarray(popularity <= np.quantile(popularity, quantile))


def _mix(
    batch: QueryBatch, j: int, items: Items, offered: NDArray[np.integer], half_life: float
) -> NDArray[np.float64] | None:
    """Listener j's mix of parent genres."""
    plays = batch.histories
    rows = slice(int(plays.offsets[j]), int(plays.offsets[j + 1]))
    track = plays.track[rows]
    genre = np.where(track >= 0, items.parent[track], -1)
    return genre_mix(genre, plays.outcome[rows], offered, len(items.parents), half_life)
