"""What `/metrics` exposes (Prometheus text): rate, errors and duration per endpoint, rungs, stages, lags.

Each process has a registry of its own; serving/watch/board.py joins those of one machine.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from recsys.types import Decision
from serving.watch.collector import OWN, StatusCollector

Message: TypeAlias = MutableMapping[str, Any]
App: TypeAlias = Callable[..., Awaitable[None]]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.06, 0.1, 0.25, 0.5, 1.0, 2.5)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})
MILLISECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 50.0, 100.0, 250.0)


class Metrics:
    """The counters of one process; safe for several threads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "recsys_http_requests", "Answered requests", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "recsys_http_request_seconds",
            "Time to answer",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "recsys_http_in_flight",
            "Requests under way; ids in the path: other",
            ["route"],
            registry=self.registry,
        )
        self.fallen = Counter(
            "recsys_fallen_answers",
            "Answers from below the first rung",
            ["surface", "why"],
            registry=self.registry,
        )
        self.answers = Counter(
            "recsys_answers", "Recommendation answers", ["surface", "rung", "logged"], registry=self.registry
        )
        self.events = Counter("recsys_events", "Posted events", ["outcome"], registry=self.registry)
        self.stages = Histogram(
            "recsys_stage_milliseconds",
            "Time in one pipeline stage",
            ["surface", "stage"],
            buckets=MILLISECONDS,
            registry=self.registry,
        )
        self.sources = Counter(
            "recsys_source_outcomes", "Candidate sources", ["source", "outcome"], registry=self.registry
        )
        self.admissions = Counter(
            "recsys_admissions",
            "Recommendation requests by what they might use",
            ["effort"],
            registry=self.registry,
        )
        self.waits = Histogram(
            "recsys_wait_seconds", "Time in the queue before work", buckets=SECONDS, registry=self.registry
        )
        self.relaxed = Counter(
            "recsys_relaxations", "List rules given up", ["surface", "rule"], registry=self.registry
        )
        self.short = Counter(
            "recsys_floor_short_slots",
            "Slots by which floors of re-ranking fell short within their bound",
            ["surface", "floor"],
            registry=self.registry,
        )
        self.gauges: dict[str, Gauge] = {}
        self._status = StatusCollector()
        self.registry.register(self._status)

    def ingested(self, answer: Mapping[str, Any]) -> None:
        """Counts the events of one acknowledged batch."""
        self.counted(answer["accepted"], answer["duplicates"], len(answer["refused"]))

    def counted(self, accepted: int, duplicates: int, refused: int) -> None:
        """Counts events by what became of them."""
        self.events.labels("accepted").inc(accepted)
        self.events.labels("duplicate").inc(duplicates)
        self.events.labels("refused").inc(refused)

    def admitted(self, effort: str, seconds: float) -> None:
        """Counts one recommendation request by its effort (full, light, least, refused) and its wait."""
        self.admissions.labels(effort).inc()
        if effort != "refused":
            self.waits.observe(seconds)

    def decided(self, decision: Decision) -> None:
        """Counts one answer by its rung, with its stage times and the outcomes of its sources."""
        self.answers.labels(decision.surface, decision.rung, str(decision.logged).lower()).inc()
        for rule in decision.relaxed:
            self.relaxed.labels(decision.surface, rule).inc()
        for stage, ms in decision.stages_ms.items():
            self.stages.labels(decision.surface, stage).observe(ms)
        for source, facts in decision.sources.items():
            self.sources.labels(source, facts["outcome"]).inc()
        if decision.fallen:
            self.fallen.labels(decision.surface, why_fallen(decision.fallen)).inc()
        for floor, slots in decision.short.items():
            self.short.labels(decision.surface, floor).inc(slots)

    def state(self, status: Mapping[str, Any]) -> None:
        """Every number in the service's status as a gauge `recsys_status_NAME`; some have metrics of their own."""
        self._status.status = status
        plain = {name: value for name, value in status.items() if name not in OWN}
        for name, value in _numbers(plain, "recsys_status"):
            if name not in self.gauges:
                self.gauges[name] = Gauge(name, "From the service's status", registry=self.registry)
            self.gauges[name].set(value)

    def text(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)


def why_fallen(fallen: Mapping[str, str]) -> str:
    """Why the first rung did not answer, in one word: shed, overran, left_out or failed."""
    why = next(iter(fallen.values()))
    if why.startswith("shed"):
        return "shed"
    if "left out" in why:
        return "left_out"
    return "overran" if "overran" in why else "failed"


def _numbers(values: Mapping[str, Any], prefix: str) -> list[tuple[str, float]]:
    out: list[tuple[str, float]] = []
    for key, value in values.items():
        name = prefix + "_" + "".join(c if c.isalnum() and c.isascii() else "_" for c in str(key))
        if isinstance(value, Mapping):
            out += _numbers(value, name)
        elif isinstance(value, int | float):
            out.append((name, float(value)))
    return out


class Measure:
    """The ASGI layer that counts and times every request under its route's template, never its ids."""

    def __init__(self, app: App, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics
        self._plain: set[str] = set()  # routes without ids in them, as they are met

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin = time.perf_counter()
        status = 500
        known = scope["path"] if scope["path"] in self._plain else "other"
        under_way = self.metrics.in_flight.labels(known)
        under_way.inc()

        async def sender(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, sender)
        finally:
            under_way.dec()
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in METHODS else "other"
            self.metrics.requests.labels(method, route, str(status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - begin)
            if route == scope["path"]:
                self._plain.add(route)
