"""Fills a page of a station: separation as masks, smoothness as utilities, both asked before each draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.pipeline import Candidates
from recsys.plays import I64
from recsys.separation import Separation
from recsys.shares import Shares, natural_shares
from recsys.slate import Floats, Problem, Rules, Shelf, SlotPolicy, fill
from recsys.transitions import Smooth
from recsys.types import Query, QueryBatch, Slate
from serving.parts.selectors import ranked
from serving.parts.station_pool import TIER_SOURCES
from serving.parts.stations import Hint, StationParts, hints

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
        return [self._one(hint, candidates.of(j)) for j, hint in enumerate(hints(self.parts, batch))]

    def _one(self, hint: Hint, own: Candidates) -> Slate:
        separation = self._separation(hint.query, own)
        slots = fill(self._problem(hint, own, separation), self.policy, hint.query.seed)
        placed = ranked(own, self.column, slots, lambda _slot: self.reason)
        return Slate(placed, self.name, relaxed=separation.relaxed(slots))

    def policy_of(self, _batch: QueryBatch, _j: int, _own: Candidates) -> SlotPolicy:
        """See serving.parts.selectors.ShelfSelector."""
        return self.policy

    def problem(self, batch: QueryBatch, j: int, own: Candidates) -> Problem:
        """Request j as a list-making problem; also what tests of propensities and estimators start from."""
        return self._problem(hints(self.parts, batch)[j], own, self._separation(batch.queries[j], own))

    def _problem(self, hint: Hint, own: Candidates, separation: Separation) -> Problem:
        parts, query, recent = self.parts, hint.query, hint.query.options.get("recent", ())
        utility = np.asarray(own.columns[self.column], np.float64)
        before = parts.sound.take(np.array(recent[-1:])) if recent else None
        smooth = Smooth(parts.sound.take(own.ids), before, parts.settings.smooth_weight)
        return Problem(
            ids=own.ids,
            utility=utility,
            artist=parts.names.artist[own.ids],
            shelves=(Shelf(SHELF, query.limit, np.ones(len(own), bool)),),
            rules=Rules(artist_cap_shelf=0, artist_cap_slate=0),  # separation keeps artists apart
            effects=(separation, smooth, *self._shares(hint, own, utility)),
        )

    def _shares(self, hint: Hint, own: Candidates, utility: Floats) -> tuple[Shares, ...]:
        """Genres that were skipped here get less than the share that they would have."""
        if not hint.unwanted:
            return ()
        genre, kept = self.parts.items.genre[own.ids], self.parts.settings.genre_kept
        first = np.where(tiers(own) == 0, utility, -np.inf)
        natural = natural_shares(genre, first, hint.query.limit)
        return (Shares(genre, {g: natural.get(g, 0.0) * kept**n for g, n in hint.unwanted.items()}),)

    def _separation(self, query: Query, own: Candidates) -> Separation:
        names, recent = self.parts.names, np.array(query.options.get("recent", ()), np.int64)
        return Separation(names.take(own.ids), names.take(recent), tiers(own), self.parts.settings.gaps)


def tiers(own: Candidates) -> I64:
    """(n,) the first tier that proposed each candidate; 0 where none did (the popular rung)."""
    tier = np.zeros(len(own), np.int64)
    for place, source in reversed(list(enumerate(TIER_SOURCES))):
        tier[own.proposed_by(source)] = place
    return tier
