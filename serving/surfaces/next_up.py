"""The next-up queue, part by part: what follows the current track and the queue, away from what was just skipped.

Short-term: the transformer reads the listener's window, the skips of this session among it, then the current track
and the queue as if they had been played.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from recsys.errors import BadInput
from recsys.items import Items
from recsys.pipeline import Pipeline, Rung
from recsys.plays import SESSION_GAP_MS, Outcome
from recsys.schemas import Surface
from recsys.types import Ask, Query, QueryBatch, history
from serving.list_render import shown
from serving.list_settings import NextUpSettings
from serving.loaded import LoadedRelease
from serving.parts.blends import Blend
from serving.parts.filters import rules
from serving.parts.near import NearScorer, NearSource
from serving.parts.scorers import SkipScorer
from serving.parts.selectors import ShelfSelector, always, one_list
from serving.parts.session import SessionScorer, SessionSource
from serving.parts.sources import PopularSource
from serving.render import head
from serving.surfaces.surface import Desk, Kit, SurfaceSpec, at_track

MOST = 100
"""Tracks of the queue that may be given."""


def next_up(kit: Kit) -> Pipeline[QueryBatch]:
    """The ladder: full -> without the transformer -> likeness to what plays -> popular."""
    return ladder(kit, alone=False)


def impersonal(kit: Kit) -> Pipeline[QueryBatch]:
    """Without the consent: the same from the current track and the queue alone."""
    return ladder(kit, alone=True)


def ladder(kit: Kit, alone: bool) -> Pipeline[QueryBatch]:
    """`alone`: nothing of the listener's window is read."""
    release, settings = kit.release, kit.settings.lists.next_up
    items, tower, sequence = release.items, release.two_tower, release.sequence
    keep, near = rules(release), NearSource(tower, items)
    taste = SessionSource(tower, items, alone, "taste")
    cheap = (NearScorer(tower), SkipScorer(tower), SessionScorer(tower, items, alone, "taste"))
    weights = (
        ("near", settings.near_weight),
        ("skipped", -settings.skip_weight),
        ("taste", settings.taste_weight),
    )
    heavy = (
        SessionScorer(sequence, items, alone),
        Blend("next_up", (*weights, ("session", settings.session_weight))),
    )
    name = "alone" if alone else "full"
    popular = PopularSource(items, release.popularity, k=500)
    return Pipeline(
        [
            Rung(
                name,
                (near, SessionSource(sequence, items, alone), taste),
                (*keep, *cheap, *heavy),
                selector(release, settings, "next_up", name),
            ),
            Rung(
                "light",
                (near, taste),
                (*keep, *cheap, Blend("next_up", weights)),
                selector(release, settings, "next_up", "light"),
            ),
            Rung("retrieval", (near,), keep, selector(release, settings, "source:near", "retrieval")),
            Rung("popular", (popular,), keep, selector(release, settings, "source:popular", "popular")),
        ],
        kit.budget_ms,
        clock=kit.clock,
    )


def selector(release: LoadedRelease, settings: NextUpSettings, column: str, rung: str) -> ShelfSelector:
    """One list with artists kept apart, those of the queue's end included."""
    why = always("follows" if rung != "popular" else "popular_near_you")
    name, rule = f"{rung}-eps{settings.epsilon:g}" if rung != "popular" else rung, settings.rules
    return one_list(release.items, "next_up", why, column, settings.epsilon, rule, name)


def respond(desk: Desk, ask: Ask, query: Query) -> dict[str, Any]:
    """The next `query.limit` tracks after `options["current"]` and `options["queue"]` (public track ids).

    Raises:
        BadInput: no current track, or too long a queue.
        UnknownId: the release does not know the current track.
    """
    items = desk.recommender.release.items
    queue = list(ask.options.get("queue", ()))
    if not ask.options.get("current") or len(queue) > MOST:
        raise BadInput(f"give the current track, and a queue of at most {MOST} tracks")
    current = int(items.number(ask.options["current"]))
    numbers = [int(t) for t in items.numbers(queue)]
    station = tuple(dict.fromkeys([current, *(t for t in numbers if t >= 0)]))
    played, skipped = this_session(query, items) if query.user.personalized else ([], [])
    query = replace(
        query,
        station=station,
        exclude=tuple(dict.fromkeys([*station, *played])),
        recent_artists=tuple(int(items.artist[t]) for t in station[-8:]),
        skipped=tuple(dict.fromkeys(skipped)),
    )
    decision = desk.decide(query)
    unknown = sum(t < 0 for t in numbers)
    items_ = shown(desk.recommender.render, decision.slots)
    return {**head(decision), "unknown": unknown, "skips": len(query.skipped), "items": items_}


def this_session(query: Query, items: Items) -> tuple[list[int], list[int]]:
    """Known tracks that were played, and of them those skipped, in the session that goes on now."""
    plays = history(query.user, items).before(query.now)
    if not plays.rows or query.now - plays.start[-1] - plays.ms_played[-1] > SESSION_GAP_MS:
        return [], []
    now: Any = (plays.session == plays.session[-1]) & (plays.track >= 0)
    skips = now & (plays.outcome == Outcome.SKIP)
    return np.unique(plays.track[now]).tolist(), np.unique(plays.track[skips]).tolist()


SPEC = SurfaceSpec(Surface.NEXT_UP, next_up, respond, impersonal, example=at_track)
