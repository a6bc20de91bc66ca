"""Log mode: simulates the whole window into a lake, day by day, on any number of workers with the same rows.

    simulate(PROFILES["tiny"], Home.of("var").make())

A barrier a day (two days deep, so that workers need not wait for each other) carries what is global: play counts.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from recsys.errors import BadInput
from recsys.home import Home
from recsys.lake import Lake
from recsys.schemas import TABLES
from recsys.simulation import rows
from recsys.simulation.catalog import Catalog
from recsys.simulation.population import make_listeners
from recsys.simulation.probes import save_samples
from recsys.simulation.profiles import Profile
from recsys.simulation.store import commit
from recsys.simulation.tables import catalog_tables, listener_table
from recsys.simulation.team import Alone, Processes, Team

BUZZ_KEEP = 0.9
"""Share of yesterday's buzz that is left today."""


@dataclass(frozen=True)
class SimulationSummary:
    """What a simulation wrote. JSON-able by `dataclasses.asdict`."""

    profile: str
    seed: int
    listeners: int
    tracks: int
    days: int
    plays: int
    counts: dict[str, int]
    """Rows by event kind."""
    seconds: float
    plays_per_second: float
    digest: str
    """Order-free hash of all rows: equal for any number of workers and any chunk size."""


def simulate(
    profile: Profile,
    home: Home,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> SimulationSummary:
    """Writes the events, catalog and listener tables to `home.lake` and the hidden truth to `home.world`.

    A second call starts clean. The tables appear at the very end, events last: a run that was cut off leaves none.

    Args:
        progress: called with (days done, days) after each day.

    Raises:
        BadInput: the lake holds logs that no simulation wrote.
    """
    began = time.perf_counter()
    _clear(home)
    catalog = Catalog.make(profile)
    home.world.mkdir(parents=True, exist_ok=True)
    catalog.save(home.world / "catalog.npz")
    (home.world / "profile.json").write_text(profile.model_dump_json(indent=2))
    team = _team(profile, home, workers)
    try:
        _run_days(profile, team, progress)
        results = team.finish()
    finally:
        team.close()
    lake = Lake(home.lake)
    for name, frame in catalog_tables(profile, catalog).items():
        lake.replace(name, frame)
    everyone = make_listeners(profile, catalog, np.arange(profile.listeners))
    lake.replace("listeners", listener_table(profile, everyone))
    save_samples(home.world / "probes.npz", [s for result in results for s in result.samples])
    counts = np.sum([result.counts for result in results], axis=0)
    commit(
        Path(home.lake) / "events", [f for result in results for f in result.files], int(time.time() * 1000)
    )
    seconds = time.perf_counter() - began
    summary = SimulationSummary(
        profile=profile.name,
        seed=profile.seed,
        listeners=profile.listeners,
        tracks=profile.tracks,
        days=profile.days,
        plays=int(counts[rows.PLAY]),
        counts={kind: int(n) for kind, n in zip(rows.KINDS, counts, strict=True)},
        seconds=round(seconds, 3),
        plays_per_second=round(float(counts[rows.PLAY] / seconds), 1),
        digest=f"{sum(result.digest for result in results) % 2**64:016x}",
    )
    (home.world / "summary.json").write_text(json.dumps(asdict(summary), indent=2))
    return summary


def _run_days(profile: Profile, team: Team, progress: Callable[[int, int], None] | None) -> None:
    recent = np.zeros(profile.tracks, np.float32)
    team.start(0, recent)
    team.start(1, recent)
    for day in range(profile.days):
        counts = team.wait()
        if day + 2 < profile.days:
            recent = (recent * np.float32(BUZZ_KEEP) + counts).astype(np.float32)
            team.start(day + 2, recent)
        if progress:
            progress(day + 1, profile.days)


def _team(profile: Profile, home: Home, workers: int) -> Team:
    """Chunks are contiguous ranges of listeners, dealt evenly to the workers."""
    per_worker = -(-profile.listeners // (workers * profile.chunk))
    chunks = np.array_split(np.arange(profile.listeners), per_worker * workers)
    shares = [[c for c in chunks[w::workers] if len(c)] for w in range(workers)]
    if workers == 1:
        return Alone(profile, home, shares[0])
    return Processes(profile, home, shares)


def _clear(home: Home) -> None:
    """Removes an earlier simulation; refuses to touch anything else."""
    lake = Lake(home.lake)
    if lake.has("events") and not (home.world / "profile.json").exists():
        raise BadInput(f"{home.lake} holds logs that were not simulated: give another folder with --home")
    shutil.rmtree(home.lake / "events" / "_delta_log", ignore_errors=True)  # first: half a table is none
    for table in TABLES:
        shutil.rmtree(home.lake / table, ignore_errors=True)
    shutil.rmtree(home.world, ignore_errors=True)


__all__ = ["SimulationSummary", "simulate"]
