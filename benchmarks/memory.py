"""Whether a server's memory is flat: many requests and events against a real server, its memory drawn over them.

    python -m benchmarks.memory --home var --requests 200000 --events 2000000

Home feeds mostly, radio pages, mixes and similar tracks beside them, and events in batches of 100 between. The
memory is the resident set of the server's process and its children (the mover). Works on a copy of the home.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
from rich.progress import Progress

from benchmarks.freshness import World, headers
from benchmarks.http_home import RECSYS
from benchmarks.results import FOLDER, table, write
from recsys.home import Home
from tests.serving.http_crash import copied

BATCH = 100
SAMPLES = 200
CLIENTS = 3
ATTEMPTS = 4


async def drive(
    address: str, world: World, process: psutil.Process, requests: int, events: int
) -> dict[str, list[float]]:
    """Sends everything; the curve has one row a sample: requests, events, MB of the server and of its children."""
    curve: dict[str, list[float]] = {name: [] for name in ("requests", "events", "server", "children")}
    sent = {"requests": 0, "events": 0, "failed": 0}
    per_request = events / requests
    async with aiohttp.ClientSession(address, headers=headers(world.home)) as session:
        with Progress() as bars:
            bar = bars.add_task("requests", total=requests)

            async def call(method: str, where: str, body: bytes | None = None) -> None:
                for attempt in range(ATTEMPTS):
                    try:
                        async with session.request(method, where, data=body) as answer:
                            await answer.read()
                            sent["failed"] += answer.status != 200
                            return
                    except (
                        aiohttp.ClientError
                    ):  # an idle connection that the server closed as it was taken up
                        await asyncio.sleep(attempt)
                sent["failed"] += 1

            async def ask(number: int) -> None:
                await call("GET", path(world, number))
                sent["requests"] += 1
                if sent["events"] < per_request * sent["requests"]:
                    sent["events"] += BATCH
                    await call("POST", "/v1/events", world.batches(BATCH, BATCH)[0])

            async def client(first: int) -> None:
                for number in range(first, requests, CLIENTS):
                    if number % max(1, requests // SAMPLES) == 0:
                        note(curve, process, sent)
                    await ask(number)
                    bars.update(bar, completed=sent["requests"])

            await asyncio.gather(*(client(i) for i in range(CLIENTS)))
    note(curve, process, sent)
    if sent["failed"]:
        print(f"{sent['failed']} of the requests and batches did not get a 200")
    return curve


def path(world: World, number: int) -> str:
    """Eight of ten requests ask for home; the others go round."""
    user, track = world.users[number % len(world.users)], world.tracks[number % len(world.tracks)]
    others = (f"/v1/radio?seed=track:{track}&user_id={user}", f"/v1/tracks/{track}/similar")
    lists = (f"/v1/mixes?user_id={user}&limit=20", f"/v1/discovery?user_id={user}")
    if number % 10 < 8:
        return f"/v1/home?user_id={user}&limit=10"
    return others[number // 10 % 2] if number % 10 == 8 else lists[number // 10 % 2]


def note(curve: dict[str, list[float]], process: psutil.Process, sent: dict[str, int]) -> None:
    """One sample of the curve."""
    curve["requests"].append(sent["requests"])
    curve["events"].append(sent["events"])
    curve["server"].append(process.memory_info().rss / 2**20)
    children = process.children(recursive=True)
    curve["children"].append(sum(child.memory_info().rss for child in children) / 2**20)


def slope(curve: dict[str, list[float]], name: str) -> float:
    """MB more for each further 10,000 requests, by least squares over the second half of the run."""
    half = len(curve["requests"]) // 2
    return float(np.polyfit(curve["requests"][half:], curve[name][half:], 1)[0] * 10_000)


def draw(curve: dict[str, list[float]], file: Path) -> None:
    """Memory over requests as a picture."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(8, 4))
    axis.plot(curve["requests"], curve["server"], label="server")
    axis.plot(curve["requests"], curve["children"], label="its children (the mover)")
    axis.set(xlabel="requests answered (events grow with them)", ylabel="resident memory, MB", ylim=(0, None))
    axis.legend()
    figure.tight_layout()
    figure.savefig(file, dpi=120)


def measure(home: Home, requests: int, events: int) -> dict[str, Any]:
    """The curve, its slope over the second half, and how long it took."""
    run = [*RECSYS, "serve", "--home", str(home.root), "--port", "0", "--engine", "uvicorn"]
    process = subprocess.Popen(run, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        begin = time.perf_counter()
        curve = asyncio.run(drive(address, World.of(home), psutil.Process(process.pid), requests, events))
        seconds = time.perf_counter() - begin
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(120)
    return {
        "requests": requests,
        "events": events,
        "seconds": seconds,
        "server_first_mb": curve["server"][0],
        "server_half_mb": curve["server"][len(curve["server"]) // 2],
        "server_last_mb": curve["server"][-1],
        "server_slope_mb_per_10000": slope(curve, "server"),
        "children_last_mb": curve["children"][-1],
        "curve": curve,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path("var"))
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--events", type=int, default=2_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(copied(Home.of(given.home), Path(folder)), given.requests, given.events)
    table(["", "figure"], [[name, value] for name, value in figures.items() if name != "curve"])
    file = write("memory", figures)
    draw(figures["curve"], FOLDER / file.with_suffix(".png").name)
    print(file)


if __name__ == "__main__":
    main()
