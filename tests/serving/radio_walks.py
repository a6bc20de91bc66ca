"""Stations in process for the tests of radio: what one plays, and a release where little may be played."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recsys.schemas import Surface
from recsys.types import Context, Query, UserState
from serving.recommender import Recommender, request_seed
from serving.surfaces.radio import tuned
from serving.surfaces.stations import Station


def closed(recommender: Recommender, keep: np.ndarray) -> Recommender:
    """The same release where only some tracks may be played anywhere."""
    items = recommender.release.items
    until = np.where(
        np.isin(np.arange(len(items)), keep)[:, None], items.available_until, items.available_from
    )
    return Recommender(replace(recommender.release, items=replace(items, available_until=until)))


ANYWHERE = Context()


def walk(
    recommender: Recommender,
    station: Station,
    pages: int,
    user: UserState | None = None,
    context: Context = ANYWHERE,
    limit: int = 10,
) -> tuple[list[str], set[str]]:
    """What a station plays, and the rules it gave up."""
    relaxed: set[str] = set()
    for page in range(pages):
        name = f"{station.station_id}.{page}"
        query = Query(
            name,
            Surface.RADIO,
            station.started + page,
            request_seed(name),
            limit,
            user or UserState("u" * 22),
            context,
        )
        decision = recommender.answer(tuned(query, station, recommender))
        station = replace(station, tracks=station.tracks + tuple(s["track_id"] for s in decision.slots))
        relaxed |= set(decision.relaxed)
    return list(station.tracks), relaxed
