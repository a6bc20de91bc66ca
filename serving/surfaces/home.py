"""The home feed, part by part in execution order.

Shelves, top to bottom: made for you, because you finished X (or, where that has not been tested, more like X), new
releases for you, jump back in, popular where you are. `home` is the whole ladder; `sources` and `eligible` also feed
the ranker's training.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandits.choice import label, slot_policy
from bandits.epsilon_greedy import EpsilonGreedy
from ranking.light import LightRanker
from ranking.scorer import LightScorer, PairHydrator, RankScorer
from recsys.pipeline import Candidates, Pipeline, Rung, Source, Stage, Truncate
from recsys.schemas import Surface
from recsys.slate import Rules
from recsys.topk import members
from recsys.types import Ask, Query, QueryBatch
from serving.learning.stages import COLUMN, LearnedScorer, LearnedSlots
from serving.learning.states import Taught
from serving.loaded import LoadedRelease, Retrieval
from serving.parts.filters import rules
from serving.parts.rerank import Reranker
from serving.parts.scorers import ModelScorer
from serving.parts.selectors import ShelfSelector, ShelfSpec, always, everything, proposed_by
from serving.parts.sources import (
    AnchorSource,
    ArtistSource,
    HistorySource,
    NewReleaseSource,
    PopularSource,
    SemanticSource,
    SequenceSource,
    TwoTowerSource,
)
from serving.parts.window import heard
from serving.reasons import claims, plain
from serving.settings import HomeSettings
from serving.surfaces.surface import Desk, Kit, SurfaceSpec


def sources(release: Retrieval) -> tuple[Source[QueryBatch], ...]:
    semantic = () if release.semantic is None else (SemanticSource(release.semantic, release.items),)
    return (
        TwoTowerSource(release.two_tower, release.index, release.items),
        SequenceSource(release.sequence, release.items),
        HistorySource(),
        ArtistSource(release.items, release.popularity[-1]),
        NewReleaseSource(release.two_tower, release.items),
        AnchorSource(release.two_tower, release.items),
        PopularSource(release.items, release.popularity),
        *semantic,
    )


def eligible(release: Retrieval) -> tuple[Stage[QueryBatch], ...]:
    return (*rules(release), ModelScorer(release.two_tower))


def light(ranker: LightRanker, settings: HomeSettings) -> tuple[Stage[QueryBatch], ...]:
    return (
        LightScorer(ranker),
        Truncate("light", settings.ranked, {f"source:{s}": settings.shelf_floor for s in SHELF_SOURCES}),
    )


def heavy(release: LoadedRelease) -> tuple[Stage[QueryBatch], ...]:
    return (
        ModelScorer(release.sequence),
        PairHydrator(release.items, release.stats),
        RankScorer(release.ranker),
    )


SHELF_SOURCES = ("anchor", "new", "history", "popular")


def home(kit: Kit) -> Pipeline[QueryBatch]:
    """The ladder of the home feed: full -> without the heavy scorers -> retrieval order -> last good -> popular."""
    release, settings, last_good = kit.release, kit.settings.home, kit.last_good
    base, found = eligible(release), sources(release)
    keep = rules(release)
    narrow = light(release.light, settings)
    taught = kit.taught if settings.learned.on else None
    scored = base + narrow + heavy(release)
    full = (
        Rung("full", found, scored, selector(release, settings, "utility", "full"))
        if taught is None
        else Rung(
            "full", found, (*scored, LearnedScorer(taught, release)), learned(release, settings, taught)
        )
    )
    popular = PopularSource(release.items, release.popularity)
    return Pipeline(
        [
            full,
            Rung("light", found, base + narrow, selector(release, settings, "light", "light")),
            Rung("retrieval", found[:1], base, selector(release, settings, "two_tower", "retrieval")),
            Rung("last_good", (last_good,), keep, flat(release, settings, "source:last_good", "last_good")),
            Rung("popular", (popular,), keep, flat(release, settings, "source:popular", "popular")),
        ],
        kit.budget_ms,
        clock=kit.clock,
    )


def popular(kit: Kit) -> Pipeline[QueryBatch]:
    """The non-personal answer: for listeners without the `personalization` consent."""
    release, settings = kit.release, kit.settings.home
    keep = rules(release)
    found = (PopularSource(release.items, release.popularity),)
    return Pipeline([Rung("popular", found, keep, flat(release, settings, "source:popular", "popular"))])


def selector(release: LoadedRelease, settings: HomeSettings, column: str, rung: str) -> ShelfSelector:
    """All shelves, ordered by one score column and re-ranked as the settings say."""
    items, rerank = release.items, Reranker(release, settings.rerank, column)
    shelves = (
        ShelfSpec("made_for_you", everything, plain.made_for_you(items)),
        ShelfSpec("because_you_finished", claims.supported, claims.finished(items)),
        ShelfSpec("more_like", claims.alike, claims.similar(items)),
        ShelfSpec("new_releases", new_to_listener, always("new_release")),
        ShelfSpec("jump_back_in", not_just_now, always("played_before")),
        ShelfSpec("popular", plain.played_a_lot, plain.popular(items)),
    )
    return ShelfSelector(
        shelves,
        column,
        slot_policy(settings.exploration, settings.epsilon),
        items,
        settings.rules,
        "-".join(filter(None, (rung, label(settings.exploration, settings.epsilon), settings.rerank.label))),
        rerank.effects(),
        rerank.quotas(),
    )


def learned(release: LoadedRelease, settings: HomeSettings, taught: Taught) -> ShelfSelector:
    """The same shelves, ordered and drawn by what was learned from listeners' reactions."""
    plain = selector(release, settings, COLUMN, "full")
    drawing = LearnedSlots(taught, release, settings.learned, settings.epsilon, len(plain.shelves))
    name = "-".join(filter(None, ("full", settings.learned.name(settings.epsilon), settings.rerank.label)))
    return replace(plain, name=name, drawing=drawing, state=taught.version)


def flat(release: LoadedRelease, settings: HomeSettings, column: str, rung: str) -> ShelfSelector:
    """One shelf, for the rungs that have no more to say."""
    why = plain.popular(release.items) if rung == "popular" else always(f"{rung}_fallback")
    shelf = ShelfSpec("popular", everything, why)
    return ShelfSelector((shelf,), column, EpsilonGreedy(settings.epsilon), release.items, Rules(), rung)


def new_to_listener(batch: QueryBatch, j: int, own: Candidates) -> NDArray[np.bool_]:
    """Proposed as a new release, and not in the listener's window."""
    return proposed_by("new")(batch, j, own) & ~members(own.ids, heard(batch, j))


def not_just_now(batch: QueryBatch, j: int, own: Candidates) -> NDArray[np.bool_]:
    """In the listener's history, but not among the tracks of the last day: something to jump back to."""
    rows = slice(int(batch.histories.offsets[j]), int(batch.histories.offsets[j + 1]))
    recent = batch.histories.track[rows][batch.histories.start[rows] > batch.now[j] - 86_400_000]
    return proposed_by("history")(batch, j, own) & ~members(own.ids, recent)


def respond(desk: Desk, _ask: Ask, query: Query) -> dict[str, Any]:
    """Shelves of `query.limit` tracks."""
    release, settings = desk.recommender.release, desk.recommender.settings.reasons
    query = claims.claimed(query, desk.store, release.manifest.version, release.items, settings.least_tracks)
    return desk.recommender.render.home(desk.decide(query))


SPEC = SurfaceSpec(Surface.HOME, home, respond, popular)
