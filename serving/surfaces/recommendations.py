"""Recommendations from seeds, part by part: like any of up to five seeds, within bounds, near to targets.

`Ask.options`: {"seeds": [{"type": "artist"|"track"|"genre", "id": text}], "min", "max", "target": {name: value}} (see
serving/parts/tunables.py); a single seed may also stand in `Ask.seed`, as `genre:jazz`. The same for everybody: nothing
of the listener but rejections and territory is read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from recsys.errors import BadInput, UnknownId
from recsys.pipeline import Pipeline, Rung
from recsys.schemas import Surface
from recsys.types import Ask, Query, QueryBatch
from serving.list_render import shown
from serving.parts.filters import rules
from serving.parts.seeds import PopularFitSource, Seed, SeedSource, allowed, members
from serving.parts.selectors import ShelfSelector, always, one_list
from serving.parts.sources import rights
from serving.parts.tunables import Attributes, TargetScorer, TunableFilter
from serving.recommendation_settings import MAX_SEEDS
from serving.render import head
from serving.surfaces.surface import Desk, Kit, SurfaceSpec

KINDS = ("artist", "track", "genre")


def recommendations(kit: Kit) -> Pipeline[QueryBatch]:
    """The ladder: like the seeds -> popular; both within the bounds and nearest to the targets first."""
    release, settings = kit.release, kit.settings.recommendations
    attributes = Attributes(release.items, release.popularity[-1])
    seeds = SeedSource(release.two_tower, attributes, settings.pool)
    popular = PopularFitSource(attributes, release.popularity, settings.pool)
    kept = (*rules(release), TunableFilter(attributes))

    def choose(code: str, name: str) -> ShelfSelector:
        why = always(code)
        return one_list(release.items, "recommendations", why, "fit", settings.epsilon, settings.rules, name)

    def fit(source: str) -> TargetScorer:
        return TargetScorer(attributes, source, settings.target_weight)

    full = f"seeds-eps{settings.epsilon:g}"
    return Pipeline(
        [
            Rung("full", (seeds,), (*kept, fit("seeds")), choose("like_seeds", full)),
            Rung("popular", (popular,), (*kept, fit("popular")), choose("popular_near_you", "popular")),
        ],
        kit.budget_ms,
        clock=kit.clock,
    )


def respond(desk: Desk, ask: Ask, query: Query) -> dict[str, Any]:
    """Tracks, and for each seed how many there were to choose from.

    Seed tracks do not come themselves. Where the seeds are not known, or bounds and territory leave nothing, there is
    nothing to decide: the list is empty and `request_id` is None.

    Raises:
        BadInput: no seed, more than five, or of an unknown kind.
    """
    release = desk.recommender.release
    seeds = [_seed(desk, seed) for seed in _given(ask)]
    exclude = tuple(t for seed in seeds if seed["type"] == "track" for t in seed["tracks"])
    query = replace(query, options={**ask.options, "seeds": seeds}, exclude=exclude)
    attributes = Attributes(release.items, release.popularity[-1])
    pools = _pools(attributes, query, seeds)
    if not any(pool["available"] for pool in pools):
        return {"request_id": None, "surface": query.surface.value, "seeds": pools, "items": []}
    decision = desk.decide(query)
    return {**head(decision), "seeds": pools, "items": shown(desk.recommender.render, decision.slots)}


def _given(ask: Ask) -> list[Seed]:
    kind, _, name = (ask.seed or "").partition(":")
    given: list[Seed] = ask.options.get("seeds") or ([{"type": kind, "id": name}] if name else [])
    if not 1 <= len(given) <= MAX_SEEDS or any(seed.get("type") not in KINDS for seed in given):
        raise BadInput(f"give 1 to {MAX_SEEDS} seeds of the kinds {', '.join(KINDS)}")
    return given


def _seed(desk: Desk, seed: Seed) -> Seed:
    """A seed with its tracks: itself, or an artist's ten most played; none where it is not known."""
    try:
        known = () if seed["type"] == "genre" else desk.recommender.seeds(f"{seed['type']}:{seed['id']}")
    except UnknownId:
        known = ()
    return {"type": seed["type"], "id": seed["id"], "tracks": [int(t) for t in known]}


def _pools(attributes: Attributes, query: Query, seeds: list[Seed]) -> list[dict[str, Any]]:
    """For each seed: the released tracks that it can lead to, those within the bounds, and of those the ones that may
    be shown where the listener is."""
    items = attributes.items
    released = items.released(query.now)
    released[list(query.exclude)] = False
    fitting = allowed(attributes, query, released)
    open_ = rights(items, QueryBatch.of([query], items))[0]
    sizes = []
    for seed in seeds:
        reach = members(items, seed)
        counts = [int(np.count_nonzero(reach & mask)) for mask in (released, fitting, fitting & open_)]
        sizes.append(
            {"type": seed["type"], "id": seed["id"]}
            | dict(zip(("initial", "fitting", "available"), counts, strict=True))
        )
    return sizes


def _example(query: Query) -> Query:
    seed = {"type": "track", "id": "", "tracks": [0]}
    return replace(query, options={"seeds": [seed], "target": {"energy": 0.5}})


SPEC = SurfaceSpec(Surface.RECOMMENDATIONS, recommendations, respond, example=_example)
