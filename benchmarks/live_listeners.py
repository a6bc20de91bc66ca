"""How fast live listeners run: sessions a second without a service, and through the whole pipeline in this process.

    python -m benchmarks.live_listeners --home var --days 3 --pipeline-sessions 1500

Policies without a service live whole days of all listeners of a world (`--listeners` of them, in the shape of the
home's). The pipeline serves the home's own listeners tick by tick: state look-up, a batch of queries through sources,
scorers and selectors, every decision logged, every reaction ingested and folded into the states. Beside the speed
stands where the time went, and how many slates of a sample differ from those that the one-query path gives.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import table, write
from recsys.home import Home
from recsys.simulation.catalog import Catalog
from recsys.simulation.live import (
    Clock,
    Ledger,
    Linear,
    LiveDay,
    LiveSettings,
    LiveWorld,
    Policy,
    Popular,
    Random,
)
from recsys.simulation.live.day import take
from recsys.simulation.live.events import request_ids
from recsys.simulation.live.run import live_day, requests_of
from recsys.simulation.profiles import Profile
from serving.loop.place import made, profile_of, start_day
from serving.loop.policies import SETTINGS, release
from serving.loop.service_policy import ServicePolicy, asks
from serving.service import Service


def simple(profile: Profile, days: int, warm: int) -> dict[str, Any]:
    """Policies without a service, each on the same days of one world."""
    catalog = Catalog.make(profile)
    n = profile.listeners
    policies: list[Policy] = [
        Random(catalog), Popular.of(catalog), Linear.of(catalog, n, 0.1), Linear.of(catalog, n, 0.0)
    ]  # fmt: skip

    def watch(day: LiveDay) -> None:
        for policy in policies:
            policy.learn(day)

    world = LiveWorld.at(profile, catalog, warm, watch=watch)
    settings = LiveSettings(tick_minutes=1440, measured=0, batch=1 << 20)
    return {policy.name: timed(copy.deepcopy(world), policy, settings, days) for policy in policies}


def timed(world: LiveWorld, policy: Policy, settings: LiveSettings, days: int) -> dict[str, Any]:
    """Sessions, home pages and plays a second, by CPU and by the clock on the wall, and the parts of the time."""
    ledger, clock = Ledger.of(world), Clock()
    wall, cpu = time.perf_counter(), time.process_time()
    lived = [live_day(world, policy, settings, ledger, clock) for _ in range(days)]
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    sessions = sum(each.figures.sessions for each in lived)
    total = sum(clock.seconds.values())
    return {
        "sessions": sessions,
        "pages": sum(each.figures.pages for each in lived),
        "plays": sum(each.figures.plays for each in lived),
        "sessions_per_second": sessions / wall,
        "sessions_per_cpu_second": sessions / cpu,
        "pages_per_cpu_second": sum(each.figures.pages for each in lived) / cpu,
        "parts": {part: seconds / total for part, seconds in clock.seconds.items()},
    }


def pipeline(source: Home, listeners: int | None, days: int, work: Path) -> dict[str, Any]:
    """The home's champion, served to its own listeners in this process."""
    profile = profile_of(source)
    day = start_day(source, profile)
    home = made(source, work / "home", day, profile)
    world = LiveWorld.at(profile, Catalog.load(source.world / "catalog.npz"), day)
    world = world.only(listeners) if listeners else world
    with Service.open(home, SETTINGS, release().experiments, background=False) as service:
        policy = ServicePolicy(service, world.track_ids)
        differ = different(service, copy.deepcopy(world))
        found = timed(world, policy, LiveSettings(measured=0, tick_minutes=45), days)
    return {**found, "slates_compared": differ[1], "slates_different": differ[0]}


def different(service: Service, world: LiveWorld, most: int = 200) -> tuple[int, int]:
    """Of the day's requests in one batch, how many slates differ from those of batches of one; and of how many."""
    _, planned = world.wake()
    rows = np.flatnonzero(planned.home)[:most]
    requests = requests_of(world, take(planned, rows), np.arange(len(rows)), np.zeros(len(rows), bool))
    ids = request_ids(requests.now, requests.key).tolist()
    everyone = asks(requests, 10)
    together = service.many(everyone, ids)
    alone = [service.many([ask], [name])[0] for ask, name in zip(everyone, ids, strict=True)]
    unlike = sum(
        [s["track_id"] for s in a.slots] != [s["track_id"] for s in b.slots]
        for a, b in zip(together, alone, strict=True)
    )
    return unlike, len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path("var"), help="simulated, with a promoted release")
    parser.add_argument("--days", type=int, default=3, help="of policies without a service")
    parser.add_argument("--warm", type=int, default=5, help="days of logs that they have seen")
    parser.add_argument("--listeners", type=int, default=20_000, help="of policies without a service")
    parser.add_argument("--pipeline-days", type=int, default=1)
    parser.add_argument("--pipeline-listeners", type=int, default=None, help="absent: all of the home")
    given = parser.parse_args()
    source = Home.of(given.home)
    profile = profile_of(source).model_copy(update={"listeners": given.listeners})
    figures = simple(profile, given.days, given.warm)
    with tempfile.TemporaryDirectory() as work:
        figures["pipeline"] = pipeline(source, given.pipeline_listeners, given.pipeline_days, Path(work))
    head = ["policy", "sessions", "pages", "sessions/s", "sessions/CPU-s", "where the time goes"]
    rows = []
    for name, row in figures.items():
        parts = sorted(row["parts"].items(), key=lambda part: -part[1])
        rows.append(
            [name, row["sessions"], row["pages"], row["sessions_per_second"], row["sessions_per_cpu_second"],
             ", ".join(f"{part} {share:.0%}" for part, share in parts if share >= 0.02)]
        )  # fmt: skip
    table(head, rows)
    whole = figures["pipeline"]
    print(f"slates unlike the one-query path's: {whole['slates_different']} of {whole['slates_compared']}")
    print(write("live-listeners", figures))


if __name__ == "__main__":
    main()
