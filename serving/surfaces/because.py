"""Because you listened to X, part by part: near a track or artist, and to this listener's taste.

X comes from the request (`track:ID`, `artist:ID`), else it is the track that the listener finished last, else the
one played most in the window.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ranking.scorer import PairHydrator, RankScorer
from recsys.errors import BadInput
from recsys.items import Items
from recsys.pipeline import Candidates, Pipeline, Rung, Truncate
from recsys.plays import Outcome
from recsys.schemas import Surface
from recsys.types import Ask, Query, QueryBatch, UserState
from serving.list_render import reason, shown
from serving.list_settings import BecauseSettings
from serving.loaded import LoadedRelease
from serving.parts.blends import Blend
from serving.parts.filters import rules
from serving.parts.near import NearScorer, NearSource
from serving.parts.scorers import ModelScorer
from serving.parts.selectors import Reason, ShelfSelector, always, one_list
from serving.parts.sources import PopularSource
from serving.render import head
from serving.surfaces.surface import Desk, Kit, SurfaceSpec, at_track

if TYPE_CHECKING:
    from serving.recommender import Recommender


def because(kit: Kit) -> Pipeline[QueryBatch]:
    """The ladder: full -> likeness to X alone -> popular."""
    release, settings = kit.release, kit.settings.lists.because
    near = NearScorer(release.two_tower)
    taste = (
        Truncate("near", settings.ranked),
        ModelScorer(release.two_tower),
        ModelScorer(release.sequence),
        PairHydrator(release.items, release.stats),
        RankScorer(release.ranker),
        Blend("because", (("near", settings.near_weight), ("utility", settings.taste_weight))),
    )
    full = Rung(
        "full",
        (NearSource(release.two_tower, release.items),),
        (*rules(release), near, *taste),
        selector(release, settings, "because", "full"),
    )
    return Pipeline([full, *plain_rungs(release, settings)], kit.budget_ms, clock=kit.clock)


def impersonal(kit: Kit) -> Pipeline[QueryBatch]:
    """Without the consent: likeness to the X of the request, nothing of the listener; popular without an X."""
    return Pipeline(plain_rungs(kit.release, kit.settings.lists.because), kit.budget_ms, clock=kit.clock)


def plain_rungs(release: LoadedRelease, settings: BecauseSettings) -> list[Rung[QueryBatch]]:
    """Likeness alone, and what is popular."""
    near = NearSource(release.two_tower, release.items)
    popular = PopularSource(release.items, release.popularity, k=300)
    why, rule = always("popular_near_you"), settings.rules
    choose = one_list(release.items, "because", why, "source:popular", settings.epsilon, rule, "popular")
    return [
        Rung("retrieval", (near,), rules(release), selector(release, settings, "source:near", "retrieval")),
        Rung("popular", (popular,), rules(release), choose),
    ]


def selector(release: LoadedRelease, settings: BecauseSettings, column: str, rung: str) -> ShelfSelector:
    """One list whose every track has the one reason that the list has."""
    name, rule = f"{rung}-eps{settings.epsilon:g}", settings.rules
    return one_list(release.items, "because", reasons, column, settings.epsilon, rule, name)


def reasons(batch: QueryBatch, j: int, _own: Candidates) -> Reason:
    """Near X; X is in the query's options."""
    code = f"near:{batch.queries[j].options['seed']}"
    return lambda _row: code


def respond(desk: Desk, ask: Ask, query: Query) -> dict[str, Any]:
    """Tracks near X for this listener; without X and without history, what is popular.

    Raises:
        BadInput: a seed of the wrong form.
        UnknownId: an X that is not in the release.
    """
    recommender = desk.recommender
    seed = ask.seed or (chosen(query.user, recommender.release.items) if query.user.personalized else None)
    if ask.seed and not ask.seed.startswith(("track:", "artist:")):
        raise BadInput("seed must be track:ID or artist:ID")
    if seed is not None:
        seeds = recommender.seeds(seed)
        query = replace(query, station=seeds, exclude=seeds, options={**query.options, "seed": seed})
    decision = desk.decide(query)
    render = recommender.render
    return {
        **head(decision),
        "seed": seed,
        "title": title(query, seed if decision.rung != "popular" else None, recommender),
        "items": shown(render, decision.slots),
    }


def title(query: Query, seed: str | None, recommender: Recommender) -> str:
    """What the list may truly be called: that the listener played X is said only where the window shows it."""
    if seed is None:
        return reason(recommender.render, "popular_near_you")
    items = recommender.release.items
    played = items.numbers(query.user.track_id) if query.user.personalized else items.numbers(())
    played = played[played >= 0]
    kind, _, value = seed.partition(":")
    if kind == "track":
        listened = bool((played == items.number(value)).any())
    else:
        listened = bool((items.artist[played] == items.artist_number(value)).any())
    name = recommender.render.name(seed)
    return f"Because you listened to {name}" if listened else f"More like {name}"


def chosen(user: UserState, items: Items) -> str | None:
    """The track finished last, else the one played most and not skipped, among those that the release knows."""
    known = items.numbers(user.track_id) >= 0
    rows = [(t, o) for t, o, k in zip(user.track_id, user.outcome, known, strict=True) if k]
    finished = [track for track, outcome in rows if outcome == Outcome.FINISH]
    played = Counter(track for track, outcome in rows if outcome != Outcome.SKIP)
    track = finished[-1] if finished else max(played, key=played.__getitem__, default=None)
    return f"track:{track}" if track else None


def _example(query: Query) -> Query:
    return replace(at_track(query), options={"seed": "track"})


SPEC = SurfaceSpec(Surface.BECAUSE, because, respond, impersonal, example=_example)
