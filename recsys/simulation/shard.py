"""The listeners of one worker, day by day: plan, show, play, log, remember."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.home import Home
from recsys.simulation import listen, pages, rows, sessions
from recsys.simulation.audio import F32
from recsys.simulation.catalog import Catalog
from recsys.simulation.market import Market
from recsys.simulation.memory import Memory
from recsys.simulation.population import Listeners, make_listeners
from recsys.simulation.probes import ProbeSample, sample
from recsys.simulation.profiles import Profile
from recsys.simulation.rng import keys, stream, uniforms
from recsys.simulation.store import EventFiles


@dataclass(frozen=True)
class Result:
    """What one shard wrote."""

    counts: NDArray[np.int64]  # rows by kind, as rows.KINDS
    digest: int
    files: list[tuple[str, int, int, int]]
    samples: list[ProbeSample]


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
        self.files.flush(before=epoch_day(self.profile) + day - 1)
        return played

    def _run_chunk(
        self, market: Market, listeners: Listeners, memory: Memory, users: pa.Array
    ) -> NDArray[np.int64]:
        day, seed = market.day, self.profile.seed
        memory.decay()
        sessions.first_library(market, listeners, memory, np.flatnonzero(listeners.join_day == day), seed)
        planned = sessions.plan(listeners, memory, day, epoch_day(self.profile) * sessions.MS_PER_DAY, seed)
        if not len(planned):
            return np.zeros(len(self.catalog), np.int64)
        if day >= self.profile.split_day:
            self.samples.append(sample(self.profile, listeners, memory, planned, day))
        shown = pages.show(market, listeners, memory, planned, seed)
        played = listen.play(market, listeners, memory, planned, shown)
        self._log(listeners, users, planned, rows.day_rows(self.catalog, planned, shown, played, seed))
        remember(memory, listeners, planned, played, seed, day)
        return np.bincount(played.track, minlength=len(self.catalog))

    def _log(
        self, listeners: Listeners, users: pa.Array, planned: sessions.Sessions, batch: list[rows.Rows]
    ) -> None:
        self.files.add(rows.arrow_table(self.names, users, listeners, planned, batch))
        self.counts += [len(r.session) for r in batch]
        self.digest += rows.digest(batch, listeners.index, planned)

    def finish(self) -> Result:
        self.files.flush()
        return Result(self.counts, self.digest, self.files.files, self.samples)


def remember(
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


def epoch_day(profile: Profile) -> int:
    """The profile's first day, in days since 1970."""
    return profile.start.toordinal() - 719_163
