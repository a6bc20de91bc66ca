"""The population of a simulated world at one moment, ready to go on: what the log generator knew, without its log.

world = LiveWorld.at(profile, catalog, day=profile.split_day)     # as it stood that morning, to the last bit
world.save(path); LiveWorld.load(profile, catalog, path)

The log's own functions are run again up to that day (a draw is a hash of what it is for, so the same listeners
have played the same tracks); nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.simulation import listen, pages, sessions
from recsys.simulation.audio import F32
from recsys.simulation.catalog import Catalog
from recsys.simulation.engine import BUZZ_KEEP
from recsys.simulation.identify import public_ids
from recsys.simulation.live.day import LiveDay, joined, logged
from recsys.simulation.market import Market
from recsys.simulation.memory import Memory
from recsys.simulation.population import Listeners, make_listeners
from recsys.simulation.probes import ProbeSample
from recsys.simulation.profiles import Profile
from recsys.simulation.rng import stream
from recsys.simulation.rows import Names
from recsys.simulation.shard import epoch_day, remember
from recsys.simulation.truth import World

_MEMORY = [f.name for f in fields(Memory) if not f.name.startswith("_")]


@dataclass
class LiveWorld:
    """n listeners on the morning of `day`.

    Attributes:
        recent: decayed count of everyone's plays up to the day before yesterday, as the log generator has it.
        yesterday: plays of each track yesterday; they reach `recent` with a day's delay.
        luck: the seed of everything listeners do from now on; 0 is the luck that the log's own days have.
    """

    profile: Profile
    catalog: Catalog
    listeners: Listeners
    memory: Memory
    day: int
    recent: F32
    yesterday: F32
    luck: int = 0

    @classmethod
    def fresh(cls, profile: Profile, catalog: Catalog) -> LiveWorld:
        """Before the first day."""
        n = len(catalog)
        return cls(
            profile,
            catalog,
            make_listeners(profile, catalog, np.arange(profile.listeners)),
            Memory.empty(profile.listeners, profile.library),
            0,
            np.zeros(n, np.float32),
            np.zeros(n, np.float32),
        )

    @classmethod
    def at(
        cls,
        profile: Profile,
        catalog: Catalog,
        day: int,
        watch: Callable[[LiveDay], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> LiveWorld:
        """The morning of a day of the log (`profile.days`: the morning after it).

        Args:
            watch: sees every day of the log on the way there, as a policy's `learn` would; every slot of a logged
                page counts as seen.
        """
        world = cls.fresh(profile, catalog)
        while world.day < day:
            lived = world._log_day()
            if watch:
                watch(lived)
            if progress:
                progress(world.day, day)
        return world

    def only(self, listeners: int) -> LiveWorld:
        """The first so many of the listeners (they are alike by construction); what is popular stays as it is."""
        rows = np.arange(min(listeners, len(self.listeners)))
        memory = Memory(**{name: getattr(self.memory, name)[rows] for name in _MEMORY})
        people = make_listeners(self.profile, self.catalog, rows)
        return replace(self, listeners=people, memory=memory)

    def _log_day(self) -> LiveDay:
        """One day as the log generator has it, its home pages included."""
        market, planned = self.wake()
        shown = pages.show(market, self.listeners, self.memory, planned, self.profile.seed)
        everyone = np.arange(len(planned))
        if not len(planned):
            day = joined(self.day, planned, [])
        else:
            played = listen.play(market, self.listeners, self.memory, planned, shown)
            day = joined(self.day, planned, [(everyone, logged(shown), played)])
        self.sleep(planned, day.played)
        return day

    def wake(self) -> tuple[Market, sessions.Sessions]:
        """Begins the day: traces fade, those who join remember an earlier life, and everyone's sessions are set."""
        market = Market(self.catalog, self.day, self.recent)
        self.memory.decay()
        joined = np.flatnonzero(self.listeners.join_day == self.day)
        sessions.first_library(market, self.listeners, self.memory, joined, self.profile.seed)
        return market, sessions.plan(self.listeners, self.memory, self.day, self.epoch_ms, self.seed)

    def sleep(self, planned: sessions.Sessions, played: listen.Played) -> None:
        """Ends the day: what was played is remembered and counted, satisfaction moves, and some leave for good."""
        remember(self.memory, self.listeners, planned, played, self.seed, self.day)
        self.recent = (self.recent * np.float32(BUZZ_KEEP) + self.yesterday).astype(np.float32)
        self.yesterday = np.bincount(played.track, minlength=len(self.catalog)).astype(np.float32)
        self.day += 1

    @property
    def seed(self) -> int:
        """Of this world's days."""
        return int(stream(self.profile.seed, f"luck:{self.luck}") >> 1) if self.luck else self.profile.seed

    @property
    def epoch_ms(self) -> int:
        """UTC midnight of day 0."""
        return epoch_day(self.profile) * sessions.MS_PER_DAY

    @cached_property
    def names(self) -> Names:
        """Public ids."""
        return Names(self.profile, self.catalog)

    @cached_property
    def user_names(self) -> pa.Array:
        """(n,) public id of each listener."""
        return self.names.users(self.listeners.index)

    @cached_property
    def user_ids(self) -> NDArray[np.object_]:
        """The same for numpy."""
        return self.user_names.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]

    @cached_property
    def track_ids(self) -> list[str]:
        """Public id of each track number."""
        ids: list[str] = self.names.tracks.to_pylist()
        return ids

    @cached_property
    def hidden(self) -> World:
        """The definitions of what slates are truly worth; its own probes are none."""
        nothing = [np.zeros(0) for _ in fields(ProbeSample)]
        return World(self.profile, self.catalog, ProbeSample(*nothing))  # type: ignore[arg-type]

    def save(self, path: Path) -> None:
        """All that changes from day to day, in one file that appears whole."""
        arrays = {name: getattr(self.memory, name) for name in _MEMORY}
        temporary = path.with_suffix(".tmp.npz")
        np.savez(
            temporary,
            **arrays,
            day=self.day,
            luck=self.luck,
            recent=self.recent,
            yesterday=self.yesterday,
        )
        temporary.replace(path)

    @classmethod
    def load(cls, profile: Profile, catalog: Catalog, path: Path) -> LiveWorld:
        """What `save` wrote."""
        world = cls.fresh(profile, catalog)
        with np.load(path) as stored:
            world = world.only(len(stored["gone"]))
            world.memory = Memory(**{name: stored[name] for name in _MEMORY})
            world.day, world.luck = int(stored["day"]), int(stored["luck"])
            world.recent, world.yesterday = stored["recent"], stored["yesterday"]
        return world


def session_ids(planned: sessions.Sessions) -> NDArray[np.object_]:
    """(m,) public id of each session, as its events have it."""
    ids: NDArray[np.object_] = public_ids(planned.key).to_numpy(zero_copy_only=False)
    return ids
