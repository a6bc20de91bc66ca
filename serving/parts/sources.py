"""Where candidates come from: one small class per source, all over the parts of one loaded release."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from models.semantic_ids import SemanticIds
from models.sequence.model import SequenceModel
from models.two_tower.model import TwoTower
from recsys.index import Index
from recsys.items import MS_PER_DAY, Items
from recsys.pipeline import Proposal
from recsys.plays import Outcome, Plays
from recsys.retrieval.bitmaps import count
from recsys.retrieval.eligibility import Eligibility
from recsys.retrieval.plans import Plan
from recsys.topk import largest_rows
from recsys.types import Context, QueryBatch

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


def rights(items: Items, batch: QueryBatch) -> Bools:
    """(b, n) what may be shown to each request: territory window open, already released, not withdrawn; and, as far
    as the requests themselves are there, clean where asked for and of the listener's tier."""
    if "rights" not in batch.memo:
        asked = [required(query.context) for query in batch.queries] or [()] * len(batch)
        open_ = Eligibility.plain(items)
        masks = [
            open_.mask(int(country), int(now), names)
            for country, now, names in zip(batch.country, batch.now, asked, strict=True)
        ]
        batch.memo["rights"] = np.stack(masks) if masks else np.zeros((0, len(items)), bool)
    allowed: Bools = batch.memo["rights"]
    return allowed


def required(context: Context) -> tuple[str, ...]:
    """What a request asks of every track beside its territory and time (see Eligibility)."""
    names = () if context.explicit else ("clean",)
    return names if context.tier == "premium" else (*names, "free")


def heard(histories: Plays) -> list[NDArray[np.int64]]:
    """The distinct tracks in each listener's window."""
    bounds = zip(histories.offsets[:-1], histories.offsets[1:], strict=True)
    return [np.unique(histories.track[a:b][histories.track[a:b] >= 0]).astype(np.int64) for a, b in bounds]


def anchors(histories: Plays) -> NDArray[np.int64]:
    """(b,) the track that each listener finished last; -1 where there is none."""
    finished = histories.where((histories.outcome == Outcome.FINISH) & (histories.track >= 0)).last(1)
    out = np.full(len(histories), -1, np.int64)
    out[np.diff(finished.offsets) > 0] = finished.track
    return out


def top(scores: Floats, k: int) -> Proposal:
    """Each row's k best finite scores as a proposal, in no order."""
    best = largest_rows(scores, min(k, scores.shape[1]))
    value = np.take_along_axis(scores, best, axis=1)
    return ragged(np.where(np.isfinite(value), best, -1), value)


def ragged(ids: NDArray[np.integer], scores: Floats) -> Proposal:
    """Search results (b, k) with -1 padding as a proposal."""
    found = ids >= 0
    offsets = np.concatenate([[0], np.cumsum(found.sum(1))]).astype(np.int64)
    return Proposal(ids[found].astype(np.int64), offsets, scores[found].astype(np.float32))


@dataclass(frozen=True)
class TwoTowerSource:
    """The listener's nearest tracks in the index, among those they may hear; how each request was searched, and among
    how many tracks, is left in the batch's memo as "NAME/plans" and "NAME/eligible".

    `without_heard`: only tracks that are not in the listener's window, for surfaces of discovery.
    """

    model: TwoTower
    index: Index
    items: Items
    k: int = 500
    name: str = "two_tower"
    without_heard: bool = False

    @cached_property
    def _eligibility(self) -> Eligibility | None:
        """None where the index has no cost table: a release from before there was one."""
        layout = self.index.layout
        return None if layout is None else Eligibility.shared(self.items, layout)

    def propose(self, batch: QueryBatch) -> Proposal:
        if self._eligibility is None:
            return ragged(*self.model.candidates(batch, self.k, self._mask(batch), self.index))
        require = [required(query.context) for query in batch.queries] or None
        without = heard(batch.histories) if self.without_heard else None
        allowed, plans = self._eligibility.of(batch.country, batch.now, require, without), list[Plan]()
        found = self.model.candidates(batch, self.k, allowed, self.index, plans)
        batch.memo[f"{self.name}/plans"] = plans
        batch.memo[f"{self.name}/eligible"] = [count(words) for words in allowed.rows]
        return ragged(*found)

    def _mask(self, batch: QueryBatch) -> Bools:
        mask = rights(self.items, batch)
        if self.without_heard:
            mask = mask.copy()
            for row, tracks in zip(mask, heard(batch.histories), strict=True):
                row[tracks] = False
        return mask


