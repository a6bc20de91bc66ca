"""`POST /v1/events/batch`: the route over serving/api/batch.py."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from recsys.errors import BadInput, LogUnavailable
from serving.api.batch import Intake, TooMuch
from serving.api.contract import Service
from serving.api.document import NDJSON_BODY, RETRY_SAFE
from serving.api.problems import BAD_INPUT, LOG_UNAVAILABLE, TOO_LARGE, problem
from serving.api.routes import documented, json
from serving.api.schemas import BatchReceipt
from serving.metrics import Metrics


def router(service: Service, metrics: Metrics) -> APIRouter:
    """The endpoint for players that reconnect."""
    routes = APIRouter(prefix="/v1", tags=["events"])

    @routes.post(
        "/events/batch",
        responses=documented(BatchReceipt, 400, 413, 415, 503),
        openapi_extra=NDJSON_BODY | RETRY_SAFE,
    )
    async def event_batch(request: Request) -> Response:
        """Logs what an offline player kept: one event a line, `Content-Encoding: gzip` if you like.

        Worked through in chunks, each durable before the next. Whatever ends it early, the answer says how many
        lines are done; sending the whole batch again is safe.
        """
        coding = request.headers.get("content-encoding", "").strip().lower()
        intake = Intake(service.ingest, coding == "gzip")
        try:
            return await _answer(request, intake)
        finally:
            metrics.counted(intake.accepted, intake.duplicates, intake.refused)

    return routes


async def _answer(request: Request, intake: Intake) -> Response:
    try:
        async for data in request.stream():
            await run_in_threadpool(intake.feed, data)
        await run_in_threadpool(intake.finish)
    except TooMuch as error:
        return problem(TOO_LARGE, str(error), **intake.counts())
    except HTTPException:  # the edge has counted more bytes than a body may have
        return problem(TOO_LARGE, "send the events in smaller batches", **intake.counts())
    except (BadInput, ClientDisconnect) as error:
        return problem(BAD_INPUT, str(error) or "the body ended early", **intake.counts())
    except LogUnavailable as error:
        return problem(LOG_UNAVAILABLE, str(error), **intake.counts())
    return json(intake.counts())
