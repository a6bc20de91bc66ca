"""Log mode: simulates the whole window into a lake, day by day, on any number of workers with the same rows.

    simulate(PROFILES["tiny"], Home.of("var").make())

A barrier a day (two days deep, so that workers need not wait for each other) carries what is global: play counts.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.errors import BadInput
from recsys.home import Home
from recsys.lake import Lake
from recsys.schemas import TABLES
from recsys.simulation import listen, pages, rows, sessions
from recsys.simulation.audio import F32
from recsys.simulation.catalog import Catalog
from recsys.simulation.market import Market
from recsys.simulation.memory import Memory
from recsys.simulation.population import Listeners, make_listeners
from recsys.simulation.probes import ProbeSample, sample, save_samples
from recsys.simulation.profiles import Profile
from recsys.simulation.rng import keys, stream, uniforms
from recsys.simulation.store import EventFiles, commit
from recsys.simulation.tables import catalog_tables, listener_table

BUZZ_KEEP = 0.9
"""Share of yesterday's buzz that is left today."""
_SMALL = 40_000
"""Listener-days below which starting worker processes costs more than it saves."""


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


@dataclass
class Shard:
    """The listeners of one worker, in chunks; holds their memories between days."""

    profile: Profile
    catalog: Catalog
    chunks: list[tuple[Listeners, Memory, pa.Array]]
    files: EventFiles
    names: rows.Names
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(rows.KINDS), np.int64))
    digest: int = 0
    samples: list[ProbeSample] = field(default_factory=list)

    @classmethod
    def make(cls, profile: Profile, home: Home, parts: list[NDArray[np.int64]], writer: str) -> Shard:
        catalog = Catalog.load(home.world / "catalog.npz")
        names = rows.Names(profile, catalog)
        chunks = [
            (
                make_listeners(profile, catalog, part),
                Memory.empty(len(part), profile.library),
                names.users(part),
            )
            for part in parts
        ]
        return cls(profile, catalog, chunks, EventFiles(Path(home.lake) / "events", writer), names)

    def run(self, day: int, recent: F32) -> NDArray[np.int64]:
        """One day of all chunks; returns how often each track was played."""
        market = Market(self.catalog, day, recent)
        played = np.zeros(len(self.catalog), np.int64)
        for chunk in self.chunks:
            played += self._run_chunk(market, *chunk)
        self.files.flush(before=_epoch_day(self.profile) + day - 1)
        return played

    def _run_chunk(
        self, market: Market, listeners: Listeners, memory: Memory, users: pa.Array
    ) -> NDArray[np.int64]:
        day, seed = market.day, self.profile.seed
        memory.decay()
        sessions.first_library(market, listeners, memory, np.flatnonzero(listeners.join_day == day), seed)
        planned = sessions.plan(listeners, memory, day, _epoch_day(self.profile) * sessions.MS_PER_DAY, seed)
        if not len(planned):
            return np.zeros(len(self.catalog), np.int64)
        if day >= self.profile.split_day:
            self.samples.append(sample(self.profile, listeners, memory, planned, day))
        shown = pages.show(market, listeners, memory, planned, seed)
        played = listen.play(market, listeners, memory, planned, shown)
        self._log(listeners, users, planned, rows.day_rows(self.catalog, planned, shown, played, seed))
        _remember(memory, listeners, planned, played, seed, day)
        return np.bincount(played.track, minlength=len(self.catalog))

    def _log(
        self, listeners: Listeners, users: pa.Array, planned: sessions.Sessions, batch: list[rows.Rows]
    ) -> None:
        self.files.add(rows.arrow_table(self.names, users, listeners, planned, batch))
        self.counts += [len(r.session) for r in batch]
        self.digest += rows.digest(batch, listeners.index, planned)

    def finish(self) -> tuple[NDArray[np.int64], int, list[tuple[str, int, int, int]], list[ProbeSample]]:
        self.files.flush()
        return self.counts, self.digest, self.files.files, self.samples


def _remember(
    memory: Memory,
    listeners: Listeners,
    planned: sessions.Sessions,
    played: listen.Played,
    seed: int,
    day: int,
) -> None:
    """The day's effect on its listeners: library, leading taste, satisfaction, and who leaves for good."""
    order = np.lexsort((played.step, played.session))
    row = planned.row[played.session[order]]
    gain = np.array([0.0, 0.5, 1.0], np.float32)[played.outcome[order]]
    tire = np.array([0.2, 0.6, 1.0], np.float32)[played.outcome[order]]
    memory.learn(row, played.track[order], gain, tire)
    memory.lead[planned.row] = planned.lead
    n = len(listeners)
    plays = np.bincount(row, minlength=n)
    total = np.bincount(row, played.reward[order].astype(np.float64), n)
    here = np.flatnonzero(plays)
    mean = (total[here] / plays[here]).astype(np.float32)
    memory.satisfaction[here] += np.float32(0.15) * (mean - memory.satisfaction[here])
    hazard = np.clip(0.012 * np.exp(-5.0 * memory.satisfaction[here]), 0, 0.1)
    u = uniforms(keys(stream(seed, "churn"), listeners.index[here], day), 1)[0]
    memory.gone[here] |= u < hazard