@dataclass(frozen=True)
class SequenceSource:
    """What the transformer expects next."""

    model: SequenceModel
    items: Items
    k: int = 300
    name: str = "sequence"

    def propose(self, batch: QueryBatch) -> Proposal:
        return ragged(*self.model.candidates(batch, self.k, rights(self.items, batch)))


@dataclass(frozen=True)
class SemanticSource:
    """Tracks new to the listener, written code by code along the branches that they may hear."""

    model: SemanticIds
    items: Items
    k: int = 100
    name: str = "semantic"

    def propose(self, batch: QueryBatch) -> Proposal:
        allowed = rights(self.items, batch).copy()
        for row, tracks in zip(allowed, heard(batch.histories), strict=True):
            row[tracks] = False
        return ragged(*self.model.candidates(batch, self.k, allowed))


@dataclass(frozen=True)
class HistorySource:
    """What the listener played before, by recency-weighted count (half-life 50 plays), skips left out."""

    k: int = 300
    half_life: float = 50.0
    name: str = "history"

    def propose(self, batch: QueryBatch) -> Proposal:
        plays = batch.histories.where(
            (batch.histories.outcome != Outcome.SKIP) & (batch.histories.track >= 0)
        )
        age = plays.offsets[1:][plays.owner] - 1 - np.arange(plays.rows)
        key, inverse = np.unique((plays.owner << 32) | plays.track, return_inverse=True)
        score = np.bincount(inverse, 0.5 ** (age / self.half_life), minlength=len(key)).astype(np.float32)
        counts = np.bincount(key >> 32, minlength=len(batch))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return _best(Proposal(key & 0xFFFFFFFF, offsets, score), self.k)


def _best(proposal: Proposal, k: int) -> Proposal:
    """Each request's k best of a proposal."""
    owner = np.repeat(np.arange(len(proposal.offsets) - 1), np.diff(proposal.offsets))
    order = np.lexsort((proposal.ids, -proposal.score, owner))
    order = order[np.arange(len(order)) - proposal.offsets[owner] < k]
    offsets = np.concatenate([[0], np.cumsum(np.minimum(np.diff(proposal.offsets), k))]).astype(np.int64)
    return Proposal(proposal.ids[order], offsets, proposal.score[order])


