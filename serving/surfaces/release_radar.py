"""The release radar, part by part: what came out lately, by artists the listener follows, then plays, then near.

Made once a listener's local day: releases come out every day, so a weekly list would hide some for six days, and
one made at each request would move under the listener's eyes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ranking.scorer import PairHydrator, RankScorer
from recsys.pipeline import Candidates, Pipeline, Rung
from recsys.schemas import Surface
from recsys.types import Ask, Query, QueryBatch
from serving.list_render import shown
from serving.list_settings import RadarSettings
from serving.loaded import LoadedRelease
from serving.parts.asof import FrozenHydrator, FrozenScorer, FrozenSource
from serving.parts.filters import rules
from serving.parts.fresh import (
    FollowedSource,
    FreshFilter,
    NewestSource,
    PlayedSource,
    PopularFreshSource,
    TierScorer,
)
from serving.parts.scorers import ModelScorer
from serving.parts.selectors import Reason, ShelfSelector, always, one_list
from serving.parts.sources import NewReleaseSource
from serving.surfaces import stored
from serving.surfaces.periods import day
from serving.surfaces.surface import Desk, Kit, SurfaceSpec


def release_radar(kit: Kit) -> Pipeline[QueryBatch]:
    """The ladder of the radar: full -> without the heavy scorers -> by artist alone -> popular new -> newest.

    The last good home feed is no rung here: most of it is old.
    """
    release, settings = kit.release, kit.settings.lists.radar
    items, model = release.items, release.two_tower
    artists = (FollowedSource(items, settings.days), PlayedSource(items, settings.days))
    near = FrozenSource(NewReleaseSource(model, items, k=300, days=settings.days))
    found = (*artists, near, PopularFreshSource(items, release.popularity, settings.days))
    keep = (*rules(release), FreshFilter(items, settings.days))
    tower = (FrozenScorer(ModelScorer(model)),)
    taste = (
        FrozenScorer(ModelScorer(release.sequence)),
        FrozenHydrator(PairHydrator(items, release.stats)),
        RankScorer(release.ranker),
        TierScorer("utility"),
    )
    choose = partial(selector, release, settings)
    return Pipeline(
        [
            Rung("full", found, keep + tower + taste, choose("tier", "full")),
            Rung("light", found, (*keep, *tower, TierScorer("two_tower")), choose("tier", "light")),
            Rung("retrieval", (*artists, found[-1]), (*keep, TierScorer(None)), choose("tier", "retrieval")),
            *plain_rungs(release, settings),
        ],
        kit.budget_ms,
        clock=kit.clock,
    )


def popular(kit: Kit) -> Pipeline[QueryBatch]:
    """The non-personal answer: new releases that are popular where the listener is."""
    return Pipeline(plain_rungs(kit.release, kit.settings.lists.radar))


def plain_rungs(release: LoadedRelease, settings: RadarSettings) -> list[Rung[QueryBatch]]:
    """New releases by popularity; where there are none at all, the newest tracks, under a rung that says so."""
    new = PopularFreshSource(release.items, release.popularity, settings.days)
    keep = rules(release)
    only_new = (*keep, FreshFilter(release.items, settings.days))
    return [
        Rung("popular", (new,), only_new, plain(release, settings, "popular", "popular_release")),
        Rung("newest", (NewestSource(release.items),), keep, plain(release, settings, "newest", "newest")),
    ]


def plain(release: LoadedRelease, settings: RadarSettings, source: str, code: str) -> ShelfSelector:
    """The order of one source."""
    why, column, rule = always(code), f"source:{source}", settings.rules
    return one_list(release.items, "release_radar", why, column, settings.epsilon, rule, source)


def selector(release: LoadedRelease, settings: RadarSettings, column: str, rung: str) -> ShelfSelector:
    """One list by tier."""
    name, rule = f"{rung}-eps{settings.epsilon:g}", settings.rules
    return one_list(release.items, "release_radar", reasons, column, settings.epsilon, rule, name)


def reasons(batch: QueryBatch, j: int, own: Candidates) -> Reason:
    """Whose release it is to the listener; for somebody unknown, what is popular."""
    followed, played = own.proposed_by("followed"), own.proposed_by("played")
    unknown = batch.histories.offsets[j] == batch.histories.offsets[j + 1]

    def reason(row: int) -> str:
        if followed[row]:
            return "followed_release"
        if played[row]:
            return "played_release"
        return "popular_release" if unknown else "near_release"

    return reason


def respond(desk: Desk, ask: Ask, query: Query) -> dict[str, Any]:
    """The first `query.limit` of today's radar, in the listener's time zone; each with its release date."""
    settings = desk.recommender.settings.lists.radar
    period, as_of = stored.settle(query.user, query.now, query.context.tz, settings.thin, day)
    record = stored.load(desk.store, query)
    listed = stored.kept(desk, ask, query, record, period)
    if listed is None:
        whole = stored.planned(query, period, as_of, settings.tracks)
        listed = stored.make(desk, ask, whole, record, period)
    slots = listed.slots[: query.limit]
    dates = desk.recommender.release.items.frame["release_date"]
    items = [
        item | {"release_date": dates[slot["track"]].isoformat() if dates[slot["track"]] else None}
        for item, slot in zip(shown(desk.recommender.render, slots), slots, strict=True)
    ]
    return {**listed.head, "days": settings.days, "items": items}


SPEC = SurfaceSpec(Surface.RELEASE_RADAR, release_radar, respond, popular)
