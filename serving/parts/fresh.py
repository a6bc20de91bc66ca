"""New releases: where they come from, how old they may be, and whose come first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.items import Items
from recsys.pipeline import Candidates, Proposal
from recsys.types import QueryBatch
from serving.parts.asof import frozen
from serving.parts.sources import rights, stack, top
from serving.parts.window import liked

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
FOLLOWED, PLAYED = 200.0, 100.0
"""What a tier adds to a score: more than tastes differ."""


def fresh(items: Items, now: int, days: int) -> Bools:
    """(n,) tracks released in the last `days` days, as of a UTC time; those of unknown date are not among them."""
    age = items.age_days(now)
    return (age >= 0) & (age <= days) & items.released(now)


@dataclass(frozen=True)
class FreshFilter:
    """Nothing older than `days`."""

    items: Items
    days: int
    name: str = "fresh"

    def keep(self, batch: QueryBatch, candidates: Candidates) -> Bools:
        masks = np.stack([fresh(self.items, int(now), self.days) for now in batch.now])
        keep: Bools = masks[candidates.owner, candidates.ids]
        return keep


@dataclass(frozen=True)
class FollowedSource:
    """New releases by artists whom the listener follows."""

    items: Items
    days: int
    name: str = "followed"

    def propose(self, batch: QueryBatch) -> Proposal:
        chosen = [self.items.artist_numbers(query.user.followed) for query in batch.queries]
        return _of_artists(self.items, batch, self.days, chosen)


@dataclass(frozen=True)
class PlayedSource:
    """New releases by artists in the listener's window whom they do not only skip."""

    items: Items
    days: int
    name: str = "played"

    def propose(self, batch: QueryBatch) -> Proposal:
        past = frozen(batch)
        chosen = [self.items.artist[liked(past, j)] for j in range(len(batch))]
        return _of_artists(self.items, batch, self.days, chosen)


@dataclass(frozen=True)
class PopularFreshSource:
    """The most played new releases where the listener is."""

    items: Items
    popularity: Floats  # (countries+1, n)
    days: int
    k: int = 200
    name: str = "popular"

    def propose(self, batch: QueryBatch) -> Proposal:
        new = np.stack([fresh(self.items, int(now), self.days) for now in batch.now])
        return top(np.where(rights(self.items, batch) & new, self.popularity[batch.country], -np.inf), self.k)


@dataclass(frozen=True)
class NewestSource:
    """The latest releases there are, however old: for a catalog or territory without new ones."""

    items: Items
    k: int = 200
    name: str = "newest"

    def propose(self, batch: QueryBatch) -> Proposal:
        day = self.items.release_day.astype(np.float32)
        return top(np.where(rights(self.items, batch), day, -np.inf), self.k)


@dataclass(frozen=True)
class TierScorer:
    """Followed artists' releases first, then played artists', then the rest; within each by `column`, if any."""

    column: str | None
    name: str = "tier"

    def score(self, batch: QueryBatch, candidates: Candidates) -> Floats:  # noqa: ARG002
        score = np.zeros(len(candidates))
        if self.column is not None:
            score += np.nan_to_num(np.asarray(candidates.columns[self.column], np.float64))
        played, followed = candidates.proposed_by("played"), candidates.proposed_by("followed")
        return (score + np.where(followed, FOLLOWED, np.where(played, PLAYED, 0.0))).astype(np.float32)


def _of_artists(items: Items, batch: QueryBatch, days: int, artists: list[NDArray[np.int32]]) -> Proposal:
    """Each request's allowed new releases by its own artists; the score is minus the age in days."""
    allowed, parts = rights(items, batch), []
    for j, now in enumerate(batch.now):
        new = np.flatnonzero(fresh(items, int(now), days) & allowed[j])
        mine = new[np.isin(items.artist[new], artists[j])]
        parts.append((mine, -items.age_days(int(now))[mine].astype(np.float32)))
    return stack(parts)