class _Team(Protocol):
    def start(self, day: int, recent: F32) -> None: ...
    def wait(self) -> NDArray[np.int64]: ...
    def finish(
        self,
    ) -> list[tuple[NDArray[np.int64], int, list[tuple[str, int, int, int]], list[ProbeSample]]]: ...
    def close(self) -> None: ...


class _Alone:
    """All in this process."""

    def __init__(self, shard: Shard) -> None:
        self.shard, self.todo = shard, list[tuple[int, F32]]()

    def start(self, day: int, recent: F32) -> None:
        self.todo.append((day, recent))

    def wait(self) -> NDArray[np.int64]:
        return self.shard.run(*self.todo.pop(0))

    def finish(
        self,
    ) -> list[tuple[NDArray[np.int64], int, list[tuple[str, int, int, int]], list[ProbeSample]]]:
        return [self.shard.finish()]

    def close(self) -> None:
        pass


class _Processes:
    """One spawned process a shard."""

    def __init__(self, profile: Profile, home: Home, parts: list[list[NDArray[np.int64]]]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipes: list[Connection] = []
        self.processes = []
        for i, part in enumerate(parts):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, profile, home, part, f"w{i}"), daemon=True)
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)

    def start(self, day: int, recent: F32) -> None:
        for pipe in self.pipes:
            pipe.send((day, recent))

    def wait(self) -> NDArray[np.int64]:
        counts: NDArray[np.int64] = np.sum([pipe.recv() for pipe in self.pipes], axis=0)
        return counts

    def finish(
        self,
    ) -> list[tuple[NDArray[np.int64], int, list[tuple[str, int, int, int]], list[ProbeSample]]]:
        for pipe in self.pipes:
            pipe.send(None)
        return [pipe.recv() for pipe in self.pipes]

    def close(self) -> None:
        for pipe in self.pipes:
            pipe.close()
        for process in self.processes:
            process.join(timeout=10)
            if process.is_alive():
                process.terminate()


def _work(
    pipe: Connection, profile: Profile, home: Home, parts: list[NDArray[np.int64]], writer: str
) -> None:
    shard = Shard.make(profile, home, parts, writer)
    try:
        while (order := pipe.recv()) is not None:
            pipe.send(shard.run(*order))
        pipe.send(shard.finish())
    except (EOFError, BrokenPipeError):
        return


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
    save_samples(home.world / "probes.npz", [s for result in results for s in result[3]])
    counts = np.sum([result[0] for result in results], axis=0)
    commit(Path(home.lake) / "events", [f for result in results for f in result[2]], int(time.time() * 1000))
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
        digest=f"{sum(result[1] for result in results) % 2**64:016x}",
    )
    (home.world / "summary.json").write_text(json.dumps(asdict(summary), indent=2))
    return summary


def _run_days(profile: Profile, team: _Team, progress: Callable[[int, int], None] | None) -> None:
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


def _team(profile: Profile, home: Home, workers: int) -> _Team:
    """Chunks are contiguous ranges of listeners, dealt evenly to the workers."""
    per_worker = -(-profile.listeners // (workers * profile.chunk))
    chunks = np.array_split(np.arange(profile.listeners), per_worker * workers)
    shares = [[c for c in chunks[w::workers] if len(c)] for w in range(workers)]
    if workers == 1:
        return _Alone(Shard.make(profile, home, shares[0], "w0"))
    return _Processes(profile, home, shares)


def _epoch_day(profile: Profile) -> int:
    return profile.start.toordinal() - 719_163


def _clear(home: Home) -> None:
    """Removes an earlier simulation; refuses to touch anything else."""
    lake = Lake(home.lake)
    if lake.has("events") and not (home.world / "profile.json").exists():
        raise BadInput(f"{home.lake} holds logs that were not simulated: give another folder with --home")
    shutil.rmtree(home.lake / "events" / "_delta_log", ignore_errors=True)  # first: half a table is none
    for table in TABLES:
        shutil.rmtree(home.lake / table, ignore_errors=True)
    shutil.rmtree(home.world, ignore_errors=True)


__all__ = ["Shard", "SimulationSummary", "simulate"]
