"""Radio, part by part in execution order: tracks like the seeds, for this listener, away from what was skipped."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bandits.epsilon_greedy import EpsilonGreedy
from ranking.scorer import PairHydrator, RankScorer
from recsys.pipeline import Pipeline, Rung, Truncate
from recsys.plays import Outcome
from recsys.schemas import Surface
from recsys.types import Ask, Query, QueryBatch
from serving.loaded import LoadedRelease
from serving.parts.filters import PolicyFilter, RightsFilter
from serving.parts.scorers import ModelScorer, RadioScorer, SkipScorer, StationScorer
from serving.parts.selectors import ShelfSelector, ShelfSpec, always, everything
from serving.settings import RadioSettings
from serving.surfaces import stations
from serving.surfaces.surface import Desk, Kit, SurfaceSpec

if TYPE_CHECKING:
    from serving.recommender import Recommender
from serving.parts.sources import PopularSource, SequenceSource, StationSource, TwoTowerSource


def radio(kit: Kit) -> Pipeline[QueryBatch]:
    """The ladder of radio: full -> without the heavy scorers -> popular where the listener is."""
    release, settings = kit.release, kit.settings.radio
    items, station = release.items, StationSource(release.two_tower, release.items)
    rules = (RightsFilter(items), PolicyFilter(items))
    found = (
        station,
        TwoTowerSource(release.two_tower, release.index, items, k=100),
        SequenceSource(release.sequence, items, k=100),
    )
    near = (StationScorer(release.two_tower), SkipScorer(release.two_tower))
    narrow = (RadioScorer(settings, None, "near"), Truncate("near", settings.ranked))
    taste = (
        ModelScorer(release.two_tower),
        ModelScorer(release.sequence),
        PairHydrator(items, release.stats),
        RankScorer(release.ranker),
        RadioScorer(settings, "utility"),
    )
    return Pipeline(
        [
            Rung("full", found, rules + near + narrow + taste, selector(release, settings, "radio", "full")),
            Rung("light", (station,), rules + near + narrow, selector(release, settings, "near", "light")),
            Rung(
                "popular",
                (PopularSource(items, release.popularity, k=1000),),
                rules,
                selector(release, settings, "source:popular", "popular"),
            ),
        ],
        kit.budget_ms,
        clock=kit.clock,
    )


def selector(release: LoadedRelease, settings: RadioSettings, column: str, rung: str) -> ShelfSelector:
    """One endless list with artist separation."""
    shelf = ShelfSpec("radio", everything, always("station" if rung != "popular" else "popular"))
    name = f"{rung}-eps{settings.epsilon:g}" if rung != "popular" else "popular"
    return ShelfSelector(
        (shelf,), column, EpsilonGreedy(settings.epsilon), release.items, settings.rules, name
    )


def respond(desk: Desk, ask: Ask, query: Query) -> dict[str, Any]:
    """The next page of a station; without a cursor a new one starts.

    Raises:
        BadInput: a seed or cursor of the wrong form.
        UnknownId: a seed or station that is not known here.
    """
    if ask.cursor is None:
        station = stations.Station(query.request_id, ask.seed or "", query.user.user_id, query.now)
    else:
        station = stations.resume(desk.store, ask.cursor, ask.seed or "", query)
    decision = desk.decide(tuned(query, station, desk.recommender))
    played = (*station.tracks, *(slot["track_id"] for slot in decision.slots))
    station = replace(station, tracks=played)
    stations.save(desk.store, station)
    return desk.recommender.render.radio(decision, station.seed, station.cursor)


def tuned(query: Query, station: stations.Station, recommender: Recommender) -> Query:
    """The query with its station: seeds, what must not repeat, and what was skipped since the station began."""
    items = recommender.release.items
    user, mine = query.user, set(station.tracks)
    played = items.numbers(station.tracks)
    skipped = [
        track
        for track, start, outcome in zip(user.track_id, user.start, user.outcome, strict=True)
        if outcome == Outcome.SKIP and start >= station.started and track in mine
    ]
    known = [int(t) for t in played if t >= 0]
    seeds = recommender.seeds(station.seed)
    return replace(
        query,
        station=seeds,
        exclude=(*seeds, *known) if station.seed.startswith("track:") else tuple(known),
        recent_artists=tuple(int(items.artist[t]) for t in known[-8:]),
        skipped=tuple(int(t) for t in items.numbers(skipped) if t >= 0),
    )


SPEC = SurfaceSpec(Surface.RADIO, radio, respond, example=lambda query: replace(query, station=(0,)))
