"""For operators: liveness, readiness, status and metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from serving.api.contract import Service
from serving.api.problems import NOT_READY, problem
from serving.api.routes import documented, json
from serving.metrics import Metrics
from serving.watch.board import Board


def router(service: Service, metrics: Metrics, board: Board | None = None) -> APIRouter:
    """The endpoints that a supervisor, a load balancer and Prometheus call."""
    routes = APIRouter(tags=["operations"])

    @routes.get("/healthz", responses=documented(dict[str, str]))
    async def healthz() -> Response:
        """The process lives; answered on the event loop, so that a busy thread pool cannot hide it."""
        return json({"status": "ok"})

    @routes.get("/readyz", responses=documented(dict[str, Any], 503))
    def readyz() -> Response:
        """A release is loaded and warm: send traffic here."""
        if not service.ready():
            return problem(NOT_READY, "no release is loaded and warm yet; ask again")
        return json({"status": "ready"})

    @routes.get("/v1/status", responses=documented(dict[str, Any]))
    def status() -> Response:
        """Release and aliases, ends and lags of the log, what the last reload did."""
        return json(service.status())

    def text() -> bytes:
        metrics.state(service.status())
        return metrics.text()

    if board is not None:
        board.start(text)

    @routes.get("/metrics", response_class=PlainTextResponse)
    def prometheus() -> Response:
        """Prometheus text format; of all replicas on this machine, each under its label `replica`."""
        own = text()
        joined = own if board is None else board.joined(own)
        return Response(joined, media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes
