"""Latency of the home feed through HTTP, open loop, interleaved with an empty handler of the same server.

    python -m benchmarks.http_home --home var --rate 20 --runs 5 --seconds 60

Open loop: requests start on schedule whether or not earlier ones have come back, and latency counts from the
scheduled start (no coordinated omission). A run whose empty handler has p99 > 15 ms says that the machine was
busy with something else: it is void, and counted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import table, write
from recsys.home import Home
from recsys.state_store import LocalStore

VOID_MS = 15.0
RADIO_RATE = 10.0
"""Next pages of radio a second."""
RECSYS = [sys.executable, "-c", "from serving.cli import main; main()"]
"""The command line, of this very checkout."""


@contextmanager
def server(home: Path, engine: str, replicas: int = 1, *more: str) -> Iterator[str]:
    """`recsys serve` in a process of its own; yields its address."""
    run = [*RECSYS, "serve", "--home", str(home), "--port", "0", "--engine", engine]
    if replicas > 1:
        run += ["--replicas", str(replicas)]
    run += more
    with started(run) as address:
        yield address


@contextmanager
def started(run: list[str]) -> Iterator[str]:
    """A command that says "ready at ADDRESS", in a session of its own; yields the address, interrupts it at the end."""
    process = subprocess.Popen(run, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        line = next((line for line in process.stdout if "ready at" in line), "")
        if not line:
            raise SystemExit("the server did not start: it said nothing of being ready")
        yield line.split()[-1]
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


async def on_schedule(ask: Callable[[], Awaitable[bool]], rate: float, seconds: float) -> list[float]:
    """Latency in ms of each call of `ask`, from its scheduled start; infinite where it gives False or fails."""
    import aiohttp

    out: list[float] = []

    async def one(due: float) -> None:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        try:
            good = await ask()
        except (aiohttp.ClientError, KeyError):
            good = False
        out.append((time.perf_counter() - due) * 1000 if good else float("inf"))

    begin = time.perf_counter() + 0.1
    await asyncio.gather(*(one(begin + i / rate) for i in range(int(rate * seconds))))
    return out


async def open_loop(address: str, paths: list[str], rate: float, seconds: float) -> list[float]:
    """Latency in ms of each request, from its scheduled start; failures are infinite."""
    import aiohttp

    source = cycle(paths)
    async with aiohttp.ClientSession() as session:

        async def ask() -> bool:
            async with session.get(address + next(source)) as answer:
                await answer.read()
                return answer.status == 200

        return await on_schedule(ask, rate, seconds)


async def next_pages(address: str, users: list[str], rate: float, seconds: float) -> list[float]:
    """Latency in ms of the next pages of stations, open loop: each listener has one station, and goes on in it."""
    import aiohttp

    cursors: dict[str, str] = {}
    source = cycle(users)
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{address}/v1/home?user_id={users[0]}&limit=1") as answer:
            shown = (await answer.json())["shelves"][0]["items"][0]

        async def page() -> bool:
            user = next(source)
            asked = {"seed": f"artist:{shown['artist_id']}", "user_id": user, "limit": "10"}
            if user in cursors:
                asked["cursor"] = cursors[user]
            async with session.get(f"{address}/v1/radio", params=asked) as answer:
                cursors[user] = (await answer.json())["cursor"]
            return True

        for _ in users:
            await page()
        return await on_schedule(page, rate, seconds)


def measure(home: Path, rate: float, runs: int, seconds: float, engine: str, replicas: int) -> dict[str, Any]:
    """All runs; medians over the valid ones."""
    users = LocalStore(Home.of(home).state_db).keys(500)
    homes = [f"/v1/home?user_id={user}&limit=10" for user in users]
    valid: list[dict[str, dict[str, float]]] = []
    void = 0
    with server(home, engine, replicas) as address:
        asyncio.run(open_loop(address, homes, rate, 5))  # connections and caches
        while len(valid) < runs and void < runs:
            empty = _percentiles(asyncio.run(open_loop(address, ["/healthz"], rate, seconds)))
            full = _percentiles(asyncio.run(open_loop(address, homes, rate, seconds)))
            if empty["p99"] > VOID_MS:
                void += 1
            else:
                valid.append({"empty": empty, "home": full})
            print(f"empty {empty}  home {full}{'  void' if empty['p99'] > VOID_MS else ''}", flush=True)
        radio = _percentiles(asyncio.run(next_pages(address, users[:100], RADIO_RATE, seconds)))
        print(f"radio's next page at {RADIO_RATE:g}/s {radio}", flush=True)
    asked = {"rate": rate, "seconds": seconds, "engine": engine, "replicas": replicas}
    return {**asked, "void": void, "runs": valid, **_median(valid), "radio": radio, "radio_rate": RADIO_RATE}


def _percentiles(ms: list[float]) -> dict[str, float]:
    values = np.array(ms)
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": float(p50), "p99": float(p99), "failed": int(np.isinf(values).sum())}


def _median(runs: list[dict[str, dict[str, float]]]) -> dict[str, float]:
    names = [(what, p) for what in ("empty", "home") for p in ("p50", "p99")]
    return {f"{what}_{p}": float(np.median([r[what][p] for r in runs])) for what, p in names if runs}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path("var"))
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--engine", default="ray", choices=["ray", "uvicorn"])
    parser.add_argument("--replicas", type=int, default=1)
    given = parser.parse_args()
    figures = measure(given.home, given.rate, given.runs, given.seconds, given.engine, given.replicas)
    table(
        ["", "p50 ms", "p99 ms"],
        [
            *(
                [what, figures.get(f"{what}_p50", "-"), figures.get(f"{what}_p99", "-")]
                for what in ("empty", "home")
            ),
            ["radio's next page", figures["radio"]["p50"], figures["radio"]["p99"]],
        ],
    )
    print(write(f"http-home-{given.engine}-{given.rate:g}-replicas-{given.replicas}", figures))


if __name__ == "__main__":
    main()
