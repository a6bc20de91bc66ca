"""The candidates of a station, by tier: its neighbourhood, and wider circles where that is too thin for a page.

Only what may be played is proposed: open in the territory, released, not explicit where that is unwanted, not
rejected, not played in this station. `recsys.separation.TIERS` names the tiers; each is a source of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.pipeline import Candidates, Proposal
from recsys.plays import I64
from recsys.types import Query, QueryBatch
from serving.parts.filters import PolicyFilter
from serving.parts.sources import rights, stack
from serving.parts.stations import Floats, Hint, StationParts, hints

Bools = NDArray[np.bool_]
TIER_SOURCES = ("station", "genre", "parent_genre", "catalog", "repeats")
"""Source of each tier of recsys.separation.TIERS."""
_NOTHING = np.zeros(0, np.int64)


@dataclass(frozen=True)
class TierSource:
    """Proposes one tier of each station's pool."""

    parts: StationParts
    name: str

    def propose(self, batch: QueryBatch) -> Proposal:
        tier = TIER_SOURCES.index(self.name)
        return stack([pool[tier] for pool in pools(self.parts, batch)])


@dataclass(frozen=True)
class PopularStationSource:
    """What is most played where the listener is and may be played in this station, without any model."""

    parts: StationParts
    name: str = "popular"

    def propose(self, batch: QueryBatch) -> Proposal:
        found = []
        for j, query in enumerate(batch.queries):
            popular = self.parts.popularity[batch.country[j]]
            may = playable(self.parts, batch, j)
            fresh = np.flatnonzero(_without(may, _played(query)))
            best, _ = _cut(self.parts, query, fresh, popular[fresh], self.parts.settings.ranked)
            ids = fresh[best] if len(best) else _again(query, may)
            found.append((ids, popular[ids]))
        return stack(found)


def pools(parts: StationParts, batch: QueryBatch) -> list[list[tuple[I64, Floats]]]:
    """For each request its tiers as (ids, station score); found once a batch."""
    if "pools" not in batch.memo:
        batch.memo["pools"] = [_pool(parts, batch, j, hint) for j, hint in enumerate(hints(parts, batch))]
    found: list[list[tuple[I64, Floats]]] = batch.memo["pools"]
    return found


def playable(parts: StationParts, batch: QueryBatch, j: int) -> Bools:
    """(n,) what request j may be given at all: the surface's own filters, asked about the whole catalog.

    So a page is planned from what will really be left of the pool.
    """
    items, one = parts.items, batch if len(batch) == 1 else batch.take(np.array([j]))
    whole = Candidates(np.arange(len(items)), np.array([0, len(items)], np.int64))
    may: Bools = rights(items, batch)[j] & PolicyFilter(items).keep(one, whole)
    return may


def _pool(parts: StationParts, batch: QueryBatch, j: int, hint: Hint) -> list[tuple[I64, Floats]]:
    items, query = parts.items, hint.query
    may = playable(parts, batch, j)
    likeness = hint.likeness()
    fresh = _without(may, _played(query))
    leaves, parents = _genres(parts, query)
    circles: tuple[Callable[[], Bools], ...] = (
        lambda: _core(parts, hint, may, likeness) & fresh,
        lambda: fresh & leaves[items.genre],
        lambda: fresh & parents[items.parent],
        lambda: _most_played(fresh, parts.popularity[batch.country[j]], parts.settings.ranked),
    )
    tiers, taken, room = list[tuple[I64, Floats]](), np.zeros(len(items), bool), 0
    for circle in circles:
        ids, score, more = _NOTHING, np.zeros(0, np.float32), 0
        if room < _need(parts, query):
            wider = np.flatnonzero(circle() & ~taken)
            ids, score, more = _mixed(parts, hint, wider, hint.near(wider, exact=False))
        taken[ids] = True
        room += more
        tiers.append((ids, score))
    again = _NOTHING if room >= _need(parts, query) else _again(query, may)
    return [*tiers, (again, hint.near(again, exact=False))]


