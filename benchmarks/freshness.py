"""How fresh answers are while events stream in, and how many events a server takes.

    python -m benchmarks.freshness --home var --rate 2000 --seconds 60

A real server over a copy of the home gets `rate` events a second in batches, open loop, a few of them repeated or
late, and home requests beside them. Probes post `not_interested` in a track that their listener was just shown,
and ask until an answer leaves it out: that is the time from an event to the first answer that knows it. Then
clients post as fast as they are answered: the ceiling. All of it shares this machine with the server.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import orjson

from benchmarks.http_home import server
from benchmarks.results import table, write
from recsys.home import Home
from recsys.ids import public_id, uuid7
from recsys.lake import Lake
from recsys.state_store import LocalStore
from serving.access.keys import KeyFile
from tests.serving.http_crash import copied

KINDS = ("play_end",) * 12 + ("play_start",) * 3 + ("impression",) * 4 + ("save",)


@dataclass
class World:
    """Who posts and what they hear."""

    home: Home
    users: list[str]
    tracks: list[str]
    random: random.Random = field(default_factory=lambda: random.Random(0))
    made: int = 0

    @classmethod
    def of(cls, home: Home) -> World:
        tracks = Lake(home.lake).scan("tracks").select("track_id").head(5_000).collect()["track_id"].to_list()
        return cls(home, LocalStore(home.state_db).keys(5_000), tracks)

    def event(self, kind: str, user: str, track: str, age_ms: int = 0) -> dict[str, Any]:
        self.made += 1
        now = time.time_ns() // 1_000_000 - age_ms
        stamp = np.datetime64(now, "ms").item().isoformat() + "Z"
        body = {
            "event_id": uuid7(now, self.made),
            "kind": kind,
            "user_id": user,
            "track_id": track,
            "ts": stamp,
        }
        more = {"ms_played": 180_000, "reason_end": "trackdone", "device": "mobile", "surface": "home"}
        return body | more if kind == "play_end" else body

    def batches(self, events: int, size: int) -> list[bytes]:
        """Bodies to post: one event in twenty is hours late, one in fifty is sent again in a later batch."""
        draw, out, again = self.random, list[bytes](), list[dict[str, Any]]()
        for _ in range(-(-events // size)):
            batch = [again.pop() for _ in range(min(len(again), size // 2))]
            while len(batch) < size:
                late = draw.randrange(3_600_000, 36_000_000) if draw.random() < 0.05 else 0
                one = self.event(draw.choice(KINDS), draw.choice(self.users), draw.choice(self.tracks), late)
                batch.append(one)
                if draw.random() < 0.02:
                    again.append(one)
            out.append(orjson.dumps({"events": batch}))
        return out


@dataclass
class Client:
    """One session with a server, and what it measured in milliseconds."""

    session: aiohttp.ClientSession
    world: World
    acknowledged: int = 0
    problems: int = 0
    figures: dict[str, list[float]] = field(default_factory=dict)

    def note(self, name: str, since: float) -> None:
        self.figures.setdefault(name, []).append((time.perf_counter() - since) * 1000)

    async def post(self, body: bytes) -> None:
        async with self.session.post("/v1/events", data=body) as answer:
            told = orjson.loads(await answer.read())
            if answer.status != 200 or told["refused"]:
                self.problems += 1
            else:
                self.acknowledged += told["accepted"] + told["duplicates"]

    async def home(self, user: str) -> list[str]:
        async with self.session.get(f"/v1/home?user_id={user}&limit=10") as answer:
            told = orjson.loads(await answer.read())
            if answer.status != 200:
                self.problems += 1
                return []
            return [i["track_id"] for shelf in told["shelves"] for i in shelf["items"]]

    async def probe(self, number: int) -> None:
        """From a listener's event to the first answer that knows it."""
        user = public_id("freshness probe", f"{time.time_ns()}.{number}")
        shown = (await self.home(user))[0]
        body = orjson.dumps({"events": [self.world.event("not_interested", user, shown)]})
        sent = time.perf_counter()
        await self.post(body)
        acknowledged, answers = time.perf_counter(), 1
        while shown in await self.home(user):
            answers += 1
        self.note("visible after acknowledgement", acknowledged)
        self.note("visible after sending", sent)
        self.figures.setdefault("answers until visible", []).append(answers)

    async def timed(self, name: str, due: float, work: Any) -> None:
        """Work that starts on schedule; its time counts from the schedule (no coordinated omission)."""
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        try:
            await work()
        except (aiohttp.ClientError, TimeoutError):
            self.problems += 1
        self.note(name, due)


