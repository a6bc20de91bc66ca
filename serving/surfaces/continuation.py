"""Playlist continuation, part by part: the next tracks of a list, for this listener.

The blend was chosen by hit rate on held-out sessions (docs/surfaces.md): the transformer over the list as if it had
just been played, what was played together with any of its tracks, and the listener's own taste.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recsys.errors import BadInput, UnknownId
from recsys.items import Items
from recsys.pipeline import Pipeline, Rung
from recsys.schemas import Surface
from recsys.types import Ask, Query, QueryBatch
from serving.list_render import shown
from serving.list_settings import ContinuationSettings
from serving.loaded import LoadedRelease
from serving.parts.blends import Blend
from serving.parts.filters import rules
from serving.parts.near import NearScorer, NearSource
from serving.parts.selectors import ShelfSelector, always, one_list
from serving.parts.session import SessionScorer, SessionSource, TogetherScorer, TogetherSource
from serving.parts.sources import PopularSource
from serving.render import head
from serving.surfaces.surface import Desk, Kit, SurfaceSpec, at_track

MOST = 200
"""Tracks of a list that may be given."""


def continuation(kit: Kit) -> Pipeline[QueryBatch]:
    """The ladder: full -> likeness to the list alone -> popular."""
    return ladder(kit, alone=False)


def impersonal(kit: Kit) -> Pipeline[QueryBatch]:
    """Without the consent: the same over the list alone, nothing of the listener."""
    return ladder(kit, alone=True)


def ladder(kit: Kit, alone: bool) -> Pipeline[QueryBatch]:
    """`alone`: the list itself is all that the models read."""
    release, settings = kit.release, kit.settings.lists.continuation
    items, tower, sequence = release.items, release.two_tower, release.sequence
    near = NearSource(tower, items)
    found = (
        near,
        SessionSource(sequence, items, alone=True),
        SessionSource(tower, items, alone, "taste"),
        TogetherSource(sequence, items),
    )
    scores = (
        NearScorer(tower),
        SessionScorer(sequence, items, alone=True),
        SessionScorer(tower, items, alone, "taste"),
        TogetherScorer(sequence),
    )
    weights = (
        ("near", settings.near_weight),
        ("session", settings.session_weight),
        ("taste", settings.taste_weight),
        ("together", settings.together_weight),
    )
    keep = rules(release)
    name = "alone" if alone else "full"
    popular = PopularSource(items, release.popularity, k=500)
    return Pipeline(
        [
            Rung(
                name,
                found,
                (*keep, *scores, Blend("continuation", weights)),
                selector(release, settings, "continuation", name),
            ),
            Rung("retrieval", (near,), keep, selector(release, settings, "source:near", "retrieval")),
            Rung("popular", (popular,), keep, selector(release, settings, "source:popular", "popular")),
        ],
        kit.budget_ms,
        clock=kit.clock,
    )


def selector(release: LoadedRelease, settings: ContinuationSettings, column: str, rung: str) -> ShelfSelector:
    """One list; a playlist of one artist may go on with that artist, so nothing is capped."""
    why = always("continues" if rung != "popular" else "popular_near_you")
    name, rule = f"{rung}-eps{settings.epsilon:g}" if rung != "popular" else rung, settings.rules
    return one_list(release.items, "continuation", why, column, settings.epsilon, rule, name)


def respond(desk: Desk, ask: Ask, query: Query) -> dict[str, Any]:
    """The next `query.limit` tracks of `options["track_ids"]`, or of a seed `playlist:ID,ID,...`.

    Tracks that the release does not know (local files, withdrawn ones) are passed over, and counted.

    Raises:
        BadInput: no tracks, or more than MOST.
        UnknownId: none of the tracks is known.
    """
    items = desk.recommender.release.items
    given = listed(ask)
    station = known(items, given)
    decision = desk.decide(replace(query, station=station, exclude=station))
    return {
        **head(decision),
        "unknown": len(given) - len(station),
        "items": shown(desk.recommender.render, decision.slots),
    }


def listed(ask: Ask) -> list[str]:
    """The distinct tracks of a list, in order."""
    kind, _, value = (ask.seed or "").partition(":")
    given = list(ask.options.get("track_ids", ())) or (value.split(",") if kind == "playlist" else [])
    if not 1 <= len(given) <= MOST:
        raise BadInput(f"give 1 to {MOST} tracks")
    return list(dict.fromkeys(given))


def known(items: Items, track_ids: list[str]) -> tuple[int, ...]:
    """Dense numbers of the tracks that the release has, in order."""
    found = tuple(int(t) for t in items.numbers(track_ids) if t >= 0)
    if not found:
        raise UnknownId("none of these tracks is known in this release")
    return found


SPEC = SurfaceSpec(Surface.CONTINUATION, continuation, respond, impersonal, example=at_track)
