"""Similar artists, part by part: whom an artist's listeners hear, each by its most popular track that may be shown.

Candidates are those tracks, so territory, rejections, the record and its replay are as everywhere; the answer shows
their artists. The same for everybody, nearest first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recsys.errors import BadInput
from recsys.pipeline import Pipeline, Rung
from recsys.schemas import Surface
from recsys.slate import Rules
from recsys.types import Ask, Query, QueryBatch
from serving.list_render import shown_artists
from serving.parts.filters import rules
from serving.parts.near import NearArtistSource
from serving.parts.selectors import ShelfSelector, always, one_list
from serving.parts.sources import PopularSource
from serving.render import head
from serving.surfaces.surface import Desk, Kit, SurfaceSpec, at_track


def similar_artists(kit: Kit) -> Pipeline[QueryBatch]:
    """The ladder: nearest -> the artists of what is popular."""
    release, settings = kit.release, kit.settings.lists.similar
    near = NearArtistSource(
        release.two_tower, release.items, release.popularity, release.artists, k=settings.pool
    )
    popular = PopularSource(release.items, release.popularity, k=1_000)

    def choose(source: str, code: str, name: str) -> ShelfSelector:
        once = Rules(artist_cap_shelf=1, artist_cap_slate=1)
        why, column = always(code), f"source:{source}"
        return one_list(release.items, "similar_artists", why, column, settings.epsilon, once, name)

    return Pipeline(
        [
            Rung("full", (near,), rules(release), choose("near_artist", "similar_artist", "nearest")),
            Rung("popular", (popular,), rules(release), choose("popular", "popular_near_you", "popular")),
        ],
        kit.budget_ms,
        clock=kit.clock,
    )


def respond(desk: Desk, ask: Ask, query: Query) -> dict[str, Any]:
    """The nearest artists to the seed's.

    Raises:
        BadInput: a seed that is not `artist:ID`.
        UnknownId: the release does not know the artist.
    """
    kind, _, artist_id = (ask.seed or "").partition(":")
    if kind != "artist":
        raise BadInput("seed must be artist:ID")
    recommender = desk.recommender
    items = recommender.release.items
    own = (items.artist == items.artist_number(artist_id)).nonzero()[0].tolist()
    decision = desk.decide(
        replace(query, station=recommender.seeds(f"artist:{artist_id}"), exclude=tuple(own))
    )
    artists = shown_artists(recommender.render, decision.slots)
    return {**head(decision), "artist_id": artist_id, "items": artists}


SPEC = SurfaceSpec(Surface.SIMILAR_ARTISTS, similar_artists, respond, example=at_track)
