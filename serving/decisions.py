"""A Decision as it is logged: built from a pipeline result, packed into an event, read back for replay."""

from __future__ import annotations

import base64
import zlib
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from experiments.exposure import written
from recsys.errors import BadInput, NotReady, UnknownId
from recsys.events import Event
from recsys.ids import UserId, is_event_id
from recsys.items import Items
from recsys.lake import Lake
from recsys.pipeline import Candidates, Column, Result
from recsys.plays import Plays
from recsys.schemas import EventKind, Surface
from recsys.types import Decision, ModelRef, Query, QueryBatch, UserState

_WINDOW = {
    "track": np.int32,
    "start": np.int64,
    "outcome": np.int8,
    "ms_played": np.int32,
    "session": np.int32,
    "hour": np.int8,
    "device": np.int8,
    "surface": np.int8,
}


def record(
    batch: QueryBatch,
    j: int,
    result: Result,
    release: ModelRef,
    items: Items,
    revision: int | None = None,
    bandit: str = "",
) -> Decision:
    """The Decision of request j of a batch; `revision` of the catalog and state of the `bandit` that it was taken
    under."""
    query, own, slate = batch.queries[j], result.candidates.of(j), result.slates[j]
    return Decision(
        request_id=query.request_id,
        user_id=query.user.user_id,
        surface=query.surface.value,
        now=query.now,
        seed=query.seed,
        limit=query.limit,
        rung=result.rung,
        policy=slate.policy,
        release=release,
        versions=_versions(query, revision, bandit),
        arms=query.assignment.arms,
        sources={name: vars(outcome) for name, outcome in result.sources.items()},
        counts=result.counts,
        stages_ms={name: round(ms, 3) for name, ms in result.stages_ms.items()},
        listener=pack_listener(batch, j),
        eligible=own.ids.tolist(),
        scores={n: column.astype(np.float32) for n, column in own.columns.items() if column.ndim == 1},
        slots=[{**vars(item), "track_id": items.track_id(item.track)} for item in slate.items],
        fallen=result.fallen,
        degraded=list(query.degraded),
        relaxed=list(slate.relaxed),
        retrieval=searched(batch, j),
        short=slate.short,
        exposed=list(query.assignment.shown),
        overridden=list(query.assignment.overridden),
        parameters=query.assignment.parameters,
        attributes=query.assignment.attributes,
        units=query.assignment.units,
        # Incognito answers have an id of their own each: nothing may join them.
        session_id=None if query.context.incognito else query.context.session_id,
    )


def _versions(query: Query, revision: int | None, bandit: str) -> dict[str, str]:
    """What an answer depends on besides its release: listener state, catalog, what a bandit learned, experiments."""
    found = {"state": str(query.user.offset)}
    if revision is not None:
        found["catalog"] = str(revision)
    if bandit:
        found["bandit"] = bandit
    if query.assignment.version:
        found["experiments"] = query.assignment.version
    return found


def searched(batch: QueryBatch, j: int) -> dict[str, dict[str, Any]]:
    """How each source searched its index for request j: the plan, its effort, and how many tracks were eligible."""
    found = {}
    for key, plans in batch.memo.items():
        name, _, what = key.rpartition("/")
        if what == "plans":
            eligible = batch.memo[f"{name}/eligible"][j]
            found[name] = {"plan": plans[j].kind, "effort": plans[j].effort, "eligible": eligible}
    return found


def pack_scores(scores: dict[str, NDArray[np.float32]]) -> dict[str, Any]:
    """Columns in a quarter of the bytes that their digits take: base64 of zlib of the values, bytes by place."""
    table = np.array(list(scores.values()), np.float32)
    by_place = table.reshape(-1, 1).view(np.uint8).T.tobytes()  # exponents beside each other compress
    return {"names": list(scores), "values": base64.b64encode(zlib.compress(by_place, 1)).decode()}


