"""What a surface is: a ladder of parts, and how one request of it is answered. One file of this folder each."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from recsys.pipeline import Pipeline
from recsys.schemas import Surface
from recsys.state_store import StateStore
from recsys.types import Ask, Decision, Query, QueryBatch
from serving.learning.states import Taught
from serving.loaded import LoadedRelease
from serving.parts.sources import LastGoodSource
from serving.settings import ServiceSettings

if TYPE_CHECKING:
    from serving.recommender import Recommender


@dataclass(frozen=True)
class Kit:
    """What every surface's ladder is built from."""

    release: LoadedRelease
    settings: ServiceSettings
    last_good: LastGoodSource
    budget_ms: float | None = None  # time that each source gets; None (offline) is without limit
    clock: Callable[[], float] = time.perf_counter
    taught: Taught | None = None  # what learned policies draw from; None: the champion's own exploration


@dataclass(frozen=True)
class Desk:
    """What a surface answers a request with."""

    recommender: Recommender
    store: StateStore
    decide: Callable[[Query], Decision]  # runs the surface's ladder and logs the decision


@dataclass(frozen=True)
class SurfaceSpec:
    """One surface.

    Attributes:
        build: its ladder over one release.
        respond: its JSON-able answer: completes the query, decides, renders.
        impersonal: the ladder for listeners without the `personalization` consent and for incognito requests; None:
            `build` is that too (their queries carry no play, save or follow: serving/controls.py).
        example: makes a bare query one that the ladder can answer; warms it before listeners come.
    """

    surface: Surface
    build: Callable[[Kit], Pipeline[QueryBatch]]
    respond: Callable[[Desk, Ask, Query], dict[str, Any]]
    impersonal: Callable[[Kit], Pipeline[QueryBatch]] | None = None
    example: Callable[[Query], Query] = lambda query: query


def at_track(query: Query) -> Query:
    """A bare query with a seed, as surfaces that start from one are warmed."""
    return replace(query, station=(0,))
