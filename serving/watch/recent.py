"""The last minutes of one process in small numbers, for the admin page: requests, times, rungs, failures.

Ten-second buckets in memory; names are route templates, surfaces and rungs, so it stays small.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from recsys.types import Decision

SECONDS = 10
BUCKETS = 90
BOUNDS = tuple(0.5 * 1.25**i for i in range(40))
"""Upper bounds of latency classes in ms, 0.5 ms to 3 s: a quantile read from them is at most 25% high."""
FAILURES = 30


@dataclass
class _Bucket:
    start: int
    requests: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    times: dict[str, list[int]] = field(default_factory=dict)
    rungs: Counter[tuple[str, str]] = field(default_factory=Counter)
    stages: dict[str, tuple[int, float]] = field(default_factory=dict)


class Recent:
    """What happened lately; safe for several threads."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._buckets: deque[_Bucket] = deque(maxlen=BUCKETS)
        self._failures: deque[dict[str, Any]] = deque(maxlen=FAILURES)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """One request by its route's template."""
        with self._lock:
            bucket = self._now()
            bucket.requests[route] += 1
            if status >= 500:
                bucket.errors[route] += 1
            times = bucket.times.setdefault(route, [0] * (len(BOUNDS) + 1))
            times[bisect.bisect_left(BOUNDS, seconds * 1000)] += 1

    def failed(self, route: str, status: int, what: str, trace_id: str) -> None:
        """One answer of 5xx, by the type of its error."""
        when = int(self._clock() * 1000)
        with self._lock:
            self._failures.appendleft(
                {"at": when, "route": route, "status": status, "what": what, "trace_id": trace_id}
            )

    def decided(self, decision: Decision) -> None:
        """One recommendation."""
        with self._lock:
            bucket = self._now()
            bucket.rungs[decision.surface, decision.rung] += 1
            for stage, ms in decision.stages_ms.items():
                n, total = bucket.stages.get(stage, (0, 0.0))
                bucket.stages[stage] = n + 1, total + ms

    def report(self, minutes: int = 5) -> dict[str, Any]:
        """Of the last minutes: routes (rate, errors, p50, p99), rungs by surface, stages, a rate line, failures."""
        since = self._clock() - 60 * minutes
        with self._lock:
            self._now()
            used = [b for b in self._buckets if b.start > since]
            failures = list(self._failures)
            routes = _routes(used)
            rungs: dict[str, dict[str, int]] = {}
            for bucket in used:
                for (surface, rung), n in bucket.rungs.items():
                    mine = rungs.setdefault(surface, {})
                    mine[rung] = mine.get(rung, 0) + n
            stages = _stages(used)
            line = self._line(since)
        return {
            "minutes": minutes,
            "routes": routes,
            "rungs": rungs,
            "stages": stages,
            "line": line,
            "failures": failures,
        }

    def _now(self) -> _Bucket:
        start = int(self._clock()) // SECONDS * SECONDS
        if not self._buckets or self._buckets[-1].start < start:
            self._buckets.append(_Bucket(start))
        return self._buckets[-1]

    def _line(self, since: float) -> list[float]:
        """Requests a second of each bucket since then, oldest first; the last one is still filling."""
        by_start = {b.start: sum(b.requests.values()) / SECONDS for b in self._buckets}
        now = int(self._clock()) // SECONDS * SECONDS
        first = (int(since) // SECONDS + 1) * SECONDS
        return [by_start.get(at, 0.0) for at in range(first, now + 1, SECONDS)]


def _routes(buckets: list[_Bucket]) -> list[dict[str, Any]]:
    names = {route for bucket in buckets for route in bucket.requests}
    span = SECONDS * max(len(buckets), 1)
    rows = []
    for route in names:
        times = [
            sum(column) for column in zip(*(b.times[route] for b in buckets if route in b.times), strict=True)
        ]
        n = sum(b.requests[route] for b in buckets)
        rows.append(
            {
                "route": route,
                "requests": n,
                "rate": n / span,
                "errors": sum(b.errors[route] for b in buckets),
                "p50": quantile(times, 0.5),
                "p99": quantile(times, 0.99),
            }
        )
    return sorted(rows, key=lambda row: -row["requests"])


def _stages(buckets: list[_Bucket]) -> dict[str, float]:
    """Mean ms of each stage, the slowest first."""
    total: dict[str, tuple[int, float]] = {}
    for bucket in buckets:
        for stage, (n, ms) in bucket.stages.items():
            have = total.get(stage, (0, 0.0))
            total[stage] = have[0] + n, have[1] + ms
    means = {stage: ms / n for stage, (n, ms) in total.items()}
    return dict(sorted(means.items(), key=lambda kv: -kv[1]))


def quantile(counts: list[int], q: float) -> float:
    """ms below which a share q of the counted times lies; the upper bound of its class."""
    wanted, seen = q * sum(counts), 0
    for bound, n in zip((*BOUNDS, BOUNDS[-1]), counts, strict=True):
        seen += n
        if seen >= wanted:
            return bound
    return BOUNDS[-1]
