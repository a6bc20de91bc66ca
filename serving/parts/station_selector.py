"""Fills a page of a station: separation as masks, smoothness as utilities, both asked before each draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.pipeline import Candidates
from recsys.plays import I64
from recsys.separation import Separation
from recsys.slate import Problem, Rules, Shelf, SlotPolicy, fill
from recsys.transitions import Smooth
from recsys.types import Query, QueryBatch, RankedItem, Slate
from serving.parts.station_pool import TIER_SOURCES
from serving.parts.stations import StationParts

SHELF = "radio"


@dataclass(frozen=True)
class StationSelector:
    """One list of `limit` slots from one score column; the slate names the rules that had to be given up."""

    parts: StationParts
    column: str
    policy: SlotPolicy
    name: str
    reason: str = "station"

    def select(self, batch: QueryBatch, candidates: Candidates) -> list[Slate]:
        return [self._one(batch.queries[j], candidates.of(j)) for j in range(len(batch))]

    def _one(self, query: Query, own: Candidates) -> Slate:
        separation = self._separation(query, own)
        slots = fill(self._problem(query, own, separation), self.policy, query.seed)
        score = own.columns[self.column]
        placed = [
            RankedItem(
                track=int(own.ids[slot.row]),
                shelf=slot.shelf,
                position=slot.position,
                score=float(score[slot.row]),
                propensity=slot.propensity,
                reason=self.reason,
            )
            for slot in slots
        ]
        return Slate(tuple(placed), self.name, separation.relaxed(slots))

    def problem(self, batch: QueryBatch, j: int, own: Candidates) -> Problem:
        """Request j as a list-making problem; also what tests of propensities and estimators start from."""
        return self._problem(batch.queries[j], own, self._separation(batch.queries[j], own))

    def _problem(self, query: Query, own: Candidates, separation: Separation) -> Problem:
        parts, recent = self.parts, query.options.get("recent", ())
        smooth = Smooth(parts.sound, own.ids, int(recent[-1]) if recent else -1, parts.settings.smooth_weight)
        return Problem(
            ids=own.ids,
            utility=np.asarray(own.columns[self.column], np.float64),
            artist=parts.names.artist[own.ids],
            shelves=(Shelf(SHELF, query.limit, np.ones(len(own), bool)),),
            rules=Rules(artist_cap_shelf=0, artist_cap_slate=0),  # separation keeps artists apart
            effects=(separation, smooth),
        )

    def _separation(self, query: Query, own: Candidates) -> Separation:
        names, recent = self.parts.names, np.array(query.options.get("recent", ()), np.int64)
        return Separation(names.take(own.ids), names.take(recent), tiers(own), self.parts.settings.gaps)


def tiers(own: Candidates) -> I64:
    """(n,) the first tier that proposed each candidate; 0 where none did (the popular rung)."""
    tier = np.zeros(len(own), np.int64)
    for place, source in reversed(list(enumerate(TIER_SOURCES))):
        column = own.columns.get(f"source:{source}")
        if column is not None:
            tier[np.isfinite(column)] = place
    return tier
