"""What one finished track does to a listener's home feed: the whole pipeline with it in the history and without it.

effect = Counterfactual(release, settings).effect(query, track_id)
effect.supported(drop=10)             # tracks that lose places when the history lacks it

Both worlds are one batch, so nothing but the history differs: the same time, context and candidates. The candidates
are everything that the sources propose in either world; one that only the history with the track proposes is kept
in the pool and scored without it too, so that a track is never called demoted because it was not looked at
(counterfactual explanations by removal: Tran et al. 2021, "Counterfactual explanations for neural recommenders").
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.pipeline import Candidates, Proposal, Truncate, apply, truncate, union
from recsys.plays import I64
from recsys.types import Query, QueryBatch, UserState
from serving.loaded import LoadedRelease
from serving.settings import HomeSettings
from serving.surfaces import home

PLAY_COLUMNS = ("track_id", "start", "ms_played", "outcome", "hour", "device", "surface", "origin")


@dataclass(frozen=True)
class Effect:
    """n tracks of the pool with what the history with and without one track makes of each."""

    ids: I64  # (n,) dense tracks, ascending
    utility: NDArray[np.float64]  # (2, n) with, without
    rank: I64  # (2, n) how many of the pool have a greater utility

    @property
    def drop(self) -> I64:
        """(n,) places lost without the track; negative: gained."""
        return np.asarray(self.rank[1] - self.rank[0])

    @property
    def loss(self) -> NDArray[np.float64]:
        """(n,) utility lost without the track."""
        return np.asarray(self.utility[0] - self.utility[1])

    def supported(self, drop: int, share: float = 0.0) -> I64:
        """Tracks that lose utility and at least `drop` places, and that share of their rank, best first.

        Ties do not count: tracks of equal utility have equal rank, and the rank of a track whose own utility did
        not fall is no demotion.
        """
        least = np.maximum(drop, share * self.rank[0])
        held = np.flatnonzero((self.loss > 0) & (self.drop >= least))
        return self.ids[held[np.argsort(-self.utility[0][held], kind="stable")]]


class Counterfactual:
    """The home pipeline of one release, ready to run in two worlds; keep it, its parts have caches.

    Args:
        release: the parts in memory. settings: of the home feed.
    """

    def __init__(self, release: LoadedRelease, settings: HomeSettings) -> None:
        self.release, self._items = release, release.items
        self._sources = home.sources(release)
        self._stages = home.eligible(release) + home.light(release.light, settings) + home.heavy(release)

    def effect(self, query: Query, track_id: str) -> Effect:
        """The effect of all plays of one track in the listener's window; the track itself is not in the pool."""
        absent = replace(query, user=without(query.user, track_id))
        pool = self._ranked(QueryBatch.of([query, absent], self._items))
        own = pool.of(0).ids != self._items.numbers([track_id])[0]
        utility = np.stack([np.asarray(pool.of(j).columns["utility"], np.float64)[own] for j in range(2)])
        return Effect(pool.of(0).ids[own], utility, np.stack([_rank(row) for row in utility]))

    def _ranked(self, batch: QueryBatch) -> Candidates:
        """The candidates of both worlds, the same in each, with all columns of the full rung."""
        proposals: dict[str, Proposal | None] = {s.name: s.propose(batch) for s in self._sources}
        both = np.unique(union(proposals, 2).ids)
        offsets = np.array([0, len(both), 2 * len(both)], np.int64)
        proposals["pool"] = Proposal(np.tile(both, 2), offsets, np.zeros(2 * len(both), np.float32))
        pool = union(proposals, 2)
        for stage in self._stages:
            if isinstance(stage, Truncate):  # what is kept in one world is kept in both
                pool = pool.where(np.isin(pool.ids, truncate(pool, stage).ids))
            else:
                pool = apply(stage, batch, pool)
        return pool


def without(user: UserState, track_id: str) -> UserState:
    """The state of a listener who never played a track."""
    kept = [i for i, other in enumerate(user.track_id) if other != track_id]
    columns: dict[str, Any] = {name: tuple(getattr(user, name)[i] for i in kept) for name in PLAY_COLUMNS}
    return replace(user, **columns)


def _rank(utility: NDArray[np.float64]) -> I64:
    """(n,) how many are greater; equal ones share a rank."""
    return np.asarray(len(utility) - np.searchsorted(np.sort(utility), utility, side="right"), np.int64)
