"""Roll-outs of benchmarks/surrogate.py: one policy, one luck, 28 days of all listeners, kept as it ends.

A folder of a run holds `active.npz` (listeners x days: had a session; and how many of each day), and what a service
knows of the first days: `plays.parquet` and `marks.parquet` (experiments/long_term/signals.py says the columns). The
days before all runs are the logs' own and lie in `before/`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import polars as pl

from benchmarks.surrogate_policies import HELD_OUT, TRAINING
from recsys.errors import BadInput
from recsys.files import write_whole
from recsys.plays import Outcome
from recsys.simulation import rows
from recsys.simulation.catalog import Catalog
from recsys.simulation.listen import HOME
from recsys.simulation.live import Clock, Ledger, LiveDay, LiveSettings, LiveWorld, Policy
from recsys.simulation.live.run import live_day
from recsys.simulation.pages import no_pages
from recsys.simulation.profiles import PROFILES, Profile

DAYS, WARM = 28, 7
"""Days of a roll-out, and of logs before it."""
KEPT = 14
"""Days whose plays are kept."""
SETTINGS = LiveSettings(slots=20, tick_minutes=1440, measured=0, batch=1 << 20)
TRAINING_SEEDS = (101, 102)
SEEDS = (1, 2, 3, 4)
"""Luck of the policies that teach, and of those that are judged."""


@dataclass(frozen=True)
class Begun:
    """The morning before all roll-outs."""

    folder: Path
    profile: Profile
    catalog: Catalog

    @classmethod
    def of(cls, folder: Path, listeners: int, tracks: int) -> Begun:
        """The world, once a folder; a folder of another world is refused."""
        demo = PROFILES["demo"]
        artists = max(tracks * demo.artists // demo.tracks, 10)
        profile = demo.model_copy(update={"listeners": listeners, "tracks": tracks, "artists": artists})
        folder.mkdir(parents=True, exist_ok=True)
        body, path = profile.model_dump_json().encode(), folder / "profile.json"
        if path.exists() and path.read_bytes() != body:
            raise BadInput(f"{folder} holds roll-outs of another world: give another --work")
        begun = cls(folder, profile, Catalog.make(profile))
        if not (folder / "before" / "plays.parquet").exists():
            begun._warm()
        write_whole(path, body)
        return begun

    def _warm(self) -> None:
        """The days of the log that everybody has lived before; every policy that learns has seen them."""
        watching = {name: self._new(name) for name in (*TRAINING, *HELD_OUT)}
        told: list[tuple[pl.DataFrame, pl.DataFrame]] = []

        def watch(day: LiveDay) -> None:
            told.append(told_of(day, self.catalog, day.day - WARM, self.profile.seed))
            for policy in watching.values():
                policy.learn(day)

        world = LiveWorld.at(self.profile, self.catalog, WARM, watch)
        here = self.folder / "before"
        here.mkdir(parents=True, exist_ok=True)
        world.save(here / "world.npz")
        for name, policy in watching.items():
            np.savez(here / f"{slug(name)}.npz", allow_pickle=False, **policy.state())
        keep(here, told)

    def policy(self, name: str) -> Policy:
        """As it stands after the days before."""
        made = self._new(name)
        with np.load(self.folder / "before" / f"{slug(name)}.npz") as state:
            made.restore(dict(state))
        return made

    def _new(self, name: str) -> Policy:
        return ({**TRAINING, **HELD_OUT})[name](self.catalog, self.profile.listeners)

    def roll(self, name: str, seed: int) -> None:
        """One run, if the folder has it not yet."""
        here = self.folder / f"{slug(name)}-{seed}"
        if (here / "active.npz").exists():
            return
        here.mkdir(exist_ok=True)
        began = time.process_time()
        world = LiveWorld.load(self.profile, self.catalog, self.folder / "before" / "world.npz")
        world.luck = seed
        policy, ledger = self.policy(name), Ledger.of(world)
        told, figures = [], []
        for day in range(DAYS):
            lived = live_day(world, policy, SETTINGS, ledger, Clock())
            figures.append(vars(lived.figures))
            if day < KEPT:
                told.append(told_of(lived.day, self.catalog, day, world.seed))
        keep(here, told)
        sessions = sum(int(each["sessions"]) for each in figures)
        spent = time.process_time() - began
        (here / "figures.json").write_bytes(
            orjson.dumps({"days": figures, "sessions": sessions, "cpu_seconds": spent})
        )
        np.savez_compressed(here / "partial.npz", active=np.stack(ledger.active, axis=1))
        (here / "partial.npz").rename(here / "active.npz")

    def cohort(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Listeners who were there on the morning before: fixed before any policy acted."""
        world = LiveWorld.load(self.profile, self.catalog, self.folder / "before" / "world.npz")
        return np.flatnonzero((world.listeners.join_day < WARM) & ~world.memory.gone)

    def active(self, name: str, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
        """(listeners, days)."""
        with np.load(self.folder / f"{slug(name)}-{seed}" / "active.npz") as kept:
            found: np.ndarray[tuple[int, int], np.dtype[np.bool_]] = kept["active"]
        return found


def plan() -> list[tuple[str, int]]:
    """All runs in the order in which they are made: what teaches, then the judged ones seed by seed."""
    first = [(name, seed) for seed in TRAINING_SEEDS for name in TRAINING]
    return first + [(name, seed) for seed in SEEDS for name in HELD_OUT]


def told_of(day: LiveDay, catalog: Catalog, at: int, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What a service is told of one day: plays, and what else listeners did, in signals.py's columns."""
    played, sessions = day.played, day.sessions
    unit = sessions.row.astype(np.int32)
    plays = pl.DataFrame(
        {
            "unit": unit[played.session],
            "day": np.full(len(played.track), at, np.int16),
            "session": (at + WARM) * 1_000_000 + played.session,
            "track": played.track,
            "artist": catalog.artist[played.track].astype(np.int32),
            "ms": played.ms,
            "finished": played.outcome == Outcome.FINISH,
            "home": played.source == HOME,
            "saved": played.saved,
        }
    )
    batch = {r.kind: r for r in rows.day_rows(catalog, sessions, no_pages(), played, seed)}
    seen = day.shown.seen.sum(1)
    parts = [
        (unit[batch[rows.FOLLOW].session], "follows", 1),
        (unit[batch[rows.NOT_INTERESTED].session], "not_interested", 1),
        (unit[day.shown.session], "pages", 1),
        (np.repeat(unit[day.shown.session], seen), "seen", 1),
    ]
    marks = pl.concat(
        pl.DataFrame({"unit": who.astype(np.int32)})
        .group_by("unit")
        .len("count")
        .with_columns(day=pl.lit(at, pl.Int16), what=pl.lit(what))
        for who, what, _ in parts
    )
    return plays, marks


def keep(folder: Path, told: list[tuple[pl.DataFrame, pl.DataFrame]]) -> None:
    pl.concat(plays for plays, _ in told).write_parquet(folder / "plays.parquet")
    pl.concat(marks for _, marks in told).write_parquet(folder / "marks.parquet")


def slug(name: str) -> str:
    return name.replace(",", "").replace(" ", "-")