def unpack_scores(packed: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
    """The columns that `pack_scores` was given, bit for bit."""
    raw = np.frombuffer(zlib.decompress(base64.b64decode(packed["values"])), np.uint8)
    names = packed["names"]
    table = raw.reshape(4, -1).T.copy().view(np.float32).reshape(len(names), -1 if names else 0)
    return dict(zip(names, table, strict=True))


def pack_listener(batch: QueryBatch, j: int) -> dict[str, Any]:
    """What the scorers read of listener j: the dense window (base64 of zlib of its columns) and the context."""
    query, window = batch.queries[j], batch.histories.take(np.array([j]))
    raw = b"".join(getattr(window, name).astype(kind).tobytes() for name, kind in _WINDOW.items())
    return {
        "plays": window.rows,
        "window": base64.b64encode(zlib.compress(raw, 1)).decode(),
        "country": int(batch.country[j]),
        "hour": int(batch.hour[j]),
        "device": int(batch.device[j]),
        "station": list(query.station),
        "exclude": list(query.exclude),
        "recent_artists": list(query.recent_artists),
        "skipped": list(query.skipped),
        "options": query.options,
        "personalized": query.user.personalized,
        "incognito": query.context.incognito,
        "explicit": query.context.explicit,
        "tier": query.context.tier,
    }


def unpack_window(listener: dict[str, Any]) -> Plays:
    """The window as the scorers saw it (one listener)."""
    raw, n, at = zlib.decompress(base64.b64decode(listener["window"])), int(listener["plays"]), 0
    columns = {}
    for name, kind in _WINDOW.items():
        columns[name] = np.frombuffer(raw, kind, n, at).copy()
        at += n * np.dtype(kind).itemsize
    return Plays(offsets=np.array([0, n], np.int64), **columns)


def batch_of(decision: Decision, query: Query) -> QueryBatch:
    """The batch of one that the scorers saw."""
    listener = decision.listener
    return QueryBatch(
        histories=unpack_window(listener),
        now=np.array([decision.now], np.int64),
        hour=np.array([listener["hour"]], np.int8),
        country=np.array([listener["country"]], np.int16),
        device=np.array([listener["device"]], np.int8),
        queries=(query,),
    )


def candidates_of(decision: Decision) -> Candidates:
    """The eligible candidates with the columns that sources wrote."""
    columns: dict[str, Column] = {n: c for n, c in decision.scores.items() if n.startswith("source:")}
    ids = np.array(decision.eligible, np.int64)
    return Candidates(ids, np.array([0, len(ids)], np.int64), columns)


def recorded(decision: Decision) -> Candidates:
    """The eligible candidates with every column of the record, as a selector reads them."""
    ids = np.array(decision.eligible, np.int64)
    columns: dict[str, Column] = dict(decision.scores)
    return Candidates(ids, np.array([0, len(ids)], np.int64), columns)


def to_event(decision: Decision, took_ms: float | None = None) -> Event:
    """The Decision as an event of the one log; its id is the request id, so it is written at most once.

    Args:
        took_ms: from the request's arrival until now.
    """
    now = datetime.fromtimestamp(decision.now / 1000, UTC)
    return Event.model_construct(
        event_id=decision.request_id,
        kind=EventKind.DECISION,
        user_id=UserId(decision.user_id),
        session_id=decision.session_id,
        request_id=decision.request_id,
        ts=now,
        received_at=now,
        surface=Surface(decision.surface),
        consent_personalization=bool(decision.listener["personalized"]),
        consent_analytics=not decision.listener.get("incognito", False),
        incognito_mode=bool(decision.listener.get("incognito", False)),
        payload=orjson.dumps(body(decision)).decode(),
        exposed=written(decision) if decision.exposed else None,
        took_ms=took_ms,
    )


def to_json(decision: Decision) -> dict[str, Any]:
    """A Decision as plain JSON values, scores written out; null where a source did not propose the track."""
    return _body(decision, orjson.loads(orjson.dumps(decision.scores, option=orjson.OPT_SERIALIZE_NUMPY)))


def _body(decision: Decision, scores: dict[str, Any]) -> dict[str, Any]:
    return {**vars(decision), "release": vars(decision.release), "scores": scores}


def body(decision: Decision) -> dict[str, Any]:
    """A Decision as it is logged: JSON-able, its scores packed."""
    return _body(decision, pack_scores(decision.scores))


def of_body(body: dict[str, Any]) -> Decision:
    """The Decision that `body` gave."""
    release, scores = ModelRef(**body["release"]), unpack_scores(body["scores"])
    return Decision(**{**body, "release": release, "scores": scores})


def from_payload(payload: str) -> Decision:
    """A Decision from its logged form."""
    return of_body(orjson.loads(payload))


def read_decision(lake: Lake, request_id: str) -> Decision:
    """A decision from the lake; a UUIDv7 carries its time, so one day's partition is read.

    Raises:
        BadInput: not a request id.
        UnknownId: no such decision.
    """
    if not is_event_id(request_id):
        raise BadInput("a request id is a lower-case hyphenated UUID")
    if not lake.has("events"):
        raise NotReady("no events in the lake yet")
    try:
        day = datetime.fromtimestamp(int(request_id.replace("-", "")[:12], 16) / 1000, UTC).date()
    except (ValueError, OverflowError):
        raise UnknownId(f"no decision {request_id}") from None
    rows = (
        lake.scan("events")
        .filter(pl.col("day") == day, pl.col("kind") == "decision", pl.col("event_id") == request_id)
        .select("payload")
        .collect()
    )
    if rows.is_empty() or rows["payload"][0] is None:
        raise UnknownId(f"no decision {request_id}")
    return from_payload(rows["payload"][0])


def query_of(decision: Decision) -> Query:
    """The query as far as scorers and selectors read it; the listener's window comes from `batch_of`."""
    listener = decision.listener
    return Query(
        request_id=decision.request_id,
        surface=Surface(decision.surface),
        now=decision.now,
        seed=decision.seed,
        limit=decision.limit,
        user=UserState(decision.user_id, personalized=bool(listener["personalized"])),
        station=tuple(listener["station"]),
        exclude=tuple(listener["exclude"]),
        recent_artists=tuple(listener["recent_artists"]),
        skipped=tuple(listener["skipped"]),
        options=listener.get("options", {}),  # absent in records from before there were any
    )
