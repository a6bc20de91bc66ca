"""The weekly discovery list, part by part: tracks that the listener has not heard, mostly by artists new to them.

Never heard as far as is known here: not in the window, not saved, in no earlier discovery list. The same for the
listener's local ISO week.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from bandits.softmax import Softmax
from ranking.scorer import PairHydrator, RankScorer
from recsys.items import Items
from recsys.pipeline import Candidates, Pipeline, Rung, Truncate
from recsys.plays import I32
from recsys.schemas import Surface
from recsys.slate import ListEffect
from recsys.types import Ask, Query, QueryBatch
from serving.list_render import shown
from serving.list_settings import DiscoverySettings
from serving.loaded import LoadedRelease
from serving.parts.asof import FrozenHydrator, FrozenScorer, FrozenSource
from serving.parts.blends import Blend, Nearest
from serving.parts.filters import rules
from serving.parts.scorers import ModelScorer
from serving.parts.selectors import Reason, ShelfSelector, ShelfSpec, always, everything, one_list
from serving.parts.shares import Floors
from serving.parts.sources import NewReleaseSource, PopularSource, SequenceSource, TwoTowerSource
from serving.parts.taste import NewArtistSource
from serving.parts.window import heard
from serving.surfaces import stored
from serving.surfaces.periods import week
from serving.surfaces.surface import Desk, Kit, SurfaceSpec


def discovery(kit: Kit) -> Pipeline[QueryBatch]:
    """The ladder of discovery: full -> without the heavy scorers -> retrieval order -> popular.

    The last good home feed is no rung here: it holds what the listener knows.
    """
    release, settings = kit.release, kit.settings.lists.discovery
    items, model = release.items, release.two_tower
    new_artists = FrozenSource(NewArtistSource(model, items, kit.settings.lists.mixes, settings.pool))
    near_tower = FrozenSource(TwoTowerSource(model, release.index, items, k=500))
    found = (
        near_tower,
        new_artists,
        FrozenSource(SequenceSource(release.sequence, items, k=300)),
        FrozenSource(NewReleaseSource(model, items)),
    )
    keep = rules(release)
    near = (Nearest("near", ("source:new_artist",)), FrozenScorer(ModelScorer(model)))
    narrow = (Truncate("two_tower", settings.ranked, {"source:new_artist": settings.ranked // 2}),)
    taste = (
        FrozenScorer(ModelScorer(release.sequence)),
        FrozenHydrator(PairHydrator(items, release.stats)),
        RankScorer(release.ranker),
        Blend("discovery", (("near", settings.near_weight), ("utility", settings.taste_weight))),
    )
    return Pipeline(
        [
            Rung(
                "full",
                found,
                (*keep, *near, *narrow, *taste),
                selector(release, settings, "discovery", "full"),
            ),
            Rung("light", found, (*keep, *near, *narrow), selector(release, settings, "two_tower", "light")),
            Rung(
                "retrieval",
                (near_tower,),
                keep,
                selector(release, settings, "source:two_tower", "retrieval"),
            ),
            popular_rung(release, settings),
        ],
        kit.budget_ms,
        clock=kit.clock,
    )


def popular(kit: Kit) -> Pipeline[QueryBatch]:
    """The non-personal answer."""
    return Pipeline([popular_rung(kit.release, kit.settings.lists.discovery)])


def popular_rung(release: LoadedRelease, settings: DiscoverySettings) -> Rung[QueryBatch]:
    why, rule = always("popular_near_you"), settings.rules
    choose = one_list(release.items, "discovery", why, "source:popular", settings.epsilon, rule, "popular")
    source = PopularSource(release.items, release.popularity, k=1_000)
    return Rung("popular", (source,), rules(release), choose)


def selector(release: LoadedRelease, settings: DiscoverySettings, column: str, rung: str) -> ShelfSelector:
    """One list with a floor for new artists."""
    shelf = ShelfSpec("discovery", everything, partial(reasons, release.items))
    policy = Softmax(settings.temperature, settings.epsilon)
    effects = (partial(mostly_new_artists, release.items, settings),)
    return ShelfSelector(
        (shelf,), column, policy, release.items, settings.rules, f"{rung}-{policy.name}", effects
    )


def mostly_new_artists(
    items: Items, settings: DiscoverySettings, batch: QueryBatch, j: int, own: Candidates
) -> ListEffect:
    """The floor for artists who are not in the listener's window."""
    known = np.isin(items.artist[own.ids], items.artist[heard(batch, j)])
    return Floors(((~known, settings.new_artists),))


def reasons(items: Items, batch: QueryBatch, j: int, own: Candidates) -> Reason:
    """By an artist who is new to the listener, or not; for somebody unknown, a start."""
    past = heard(batch, j)
    known = np.isin(items.artist[own.ids], items.artist[past])
    other = "new_artist" if len(past) else "explore"
    return lambda row: "unheard" if known[row] else other


def respond(desk: Desk, ask: Ask, query: Query) -> dict[str, Any]:
    """The first `query.limit` of this week's list, in the listener's time zone."""
    settings = desk.recommender.settings.lists.discovery
    period, as_of = stored.settle(query.user, query.now, query.context.tz, settings.thin, week)
    record = stored.load(desk.store, query)
    listed = stored.kept(desk, ask, query, record, period)
    if listed is None:
        whole = stored.planned(query, period, as_of, settings.tracks)
        if query.user.personalized:
            whole = replace(
                whole, exclude=known_tracks(desk.recommender.release.items, query, stored.served(record))
            )
        listed = stored.make(desk, ask, whole, record, period, memory=settings.memory)
    items = shown(desk.recommender.render, listed.slots[: query.limit])
    return {**listed.head, "items": items}


def known_tracks(items: Items, query: Query, served: list[str]) -> tuple[int, ...]:
    """Dense tracks that the listener has met: played (skipped ones too), saved, or served here before."""
    names = {*query.user.track_id, *query.user.saved, *served}
    numbers: I32 = items.numbers(sorted(names))
    return tuple(int(t) for t in numbers if t >= 0)


SPEC = SurfaceSpec(Surface.DISCOVERY, discovery, respond, popular)
