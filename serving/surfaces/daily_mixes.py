"""Daily mixes, part by part in execution order: one mix for each of the listener's tastes, familiar and new.

The same all day: made from what was played before the listener's local day began, drawn with a seed of listener and
day, kept in the online store. Every track belongs to one taste, so no two mixes share one.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from bandits.epsilon_greedy import EpsilonGreedy
from bandits.softmax import Softmax
from ranking.scorer import PairHydrator, RankScorer
from recsys.pipeline import Candidates, Pipeline, Rung
from recsys.schemas import Surface
from recsys.slate import ListEffect
from recsys.types import Ask, Query, QueryBatch
from serving.list_render import mix_titles, shown
from serving.list_settings import MixSettings
from serving.loaded import LoadedRelease
from serving.parts.asof import FrozenHydrator, FrozenScorer, FrozenSource, frozen
from serving.parts.blends import Blend, Nearest
from serving.parts.filters import rules
from serving.parts.scorers import ModelScorer
from serving.parts.selectors import Reason, ShelfSelector, ShelfSpec, always, everything, proposed_by
from serving.parts.shares import Floors
from serving.parts.sources import PopularSource
from serving.parts.taste import MixSource
from serving.parts.window import liked
from serving.surfaces import stored
from serving.surfaces.periods import day
from serving.surfaces.surface import Desk, Kit, SurfaceSpec


def daily_mixes(kit: Kit) -> Pipeline[QueryBatch]:
    """The ladder of mixes: full -> without the heavy scorers -> the last good home feed -> popular."""
    release, settings = kit.release, kit.settings.lists.mixes
    items, model = release.items, release.two_tower
    found = tuple(FrozenSource(MixSource(model, items, settings, n)) for n in range(settings.mixes))
    keep = rules(release)
    near = (Nearest("near", tuple(f"source:{source.name}" for source in found)),)
    taste = (
        FrozenScorer(ModelScorer(model)),
        FrozenScorer(ModelScorer(release.sequence)),
        FrozenHydrator(PairHydrator(items, release.stats)),
        RankScorer(release.ranker),
        Blend("mix", (("near", settings.near_weight), ("utility", settings.taste_weight))),
    )
    return Pipeline(
        [
            Rung("full", found, keep + near + taste, selector(release, settings, "mix", "full")),
            Rung("light", found, keep + near, selector(release, settings, "near", "light")),
            Rung(
                "last_good", (kit.last_good,), keep, flat(release, settings, "source:last_good", "last_good")
            ),
            popular_rung(release, settings),
        ],
        kit.budget_ms,
        clock=kit.clock,
    )


def popular(kit: Kit) -> Pipeline[QueryBatch]:
    """The non-personal answer: one mix of what is popular where the listener is."""
    return Pipeline([popular_rung(kit.release, kit.settings.lists.mixes)])


def popular_rung(release: LoadedRelease, settings: MixSettings) -> Rung[QueryBatch]:
    source = PopularSource(release.items, release.popularity, k=4 * settings.tracks)
    return Rung("popular", (source,), rules(release), flat(release, settings, "source:popular", "popular"))


def selector(release: LoadedRelease, settings: MixSettings, column: str, rung: str) -> ShelfSelector:
    """One shelf a mix, with floors for what is familiar and for what is new."""
    names = [f"mix_{n + 1}" for n in range(settings.mixes)]
    shelves = tuple(ShelfSpec(name, proposed_by(name), reasons) for name in names)
    policy = Softmax(settings.temperature, settings.epsilon)
    effects = (partial(mixture, settings),)
    return ShelfSelector(
        shelves, column, policy, release.items, settings.rules, f"{rung}-{policy.name}", effects
    )


def flat(release: LoadedRelease, settings: MixSettings, column: str, rung: str) -> ShelfSelector:
    """One mix, for the rungs that know no tastes."""
    code = "last_good_fallback" if rung == "last_good" else "popular_near_you"
    shelf = ShelfSpec("mix_1", everything, always(code))
    return ShelfSelector(
        (shelf,), column, EpsilonGreedy(settings.epsilon), release.items, settings.rules, rung
    )


def mixture(settings: MixSettings, batch: QueryBatch, j: int, own: Candidates) -> ListEffect:
    """Floors within each mix: tracks that the listener plays, and tracks that are not in the window."""
    familiar = np.isin(own.ids, liked(frozen(batch), j))
    return Floors(((familiar, settings.familiar), (~familiar, settings.fresh)))


def reasons(batch: QueryBatch, j: int, own: Candidates) -> Reason:
    """Played before, or near to what the mix is made of; for somebody unknown, a start."""
    past = liked(frozen(batch), j)
    familiar = np.isin(own.ids, past)
    other = "mix_new" if len(past) else "explore"
    return lambda row: "mix_familiar" if familiar[row] else other


def respond(desk: Desk, ask: Ask, query: Query) -> dict[str, Any]:
    """Up to `mixes` mixes of `query.limit` tracks: today's, in the listener's time zone."""
    settings = desk.recommender.settings.lists.mixes
    period, as_of = stored.settle(query.user, query.now, query.context.tz, settings.thin, day)
    record = stored.load(desk.store, query)
    listed = stored.kept(desk, ask, query, record, period)
    if listed is None:
        titles = partial(mix_titles, desk.recommender.release.items)
        whole = stored.planned(query, period, as_of, settings.tracks)
        listed = stored.make(desk, ask, whole, record, period, titles)
    shelves: dict[str, list[dict[str, Any]]] = {}
    for slot in listed.slots:
        shelves.setdefault(slot["shelf"], []).append(slot)
    mixes = [
        {
            "id": name,
            "title": listed.titles[name],
            "items": shown(desk.recommender.render, slots[: query.limit]),
        }
        for name, slots in shelves.items()
    ]
    return {**listed.head, "mixes": mixes}


SPEC = SurfaceSpec(Surface.DAILY_MIX, daily_mixes, respond, popular)
