"""What listeners notice when something fails: a real server under open-loop load, one fault after the other.

    python -m benchmarks.faults --home COPY-OF-A-HOME --rate 20 --seconds 8
    python -m benchmarks.faults --home COPY-OF-A-HOME --only kill_replica      # Ray Serve with two replicas

The home is written to: give a copy. Faults come from outside the server: flags that its loader looks at
(benchmarks/faulty.py), a file-size limit set on its process (a full disk), a lock on the state file, signals to Redis
and to replicas, a damaged release that is promoted. Events are posted meanwhile; each one that was acknowledged must be
in the lake at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fault_kinds import BY_ENGINE, Fault, Place, copied, redis_server
from benchmarks.results import table, write
from recsys.home import Home
from recsys.ids import public_id, uuid7
from recsys.lake import Lake
from recsys.state_store import LocalStore
from serving.access.keys import KeyFile

RECOVERY_SECONDS = 30.0
TIMEOUT_SECONDS = 15.0


@dataclass
class Answered:
    """One request: when it was due (monotonic seconds), how long it took, what came."""

    due: float
    ms: float
    status: int  # 0: no answer
    rung: str = ""
    degraded: bool = False


@dataclass
class Traffic:
    """Open-loop load on one server, and everything that came back."""

    address: str
    paths: list[str]
    rate: float
    answered: list[Answered] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    refused: int = 0
    lost_posts: int = 0
    key: str = ""  # the operator's, made by the server at its start

    async def run(self, stop: asyncio.Event) -> None:
        """Requests on schedule until `stop`, whether or not earlier ones have come back; latency counts from the
        scheduled start."""
        import aiohttp

        paths, begin, calls = cycle(self.paths), time.monotonic(), set[asyncio.Task[None]]()
        limit = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(
            timeout=limit, connector=aiohttp.TCPConnector(limit=0), headers=bearer(self.key)
        ) as session:
            number = 0
            while not stop.is_set():
                due = begin + number / self.rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                calls.add(asyncio.create_task(self._ask(session, due, next(paths))))
                if number % 10 == 0:
                    calls.add(asyncio.create_task(self._post(session)))
                number += 1
            await asyncio.gather(*calls)

    async def _ask(self, session: Any, due: float, path: str) -> None:
        status, body = 0, dict[str, Any]()
        try:
            async with session.get(self.address + path) as answer:
                body, status = await answer.json(content_type=None), answer.status
        except (OSError, TimeoutError, ValueError) as error:
            body = {"rung": type(error).__name__}
        ms = (time.monotonic() - due) * 1000
        self.answered.append(Answered(due, ms, status, body.get("rung", ""), bool(body.get("degraded"))))

    async def _post(self, session: Any) -> None:
        event_id, user = uuid7(), public_id("faults", str(len(self.answered) % 50))
        event = {"event_id": event_id, "kind": "save", "user_id": user, "track_id": user}
        body = {"events": [event | {"ts": "2026-03-01T10:00:00Z"}]}
        try:
            async with session.post(self.address + "/v1/events", json=body) as answer:
                if answer.status == 200:
                    self.acknowledged.add(event_id)
                else:
                    self.refused += 1
        except (OSError, TimeoutError):
            self.lost_posts += 1  # not acknowledged: a client posts it again


@dataclass(frozen=True)
class Outcome:
    """One fault as listeners saw it."""

    fault: str
    requests: int
    failed: int  # 5xx or no answer
    p50: float
    p99: float
    longest: float
    rungs: dict[str, int]
    degraded: int
    recovered: float  # seconds after the fault was gone until answers were as before it; inf: not in time
    events_refused: int


async def drill(traffic: Traffic, place: Place, faults: list[Fault], seconds: float) -> list[Outcome]:
    """All faults, one after the other, under one stream of requests."""
    stop, outcomes = asyncio.Event(), list[Outcome]()
    load = asyncio.create_task(traffic.run(stop))
    await asyncio.sleep(4)  # connections and caches
    for fault in faults:
        refused = traffic.refused
        heal = await asyncio.to_thread(fault.inject, place)
        begin = time.monotonic()
        await asyncio.sleep(seconds)
        end = time.monotonic()
        await asyncio.to_thread(heal)
        recovered = await _recovery(traffic, time.monotonic())
        inside = [a for a in traffic.answered if begin <= a.due < end]
        outcomes.append(_outcome(fault.name, inside, recovered, traffic.refused - refused))
        print(outcomes[-1], flush=True)
    stop.set()
    await load
    return outcomes


async def _recovery(traffic: Traffic, healed: float) -> float:
    """Seconds until ten answers in a row were whole again."""
    while time.monotonic() < healed + RECOVERY_SECONDS:
        await asyncio.sleep(0.25)
        since = sorted((a for a in traffic.answered if a.due >= healed), key=lambda a: a.due)
        for first in range(len(since) - 9):
            if all(_whole(a) for a in since[first : first + 10]):
                return since[first].due - healed
    return float("inf")


def _whole(answer: Answered) -> bool:
    return answer.status == 200 and answer.rung == "full" and not answer.degraded


def _outcome(name: str, answers: list[Answered], recovered: float, refused: int) -> Outcome:
    ms = np.array([a.ms for a in answers])
    p50, p99 = np.percentile(ms, [50, 99])
    rungs = Counter(a.rung for a in answers if a.status == 200)
    failed = sum(a.status == 0 or a.status >= 500 for a in answers)
    return Outcome(
        name, len(answers), failed, float(p50), float(p99), float(ms.max()), dict(rungs),
        sum(a.degraded for a in answers), recovered, refused,
    )  # fmt: skip


@contextmanager
def server(engine: str, home: Path, flags: Path, state: str) -> Iterator[tuple[str, int]]:
    """The server in a process of its own: its address and process id."""
    command = [sys.executable, "-m", "benchmarks.faulty", str(home), str(flags)]
    if engine == "ray":
        run = "from serving.cli import main; main()"
        command = [sys.executable, "-c", run, "serve", "--home", str(home), "--port", "0", "--replicas", "2"]
    environment = os.environ | ({"RECSYS_STATE": state} if state else {})
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if "http" not in line:
            raise SystemExit("the server did not start")
        yield line.split()[-1], process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)


def measure(root: Path, engine: str, only: list[str], rate: float, seconds: float) -> dict[str, Any]:
    """All faults of one engine (embedded, redis, ray) on one server."""
    home = Home.of(root)
    users = LocalStore(home.state_db).keys(300)
    faults = [f for f in BY_ENGINE[engine] if not only or f.name in only]
    if not faults:
        return {}
    releases = {f.name for f in faults} & {
        "damaged_release",
        "swapped_release",
    }  # made before anything is timed
    sound, damaged = (copied(home, damaged=d) if releases else "" for d in (False, True))
    with (
        tempfile.TemporaryDirectory(prefix="recsys-faults-") as folder,
        redis_server(engine, folder, home) as redis,
        server(engine, root, Path(folder), redis.url) as (address, pid),
    ):
        key = KeyFile(home.root).operator_token.read_text().strip()
        paths = [f"/v1/home?user_id={user}&limit=10" for user in _personal(address, users, key)]
        traffic = Traffic(address, paths, rate, key=key)
        place = Place(home, Path(folder), pid, redis.pid, sound, damaged, address, paths[0])
        outcomes = asyncio.run(drill(traffic, place, faults, seconds))
    events = Lake(home.lake).scan("events").select("event_id").collect()["event_id"]
    lost = traffic.acknowledged - set(events.to_list())
    every = traffic.answered
    return {
        "outcomes": [asdict(o) for o in outcomes],
        "requests": len(every),
        "failed": sum(a.status == 0 or a.status >= 500 for a in every),
        "events": {"acknowledged": len(traffic.acknowledged), "refused": traffic.refused, "lost": len(lost)},
    }


def bearer(key: str) -> dict[str, str]:
    """The header that carries a key."""
    return {"Authorization": f"Bearer {key}"}


def _personal(address: str, users: list[str], key: str) -> list[str]:
    """Listeners who get the full rung while all is well; so any other rung is the fault's doing."""
    import httpx

    found = []
    with httpx.Client(base_url=address, timeout=30, headers=bearer(key)) as client:
        for user in users:
            if client.get("/v1/home", params={"user_id": user, "limit": 10}).json().get("rung") == "full":
                found.append(user)
            if len(found) == 40:
                break
    return found


def show(figures: dict[str, Any]) -> None:
    """The table of one engine."""
    head = [
        "fault",
        "requests",
        "5xx",
        "p50 ms",
        "p99 ms",
        "max ms",
        "rungs",
        "degraded",
        "recovered s",
        "refused",
    ]
    rows = [list(o.values()) for o in figures["outcomes"]]
    table(head, [[*r[:6], " ".join(f"{k}:{v}" for k, v in r[6].items()), *r[7:]] for r in rows])
    print(figures["events"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each fault lasts")
    parser.add_argument("--engine", nargs="*", default=list(BY_ENGINE), choices=list(BY_ENGINE))
    parser.add_argument("--only", nargs="*", default=[], help="names of faults")
    given = parser.parse_args()
    figures: dict[str, Any] = {"rate": given.rate, "seconds": given.seconds, "load": os.getloadavg()[0]}
    for engine in given.engine:
        if found := measure(given.home, engine, given.only, given.rate, given.seconds):
            figures[engine] = found
            show(found)
    print(write("faults", figures))


if __name__ == "__main__":
    main()
