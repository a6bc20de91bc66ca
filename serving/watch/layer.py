"""The outermost ASGI layer: each request gets its facts, its span where it is traced, its line where it fails."""

from __future__ import annotations

import logging
import random
import time

from serving.api.edge import App, Message, Receive, Send
from serving.metrics import METHODS
from serving.watch.facts import FACTS, Facts
from serving.watch.recent import Recent
from serving.watch.tracing import Tracing, header, trace_id_of

logger = logging.getLogger("recsys.requests")


class Watch:
    """Over the whole app; `requests` is the share of good answers that get a log line."""

    def __init__(self, app: App, recent: Recent, tracing: Tracing | None, requests: float = 0.0) -> None:
        self.app, self._recent, self._tracing, self._requests = app, recent, tracing, requests

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "other"
        facts, status = Facts(), 500
        headers = {name: value for name, value in scope["headers"] if name in (b"traceparent", b"tracestate")}
        if b"traceparent" in headers:
            facts.trace_id = trace_id_of(headers[b"traceparent"].decode("latin-1"))
        span = self._tracing.begin(method, headers, facts) if self._tracing is not None else None

        async def sender(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if span is not None and facts.parts is not None:
                    message["headers"] = [*message["headers"], (b"server-timing", header(span))]
            await send(message)

        token = FACTS.set(facts)
        try:
            await self.app(scope, receive, sender)
        except Exception as error:
            facts.failure = type(error).__name__
            raise
        finally:
            facts.route = getattr(scope.get("route"), "path", "unmatched")
            if span is not None and self._tracing is not None:
                self._tracing.end(span, method, status, facts)
            self._tell(method, status, time.perf_counter() - facts.begin, facts)
            FACTS.reset(token)

    def _tell(self, method: str, status: int, seconds: float, facts: Facts) -> None:
        self._recent.answered(facts.route, status, seconds)
        more = {"status": status, "ms": round(seconds * 1000, 1), "method": method}
        if status >= 500:
            self._recent.failed(facts.route, status, facts.failure, facts.trace_id)
            logger.error("failed: %s", facts.failure or "5xx", extra=more)
        elif self._requests and random.random() < self._requests:
            logger.info("answered", extra=more)
