"""Rate limits by key or address: a sliding window (two counters, weighted), in memory or in Redis.

In memory each replica counts for itself, so N replicas let up to N times the rate through; with
RECSYS_STATE=redis://... they share one count. Redis failing never fails a request: counting goes on in memory.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from math import ceil
from typing import Any

from limits import RateLimitItem
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from limits.storage import storage_from_string

logger = logging.getLogger(__name__)
REDIS_SECONDS = 0.05  # how long a request waits for Redis at most
PAUSE_SECONDS = 5.0  # how long Redis is left alone after it failed


@dataclass(frozen=True)
class Exceeded:
    """A request beyond its rate."""

    rate: RateLimitItem
    retry_seconds: int

    def headers(self) -> dict[str, str]:
        """Retry-After, and what draft-ietf-httpapi-ratelimit-headers calls RateLimit and RateLimit-Policy."""
        seconds = self.rate.get_expiry()
        return {
            "Retry-After": str(self.retry_seconds),
            "RateLimit-Policy": f'"default";q={self.rate.amount};w={seconds}',
            "RateLimit": f'"default";r=0;t={self.retry_seconds}',
        }


class Rates:
    """Counts requests; to be used on one event loop."""

    def __init__(self, redis_url: str = "") -> None:
        self._local = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._shared: SlidingWindowCounterRateLimiter | None = None
        self._paused_until = 0.0
        if redis_url:
            self._shared = SlidingWindowCounterRateLimiter(_redis(redis_url))

    async def count(self, rate: RateLimitItem, who: str) -> Exceeded | None:
        """Counts one request of `who`; says when to come back where that is one too many."""
        if self._shared is not None and time.monotonic() >= self._paused_until:
            try:
                return await _count(self._shared, rate, who)
            except StorageError as error:
                self._paused_until = time.monotonic() + PAUSE_SECONDS
                logger.warning("rates are counted in memory for %g s: %s", PAUSE_SECONDS, error)
        return await _count(self._local, rate, who)


async def _count(limiter: SlidingWindowCounterRateLimiter, rate: RateLimitItem, who: str) -> Exceeded | None:
    if await limiter.hit(rate, who):
        return None
    window = await limiter.get_window_stats(rate, who)
    return Exceeded(rate, max(1, ceil(window.reset_time - time.time())))


def _redis(url: str) -> Any:
    url = url.replace("unix://", "redis+unix://", 1) if url.startswith("unix://") else url
    return storage_from_string(
        f"async+{url}",
        implementation="redispy",
        key_prefix="recsys:rates",
        wrap_exceptions=True,
        socket_timeout=REDIS_SECONDS,
        socket_connect_timeout=REDIS_SECONDS,
    )
