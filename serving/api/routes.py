"""`/v1`: home, radio, events, decisions. Handlers are plain `def`: they run in the thread pool."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Path, Response

from recsys.schemas import Surface
from recsys.types import Ask, Context
from serving.api.contract import Service
from serving.api.document import RETRY_SAFE
from serving.api.problems import MEDIA_TYPE, TOO_LARGE, problem
from serving.api.schemas import (
    MAX_EVENTS,
    Acknowledgement,
    Cursor,
    DecisionRecord,
    Dial,
    EventBatch,
    HomeAnswer,
    Limit,
    Problem,
    RadioAnswer,
    Seed,
    ShelfLimit,
    User,
    context,
)
from serving.api.strict import StrictRoute
from serving.metrics import Metrics

Situation = Annotated[Context, Depends(context)]
RequestPath = Annotated[str, Path(max_length=64)]


def documented(model: Any, *errors: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries: the model of a success, and the problem for each error status."""
    schema = {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    entries: dict[int | str, dict[str, Any]] = {200: {"model": model}}
    return entries | {status: {"description": "Problem", "content": schema} for status in errors}


def json(body: Any) -> Response:
    """A 200 answer; numpy scalars are written as numbers."""
    return Response(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


def router(service: Service, metrics: Metrics) -> APIRouter:
    """The recommendation endpoints over one service."""
    routes = APIRouter(prefix="/v1", route_class=StrictRoute)

    @routes.get("/home", tags=["recommendations"], responses=documented(HomeAnswer, 422, 503))
    def home(situation: Situation, user_id: User = None, limit: ShelfLimit = 10) -> Response:
        """Shelves of the home feed, for a listener or for somebody new."""
        return json(service.recommend(Ask(Surface.HOME, user_id, limit, situation)))

    @routes.get("/radio", tags=["recommendations"], responses=documented(RadioAnswer, 400, 404, 422, 503))
    def radio(
        situation: Situation,
        seed: Seed,
        cursor: Cursor = None,
        user_id: User = None,
        limit: Limit = 10,
        dial: Dial = None,
    ) -> Response:
        """The next tracks of an endless station; call again with `cursor`."""
        options = {} if dial is None else {"dial": dial}
        ask = Ask(Surface.RADIO, user_id, limit, situation, seed=seed, cursor=cursor, options=options)
        return json(service.recommend(ask))

    @routes.post(
        "/events",
        tags=["events"],
        responses=documented(Acknowledgement, 400, 413, 415, 422, 503),
        openapi_extra=RETRY_SAFE,
    )
    def events(batch: EventBatch) -> Response:
        """Logs a batch; answers once it is on disk. Bad events are refused one by one, good ones kept.

        Posting the same events again is safe: `event_id` makes them one.
        """
        if len(batch.events) > MAX_EVENTS:
            return problem(TOO_LARGE, f"at most {MAX_EVENTS} events a batch; send more, smaller ones")
        answer = service.ingest(batch.events)
        metrics.ingested(answer)
        return json(answer)

    @routes.get("/decisions/{request_id}", tags=["explain"], responses=documented(DecisionRecord, 404, 422))
    def decision(request_id: RequestPath) -> Response:
        """The whole record of one answer: sources, counts per stage, scores, propensities, versions."""
        return json(service.decision(request_id))

    return routes
