"""Rates that several replicas share in Redis, and what happens when Redis goes away."""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path

from serving.access.rates import Rates
from serving.access.settings import parse_rate
from tests.engines import redis_server, redis_url

__all__ = ["redis_url"]
HOURLY = parse_rate("3/hour")


def test_replicas_share_a_count_in_redis(redis_url: str) -> None:
    who = uuid.uuid4().hex

    async def run() -> list[bool]:
        replicas = [Rates(redis_url), Rates(redis_url)]
        return [await replicas[i % 2].count(HOURLY, who) is None for i in range(5)]

    assert asyncio.run(run()) == [True, True, True, False, False]


def test_replicas_without_redis_count_each_for_itself() -> None:
    async def run() -> list[bool]:
        replicas = [Rates(), Rates()]
        return [await replicas[i % 2].count(HOURLY, "web") is None for i in range(8)]

    assert asyncio.run(run()) == [True] * 6 + [False] * 2


def test_when_redis_goes_away_counting_goes_on_in_memory_without_a_failed_request(tmp_path: Path) -> None:
    async def run() -> tuple[list[bool], float]:
        with redis_server(tmp_path) as url:
            rates = Rates(url)
            first = [await rates.count(HOURLY, "web") is None for _ in range(4)]
        begin = time.perf_counter()
        then = [await rates.count(HOURLY, "web") is None for _ in range(4)]
        return first + then, time.perf_counter() - begin

    allowed, seconds = asyncio.run(run())
    assert allowed == [True, True, True, False] * 2
    assert seconds < 1.0