def headers(home: Home) -> dict[str, str]:
    """The operator's key, which the server made at its start."""
    token = KeyFile(home.root).operator_token.read_text().strip()
    return {"content-type": "application/json", "Authorization": f"Bearer {token}"}


async def stream(address: str, world: World, rate: float, size: int, seconds: float) -> dict[str, Any]:
    """Events at `rate` a second, ten homes and two probes a second beside them."""
    bodies = world.batches(int(rate * seconds), size)
    lines, key = aiohttp.TCPConnector(limit=64), headers(world.home)
    async with aiohttp.ClientSession(address, connector=lines, headers=key) as session:
        client, begin = Client(session, world), time.perf_counter() + 0.2
        calls = [
            client.timed("acknowledgement", begin + i * size / rate, lambda b=b: client.post(b))
            for i, b in enumerate(bodies)
        ]
        for i in range(int(10 * seconds)):
            user = world.random.choice(world.users)
            calls.append(client.timed("home", begin + i / 10, lambda u=user: client.home(u)))
        probes = range(int(2 * seconds))
        calls += [client.timed("probe", begin + i / 2, lambda i=i: client.probe(i)) for i in probes]
        await asyncio.gather(*calls)
        took = time.perf_counter() - begin
    table_ = {name: percentiles(values) for name, values in client.figures.items() if name != "probe"}
    return {
        "rate": rate,
        "batch": size,
        "seconds": seconds,
        "acknowledged_a_second": round(client.acknowledged / took),
        "problems": client.problems,
        "ms": table_,
    }


async def ceiling(address: str, world: World, size: int, clients: int, seconds: float) -> dict[str, Any]:
    """Acknowledged events a second when `clients` post without pause."""
    bodies = world.batches(int(12_000 * seconds), size)
    async with aiohttp.ClientSession(address, headers=headers(world.home)) as session:
        client, begin = Client(session, world), time.perf_counter()

        async def busy() -> None:
            while bodies and time.perf_counter() < begin + seconds:
                since = time.perf_counter()
                await client.post(bodies.pop())
                client.note("acknowledgement", since)

        await asyncio.gather(*(busy() for _ in range(clients)))
        took = time.perf_counter() - begin
    times = percentiles(client.figures["acknowledgement"])
    return {
        "batch": size,
        "clients": clients,
        "events_a_second": round(client.acknowledged / took),
        "problems": client.problems,
        "ms": times,
    }


def percentiles(ms: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(ms, [50, 99])
    return {"n": len(ms), "p50": float(p50), "p99": float(p99), "max": max(ms)}


def measure(home: Home, rate: float, size: int, seconds: float, engine: str) -> dict[str, Any]:
    world = World.of(home)
    with server(home.root, engine) as address:
        asyncio.run(stream(address, world, rate / 4, size, 3))  # warm: caches and connections
        steady = asyncio.run(stream(address, world, rate, size, seconds))
        top = [asyncio.run(ceiling(address, world, n, 16, min(seconds, 10))) for n in (1, 20, 100)]
    return {"engine": engine, "steady": steady, "ceiling": top}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path("var"))
    parser.add_argument("--rate", type=float, default=2_000.0, help="events a second")
    parser.add_argument("--batch", type=int, default=50, help="events a post")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--engine", default="uvicorn", choices=["ray", "uvicorn"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = copied(Home.of(given.home), Path(folder))
        figures = measure(home, given.rate, given.batch, given.seconds, given.engine)
    steady = figures["steady"]
    rows = [[name, m["n"], m["p50"], m["p99"], m["max"]] for name, m in steady["ms"].items()]
    table([f"{steady['acknowledged_a_second']} events/s", "n", "p50 ms", "p99 ms", "max ms"], rows)
    table(
        ["batch", "events/s", "p50 ms", "p99 ms"],
        [[c["batch"], c["events_a_second"], c["ms"]["p50"], c["ms"]["p99"]] for c in figures["ceiling"]],
    )
    print(write(f"freshness-{given.engine}", figures))


if __name__ == "__main__":
    main()