@dataclass(frozen=True)
class ArtistSource:
    """The most popular tracks of the artists whom the listener plays most."""

    items: Items
    popularity: Floats  # (n,)
    artists: int = 12
    tracks: int = 15
    half_life: float = 80.0
    name: str = "artist"

    @cached_property
    def _by_artist(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tracks ordered by (artist, popularity), and where each artist starts."""
        order = np.lexsort((-self.popularity, self.items.artist))
        starts = np.searchsorted(self.items.artist[order], np.arange(len(self.items.artist_ids) + 1))
        return order, starts

    def propose(self, batch: QueryBatch) -> Proposal:
        return stack([self._one(batch.histories, j) for j in range(len(batch))])

    def _one(self, histories: Plays, j: int) -> tuple[NDArray[np.int64], Floats]:
        rows = slice(int(histories.offsets[j]), int(histories.offsets[j + 1]))
        good = (histories.outcome[rows] != Outcome.SKIP) & (histories.track[rows] >= 0)
        artist = self.items.artist[histories.track[rows][good]]
        age = np.arange(len(artist) - 1, -1, -1)
        weight = np.bincount(artist, 0.5 ** (age / self.half_life), minlength=1)
        best = np.argsort(-weight, kind="stable")[: self.artists]
        order, starts = self._by_artist
        found = [
            order[starts[a] : min(starts[a + 1], starts[a] + self.tracks)] for a in best if weight[a] > 0
        ]
        ids = np.concatenate(found) if found else np.zeros(0, np.int64)
        return ids, weight[self.items.artist[ids]].astype(np.float32)


def stack(parts: list[tuple[NDArray[np.int64], Floats]]) -> Proposal:
    """One proposal from one (ids, scores) pair a request."""
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids, _ in parts])]).astype(np.int64)
    ids = np.concatenate([ids for ids, _ in parts]) if parts else np.zeros(0, np.int64)
    scores = np.concatenate([s for _, s in parts]) if parts else np.zeros(0, np.float32)
    return Proposal(ids.astype(np.int64), offsets, scores.astype(np.float32))


@dataclass(frozen=True)
class PopularSource:
    """The most played tracks where the listener is."""

    items: Items
    popularity: Floats  # (countries+1, n); the last row is worldwide
    k: int = 100
    name: str = "popular"

    @cached_property
    def _charts(self) -> dict[int, NDArray[np.int64]]:
        """The head of each territory's ranking, as far as it was asked for: a request reads that, not the catalog."""
        return {}

    def propose(self, batch: QueryBatch) -> Proposal:
        allowed = rights(self.items, batch)
        return stack([self._one(int(country), allowed[j]) for j, country in enumerate(batch.country)])

    def _one(self, country: int, allowed: Bools) -> tuple[NDArray[np.int64], Floats]:
        if country not in self._charts:
            head = np.argsort(-self.popularity[country], kind="stable")[: 20 * self.k]
            self._charts[country] = head.astype(np.int64)
        chart = self._charts[country]
        ids = chart[allowed[chart]][: self.k]
        if len(ids) < self.k and len(chart) < len(allowed):
            everything = np.argsort(-self.popularity[country], kind="stable")
            ids = everything[allowed[everything]][: self.k]
        return ids, self.popularity[country][ids]


@dataclass(frozen=True)
class NewReleaseSource:
    """Tracks of the last `days`, nearest to the listener first; found by content where nobody has played them."""

    model: TwoTower
    items: Items
    k: int = 100
    days: int = 30
    name: str = "new"

    @cached_property
    def _by_day(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Tracks in order of release day, and those days."""
        order = np.argsort(self.items.release_day, kind="stable")
        return order, self.items.release_day[order]

    def propose(self, batch: QueryBatch) -> Proposal:
        vectors = self.model.encode(batch)
        allowed = rights(self.items, batch)
        order, day = self._by_day
        parts = []
        for j, now in enumerate(batch.now):
            today = int(now) // MS_PER_DAY
            new = order[slice(*np.searchsorted(day, [today - self.days, today + 1]))]
            ids = np.sort(new[allowed[j, new]])
            parts.append((ids, self.model.item_vectors[ids] @ vectors[j]))
        return _best(stack(parts), self.k)


@dataclass(frozen=True)
class AnchorSource:
    """Tracks most similar to the one that the listener finished last."""

    model: TwoTower
    items: Items
    k: int = 60
    remembered: int = 5_000  # anchors whose neighbours are kept in memory, about 3 kB each
    name: str = "anchor"

    @cached_property
    def _nearest(self) -> Callable[[int], tuple[NDArray[np.int64], Floats]]:
        """4 k nearest tracks whatever their rights: much of what listeners finish, many finish."""
        everything = np.ones(len(self.items), bool)
        return lru_cache(self.remembered)(lambda anchor: self._scan(anchor, everything, 4 * self.k))

    def propose(self, batch: QueryBatch) -> Proposal:
        allowed = rights(self.items, batch)
        found = anchors(batch.histories)
        return stack([self._one(int(anchor), allowed[j]) for j, anchor in enumerate(found)])

    def _one(self, anchor: int, allowed: Bools) -> tuple[NDArray[np.int64], Floats]:
        if anchor < 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        ids, likeness = self._nearest(anchor)
        open_ = allowed[ids]
        if open_.sum() < self.k and len(ids) < len(allowed) - 1:
            return self._scan(anchor, allowed, self.k)
        return ids[open_][: self.k], likeness[open_][: self.k]

    def _scan(self, anchor: int, allowed: Bools, k: int) -> tuple[NDArray[np.int64], Floats]:
        """The k nearest allowed tracks, nearest first."""
        unit = self.model.unit_vectors
        likeness = unit @ unit[anchor]
        likeness[anchor] = -np.inf
        found = top(np.where(allowed, likeness, -np.inf)[None], k)
        order = np.lexsort((found.ids, -found.score))
        return found.ids[order], found.score[order]


@dataclass
class LastGoodSource:
    """The listener's last full answer, kept in memory by this replica (bounded)."""

    capacity: int = 20_000
    name: str = "last_good"

    def __post_init__(self) -> None:
        self._slates: dict[str, NDArray[np.int64]] = {}

    def remember(self, user_id: str, tracks: list[int]) -> None:
        self._slates.pop(user_id, None)
        self._slates[user_id] = np.array(tracks, np.int64)
        while len(self._slates) > self.capacity:
            self._slates.pop(next(iter(self._slates)))

    def propose(self, batch: QueryBatch) -> Proposal:
        empty = np.zeros(0, np.int64)
        found = [
            self._slates.get(q.user.user_id, empty) if q.user.personalized else empty for q in batch.queries
        ]
        return stack([(ids, -np.arange(len(ids), dtype=np.float32)) for ids in found])
