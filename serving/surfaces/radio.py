"""Radio, part by part in execution order: tracks like the seeds, for this listener, away from what was skipped.

docs/radio.md states the rules that every page keeps, and the order in which they are given up.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bandits.epsilon_greedy import EpsilonGreedy
from ranking.scorer import PairHydrator, RankScorer
from recsys.errors import BadInput
from recsys.pipeline import Pipeline, Rung
from recsys.plays import Outcome
from recsys.schemas import Surface
from recsys.types import Ask, Query, QueryBatch, UserState
from serving.parts.filters import rules
from serving.parts.scorers import ModelScorer
from serving.parts.station_pool import TIER_SOURCES, PopularStationSource, TierSource
from serving.parts.station_selector import StationSelector
from serving.parts.stations import HintScorer, RadioScorer, StationParts
from serving.surfaces import stations
from serving.surfaces.surface import Desk, Kit, SurfaceSpec, at_track

if TYPE_CHECKING:
    from serving.recommender import Recommender

CLOCK_SKEW_MS = 5 * 60_000
"""How far a client's clock may be behind the server's for its skips to count in a station just begun."""


def radio(kit: Kit) -> Pipeline[QueryBatch]:
    """The ladder of radio: full -> without the heavy scorers -> popular where the listener is."""
    release, settings = kit.release, kit.settings.radio
    items = release.items
    parts = StationParts(items, release.two_tower, release.popularity, settings)
    found = tuple(TierSource(parts, name) for name in TIER_SOURCES)
    keep = rules(release)
    near = (HintScorer(parts, "likeness"), HintScorer(parts, "familiar"), HintScorer(parts, "near"))
    taste = (
        ModelScorer(release.two_tower),
        ModelScorer(release.sequence),
        PairHydrator(items, release.stats),
        RankScorer(release.ranker),
        RadioScorer(settings),
    )
    policy, name = EpsilonGreedy(settings.epsilon), f"eps{settings.epsilon:g}"
    return Pipeline(
        [
            Rung("full", found, keep + near + taste, StationSelector(parts, "radio", policy, f"full-{name}")),
            Rung("light", found, keep + near, StationSelector(parts, "near", policy, f"light-{name}")),
            Rung(
                "popular",
                (PopularStationSource(parts),),
                keep,
                StationSelector(parts, "source:popular", policy, "popular", "popular"),
            ),
        ],
        kit.budget_ms,
        clock=kit.clock,
    )


def respond(desk: Desk, ask: Ask, query: Query) -> dict[str, Any]:
    """The next page of a station; without a cursor a new one starts. A `dial` holds until another one is given.

    Raises:
        BadInput: a seed, cursor or dial of the wrong form.
        UnknownId: a seed or station that is not known here.
    """
    if ask.cursor is None:
        station = stations.Station(query.request_id, ask.seed or "", query.user.user_id, query.now)
    else:
        station = stations.resume(desk.store, ask.cursor, ask.seed or "", query)
    station = replace(station, dial=_dial(ask.options.get("dial", station.dial)))
    decision = desk.decide(tuned(query, station, desk.recommender))
    page = tuple(slot["track_id"] for slot in decision.slots)
    station = stations.extend(desk.store, station, page, query.request_id)
    return desk.recommender.render.radio(decision, station.seed, station.cursor)


def _dial(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise BadInput("dial must be a number from 0 (familiar) to 1 (discover)")
    return float(value)


def tuned(query: Query, station: stations.Station, recommender: Recommender) -> Query:
    """The query with its station: its seeds, what it played, and what the listener did with that.

    `exclude` is the newer half of what was played, which never comes again; the older half is `options["again"]`,
    the last resort.
    """
    items, settings = recommender.release.items, recommender.settings.radio
    seeds = recommender.station(station.seed)
    heard = [int(t) for t in items.numbers(station.tracks) if t >= 0]
    if seeds.kind == "track":
        heard = [*seeds.tracks, *heard]  # the station follows the track it is named after
    played = list(dict.fromkeys(reversed(heard)))[::-1]  # each at its last place
    skipped, liked = outcomes(query.user, station)
    options: dict[str, Any] = {
        "dial": station.dial,
        "recent": heard[-max(settings.gaps.longest, 1) :],
        "again": played[: len(played) - len(played) // 2],
        "liked": [int(t) for t in items.numbers(liked) if t >= 0],
        "genres": list(seeds.genres),
    }
    return replace(
        query,
        station=seeds.tracks,
        exclude=tuple(played[len(played) - len(played) // 2 :]),
        skipped=tuple(int(t) for t in items.numbers(skipped) if t >= 0),
        options=query.options | options,
    )


def outcomes(user: UserState, station: stations.Station) -> tuple[list[str], list[str]]:
    """Tracks of the station that the listener skipped or rejected, and those finished or saved (saved ones twice)."""
    mine, since = set(station.tracks), station.started - CLOCK_SKEW_MS
    skipped, liked = list[str](), list[str]()
    for track, start, outcome in zip(user.track_id, user.start, user.outcome, strict=True):
        if track in mine and start >= since:
            if outcome == Outcome.SKIP:
                skipped.append(track)
            elif outcome == Outcome.FINISH:
                liked.append(track)
    skipped += sorted((mine & user.not_interested) - set(skipped))
    saved = [track for track, at, kept in user.saves if kept and at >= since and track in mine]
    return skipped, liked + saved + saved


SPEC = SurfaceSpec(Surface.RADIO, radio, respond, example=at_track)
