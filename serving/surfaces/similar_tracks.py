"""Similar tracks, part by part: the nearest to one track. The same for everybody, nearest first.

A listener's own rejections and territory still count; nothing else of the listener is read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recsys.errors import BadInput
from recsys.pipeline import Pipeline, Rung
from recsys.schemas import Surface
from recsys.slate import Rules
from recsys.types import Ask, Query, QueryBatch
from serving.list_render import shown
from serving.parts.filters import rules
from serving.parts.near import NearSource
from serving.parts.selectors import ShelfSelector, always, one_list
from serving.parts.sources import PopularSource
from serving.render import head
from serving.surfaces.surface import Desk, Kit, SurfaceSpec, at_track


def similar_tracks(kit: Kit) -> Pipeline[QueryBatch]:
    """The ladder: nearest -> popular."""
    release, settings = kit.release, kit.settings.lists.similar
    near = NearSource(release.two_tower, release.items, k=settings.pool)
    popular = PopularSource(release.items, release.popularity, k=settings.pool)

    def choose(source: str, code: str, name: str) -> ShelfSelector:
        plain = Rules(artist_cap_shelf=0, artist_cap_slate=0)
        why, column = always(code), f"source:{source}"
        return one_list(release.items, "similar", why, column, settings.epsilon, plain, name)

    return Pipeline(
        [
            Rung("full", (near,), rules(release), choose("near", "similar_track", "nearest")),
            Rung("popular", (popular,), rules(release), choose("popular", "popular_near_you", "popular")),
        ],
        kit.budget_ms,
        clock=kit.clock,
    )


def respond(desk: Desk, ask: Ask, query: Query) -> dict[str, Any]:
    """The nearest tracks to the seed's.

    Raises:
        BadInput: a seed that is not `track:ID`.
        UnknownId: the release does not know the track.
    """
    kind, _, track_id = (ask.seed or "").partition(":")
    if kind != "track":
        raise BadInput("seed must be track:ID")
    seeds = desk.recommender.seeds(f"track:{track_id}")
    decision = desk.decide(replace(query, station=seeds, exclude=seeds))
    items = shown(desk.recommender.render, decision.slots)
    return {**head(decision), "track_id": track_id, "items": items}


SPEC = SurfaceSpec(Surface.SIMILAR, similar_tracks, respond, example=at_track)