def _core(parts: StationParts, hint: Hint, may: Bools, likeness: Floats) -> Bools:
    """(n,) the station itself: the genre that it was started from, else the neighbourhood of its seeds.

    What lies next in other genres comes in beside genres that the listener skips.
    """
    items, settings, genres = parts.items, parts.settings, list(hint.query.options.get("genres", ()))
    size = max(min(settings.neighbourhood, int(settings.neighbourhood_share * len(items))), 1)
    core = np.zeros(len(items), bool)
    if genres:
        core = may & np.isin(items.genre, genres)
        if not set(genres) <= set(hint.unwanted):
            return core
    else:
        core[_best(np.arange(len(items)), likeness, size)] = True
    if hint.unwanted:
        others = np.flatnonzero(~np.isin(items.genre, list(hint.unwanted)))
        core[_best(others, likeness, -(-size // 2))] = True
    return core & may


def _mixed(parts: StationParts, hint: Hint, ids: I64, score: Floats) -> tuple[I64, Floats, int]:
    """`_cut`, half of it from genres that the listener does not skip: ids, their scores, and room."""
    query, ranked = hint.query, parts.settings.ranked
    if not hint.unwanted:
        best, room = _cut(parts, query, ids, score, ranked)
        return ids[best], score[best], room
    out = np.isin(parts.items.genre[ids], list(hint.unwanted))
    found, room = [], 0
    for side in (np.flatnonzero(out), np.flatnonzero(~out)):
        best, more = _cut(parts, query, ids[side], score[side], -(-ranked // 2))
        found.append(side[best])
        room += more
    best = np.sort(np.concatenate(found))
    return ids[best], score[best], room


def _genres(parts: StationParts, query: Query) -> tuple[Bools, Bools]:
    """Tables over leaf and parent genre numbers of what the seeds belong to; number -1 (unknown) reads False."""
    items, seeds = parts.items, list(query.station)
    leaves, parents = np.zeros(len(items.genres) + 1, bool), np.zeros(len(items.parents) + 1, bool)
    leaves[items.genre[seeds]] = True
    leaves[list(query.options.get("genres", ()))] = True
    parents[items.parent[seeds]] = True
    leaves[-1] = parents[-1] = False
    return leaves, parents


def _most_played(fresh: Bools, popularity: Floats, k: int) -> Bools:
    out = np.zeros(len(fresh), bool)
    out[_best(np.flatnonzero(fresh), popularity, k)] = True
    return out


def _best(ids: I64, score: Floats, k: int) -> I64:
    """The k of `ids` with the highest score, in no order."""
    return ids if len(ids) <= k else ids[np.argpartition(-score[ids], k - 1)[:k]]


def _played(query: Query) -> list[int]:
    return [*query.exclude, *query.options.get("again", ())]


def _again(query: Query, may: Bools) -> I64:
    """The older half of what this station played, as far as it may be played still."""
    ids = np.array(query.options.get("again", ()), np.int64)
    return np.sort(ids[may[ids]])


def _without(may: Bools, gone: list[int]) -> Bools:
    fresh = may.copy()
    fresh[gone] = False
    return fresh


def _turns(parts: StationParts, query: Query) -> int:
    """How often one artist can come on a page."""
    return -(-query.limit // (parts.settings.gaps.artist + 1))


def _need(parts: StationParts, query: Query) -> int:
    """Room at which a page can be filled under the artist and title gaps, whatever is drawn first: each slot takes
    at most one of the counted tracks, and at most `gap` artists are barred."""
    return query.limit + parts.settings.gaps.artist * _turns(parts, query)


def _cut(parts: StationParts, query: Query, ids: I64, score: Floats, k: int) -> tuple[I64, int]:
    """Places of the k best of some tracks, ascending, and the room that they give to a page.

    First come those that a page can use whatever is drawn: each song once and none of the last ones, of each artist
    little more than it has turns. Room counts these alone, of each artist no more than it has turns.
    """
    names, turns = parts.names, _turns(parts, query)
    order = np.lexsort((ids, -score))
    title, artist = names.title[ids[order]], names.artist[ids[order]]
    first = np.zeros(len(ids), bool)
    first[np.unique(title, return_index=True)[1]] = True
    recent = names.title[list(query.options.get("recent", ()))[-parts.settings.gaps.title :]]
    usable = (title < 0) | (first & ~np.isin(title, recent))
    place = np.zeros(len(ids), np.int64)
    place[usable] = np.where(artist[usable] < 0, 0, _place_within(artist[usable]))
    usable &= place < turns + 2
    best = np.argsort(~usable, kind="stable")[:k]
    return np.sort(order[best]), int((usable[best] & (place[best] < turns)).sum())


def _place_within(groups: I64) -> I64:
    """How many of the same group stand before each element."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    start = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    begin = np.maximum.accumulate(np.where(start, np.arange(len(groups)), 0))
    place = np.empty(len(groups), np.int64)
    place[order] = np.arange(len(groups)) - begin
    return place
