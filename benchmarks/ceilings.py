"""How many requests a second a server answers at most, beside servers that do nothing.

    python -m benchmarks.ceilings --home var --seconds 15

Closed loop: a few clients that each ask again as soon as they have their answer, from one process on the same machine;
where the server does nothing, what is measured is mostly that client.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from benchmarks.http_home import server, started
from benchmarks.results import table, write
from recsys.home import Home
from recsys.state_store import LocalStore
from serving.ray_app import claim_port

CLIENTS = 4


@contextmanager
def empty(engine: str) -> Iterator[str]:
    """A server with a handler that does nothing; yields its address."""
    port = claim_port("127.0.0.1", 0)
    run = [sys.executable, "-m", "benchmarks.empty", engine, str(port)]
    with started(run) as address:
        time.sleep(1)  # uvicorn says so just before it listens
        yield address


async def closed_loop(address: str, paths: list[str], seconds: float) -> dict[str, float]:
    """Answered requests a second and their latency, ms."""
    source, took, failed = cycle(paths), [], 0
    stop = time.perf_counter() + seconds

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal failed
        while (begin := time.perf_counter()) < stop:
            async with session.get(address + next(source)) as answer:
                await answer.read()
                failed += answer.status != 200
            took.append((time.perf_counter() - begin) * 1000)

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))
    p50, p99 = np.percentile(took, [50, 99])
    return {"per_second": len(took) / seconds, "p50": float(p50), "p99": float(p99), "failed": failed}


def measure(home: Path, seconds: float, replicas: list[int]) -> dict[str, dict[str, float]]:
    """The ceiling of each server."""
    found: dict[str, dict[str, float]] = {}

    def note(name: str, address: str, paths: list[str]) -> None:
        asyncio.run(closed_loop(address, paths, 5))
        found[name] = asyncio.run(closed_loop(address, paths, seconds))
        print(name, found[name], flush=True)

    for engine in ("uvicorn", "ray"):
        with empty(engine) as address:
            note(f"empty, {engine}", address, ["/"])
    users = LocalStore(Home.of(home).state_db).keys(500)
    homes = [f"/v1/home?user_id={user}&limit=10" for user in users]
    for count in replicas:
        with server(home, "ray", count) as address:
            note(f"/healthz, ray, {count} replicas", address, ["/healthz"])
            note(f"home, ray, {count} replicas", address, homes)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path("var"))
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    figures: dict[str, Any] = measure(given.home, given.seconds, given.replicas)
    rows = [[name, f["per_second"], f["p50"], f["p99"], f["failed"]] for name, f in figures.items()]
    table(["server", "requests/s", "p50 ms", "p99 ms", "failed"], rows)
    print(write("ceilings", {"clients": CLIENTS, "seconds": given.seconds, **figures}))


if __name__ == "__main__":
    main()
