"""Claims "because you finished X" as they are stored, read at a request, and shown: only what was tested is said.

A claim holds for one release and one history: a play that comes later, or one that the listener excludes, ends it
until it has been tested again (worker.py). At the request it goes into `Query.options`, so that the Decision carries
it and replays.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import orjson

from recsys.errors import StoreUnavailable
from recsys.items import Items
from recsys.pipeline import Candidates
from recsys.plays import Outcome
from recsys.ports import OnlineStore
from recsys.topk import members
from recsys.types import Query, QueryBatch, UserState
from serving.parts.selectors import Bools, Reason, Reasons, always, proposed_by
from serving.parts.sources import anchors

OPTION = "because"
"""Key in Query.options: {"track": the finished track, "tracks": those that it supports}, dense."""


@dataclass(frozen=True)
class Claim:
    """What the last finished track of a listener supports, in public ids."""

    release: str
    history: list[int]  # `history_of` when it was tested
    track_id: str
    supported: list[str]


def key(user_id: str) -> str:
    """Where a listener's claim is kept in the online store."""
    return f"because:{user_id}"


def history_of(user: UserState, now: int) -> list[int]:
    """Marks one history of a listener: number, first and last start of the plays that are taste."""
    rows = _rows(user, now)
    return [len(rows), user.start[rows[0]], user.start[rows[-1]]] if rows else [0]


def last_finished(user: UserState, items: Items, now: int) -> str | None:
    """The track that the listener finished last, of those that are taste and in the release."""
    for row in reversed(_rows(user, now)):
        if user.outcome[row] == Outcome.FINISH and items.numbers([user.track_id[row]])[0] >= 0:
            return user.track_id[row]
    return None


def _rows(user: UserState, now: int) -> Sequence[int]:
    """The plays that `recsys.types.history` gives, of those before `now`."""
    stop, taste = bisect_left(user.start, now), user.taste
    return range(stop)[taste] if isinstance(taste, slice) else [row for row in taste if row < stop]


def save(store: OnlineStore, user_id: str, claim: Claim) -> None:
    store.put([(key(user_id), orjson.dumps(asdict(claim)))])


def load(store: OnlineStore, user: UserState, release: str, now: int) -> Claim | None:
    """The claim that holds for this release and history; None where none has been tested, or no store answers."""
    try:
        raw = store.get(key(user.user_id))
    except (StoreUnavailable, sqlite3.Error):  # without the store there are no claims, but there is an answer
        return None
    claim = Claim(**orjson.loads(raw)) if raw is not None else None
    valid = claim is not None and (claim.release, claim.history) == (release, history_of(user, now))
    return claim if valid else None


def claimed(query: Query, store: OnlineStore, release: str, items: Items, least: int) -> Query:
    """The query with what may be claimed, where that is at least `least` tracks."""
    if not query.user.personalized or query.user.is_new:
        return query
    claim = load(store, query.user, release, query.now)
    if claim is None or claim.track_id != last_finished(query.user, items, query.now):
        return query
    tracks = [t for t in items.numbers(claim.supported).tolist() if t >= 0]
    if len(tracks) < least:
        return query
    option = {"track": int(items.number(claim.track_id)), "tracks": tracks}
    return replace(query, options={**query.options, OPTION: option})


def supported(batch: QueryBatch, j: int, own: Candidates) -> Bools:
    """(n,) what the finished track supports; nothing where nothing has been tested."""
    option = _option(batch, j)
    return members(own.ids, np.array(option["tracks"])) if option else np.zeros(len(own), bool)


def finished(items: Items) -> Reasons:
    """`finished:ID`, the reason of the tracks that are `supported`."""

    def reasons(batch: QueryBatch, j: int, own: Candidates) -> Reason:
        option = _option(batch, j)
        return always(f"finished:{items.track_id(option['track'])}" if option else "taste")(batch, j, own)

    return reasons


def alike(batch: QueryBatch, j: int, own: Candidates) -> Bools:
    """(n,) what is similar to the track finished last; nothing where more can be said than that."""
    return np.zeros(len(own), bool) if _option(batch, j) else proposed_by("anchor")(batch, j, own)


def similar(items: Items) -> Reasons:
    """`similar:ID`, the reason of tracks that are `alike`: true by how they were found, and no claim of a cause."""

    def reasons(batch: QueryBatch, j: int, own: Candidates) -> Reason:
        anchor = int(anchors(batch.histories.take(np.array([j])))[0])
        code = f"similar:{items.track_id(anchor)}" if anchor >= 0 else "explore"
        return always(code)(batch, j, own)

    return reasons


def _option(batch: QueryBatch, j: int) -> dict[str, Any]:
    """What may be claimed for request j; empty offline, where there are no queries."""
    option: dict[str, Any] = batch.queries[j].options.get(OPTION, {}) if batch.queries else {}
    return option
