"""Small policies for long horizons, without a service: random, and what is popular where the listener is.

policy = Popular.of(world.catalog); world = LiveWorld.at(profile, catalog, day, watch=policy.learn)

They see what a service would see: the public side of the catalog, and the plays that were reported.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.simulation.audio import F32
from recsys.simulation.catalog import CODES, I32, Catalog
from recsys.simulation.exposure import without_repeats
from recsys.simulation.live.day import LiveDay
from recsys.simulation.live.ports import Arrays, Policy, Requests, Served
from recsys.simulation.rng import F64, U64, keys, stream, uniforms

KEPT = 0.95
"""Share of a play count that is left a day later: a half-life of two weeks."""
Bools = NDArray[np.bool_]


@dataclass
class Quiet:
    """What policies share that neither hear single events nor learn."""

    def __post_init__(self) -> None:
        self._opened: tuple[int, Bools] | None = None

    @property
    def hears(self) -> bool:
        return False

    def hear(self, events: pl.DataFrame, now: int) -> None:
        """Nothing: it learns by the day."""

    def learn(self, day: LiveDay) -> None:
        """Nothing."""

    def state(self) -> Arrays:
        return {}

    def restore(self, state: Arrays) -> None:
        """Nothing."""

    def opened(self, catalog: Catalog, day: int) -> Bools:
        """(n, countries) what may be shown on a day."""
        if self._opened is None or self._opened[0] != day:
            self._opened = day, catalog.open_on(day)
        return self._opened[1]


@dataclass
class Random(Quiet):
    """Uniform over the tracks that are open where the listener is, without replacement: exact propensities."""

    catalog: Catalog
    slots: int = 10
    name: str = "random"

    def serve(self, requests: Requests) -> Served:
        track = np.full((len(requests), self.slots), -1, np.int32)
        propensity = np.full(track.shape, np.nan)
        open_ = self.opened(self.catalog, requests.day)
        for country in np.unique(requests.country):
            rows = np.flatnonzero(requests.country == country)
            pool = np.flatnonzero(open_[:, country])
            k = min(self.slots, len(pool))
            track[rows, :k] = pool[distinct(requests.key[rows], len(pool), k)]
            propensity[rows, :k] = 1 / (len(pool) - np.arange(k))
        return Served(track, propensity, self.name)


def distinct(key: U64, n: int, k: int) -> NDArray[np.int64]:
    """(m, k) distinct numbers below n, uniform without replacement: a draw that repeats one is passed over."""
    root, draws = keys(stream(0, "distinct"), key), 2 * k + 8
    while True:
        drawn = np.floor(uniforms(root, draws).T * n).astype(np.int64)
        first = without_repeats(drawn)
        if (first.sum(1) >= k).all():
            return np.take_along_axis(drawn, np.argsort(~first, axis=1, kind="stable")[:, :k], axis=1)
        draws *= 2


@dataclass
class Popular(Quiet):
    """The most played tracks of late where the listener is, the same for everybody there."""

    catalog: Catalog
    counts: F32  # (countries, n) decayed plays
    slots: int = 10
    name: str = "popularity"
    _chart: tuple[int, I32] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, catalog: Catalog, slots: int = 10) -> Popular:
        """Before the first play."""
        return cls(catalog, np.zeros((len(CODES), len(catalog)), np.float32), slots)

    def serve(self, requests: Requests) -> Served:
        track = self._charts(requests.day)[requests.country]
        return Served(track, np.where(track >= 0, 1.0, np.nan), self.name)

    def _charts(self, day: int) -> I32:
        """(countries, slots)."""
        if self._chart is None or self._chart[0] != day:
            chart = popular(self.counts, self.opened(self.catalog, day), self.slots)
            self._chart = day, chart
        return self._chart[1]

    def learn(self, day: LiveDay) -> None:
        self.counts = counted(self.counts, day)

    def state(self) -> Arrays:
        return {"counts": self.counts}

    def restore(self, state: Arrays) -> None:
        self.counts, self._chart = state["counts"], None


def counted(counts: F32, day: LiveDay) -> F32:
    """(countries, n) play counts a day later."""
    countries, n = counts.shape
    at = day.sessions.country[day.played.session] * n + day.played.track
    today = np.bincount(at, minlength=countries * n).reshape(countries, n)
    return (counts * np.float32(KEPT) + today).astype(np.float32)


def popular(counts: F32, open_: Bools, most: int) -> I32:
    """(countries, most) open tracks by plays there, then by plays anywhere; -1 where too few are open."""
    worth: F64 = counts + 1e-3 * counts.sum(0)
    worth = np.where(open_.T, worth, -1.0)
    best = np.argsort(-worth, axis=1, kind="stable")[:, :most]
    return np.where(np.take_along_axis(worth, best, axis=1) >= 0, best, -1).astype(np.int32)


@dataclass
class Blend:
    """A policy whose quality can be set: each slot shows another policy's track with a probability.

    Draws hash the session, and those of a smaller share are among those of a larger one, so two blends differ in the
    slots between their shares alone. A track that is on the page already leaves its slot empty. Both parts learn from
    every day; propensities are not told.
    """

    base: Policy
    other: Policy
    share: float

    @property
    def name(self) -> str:
        return f"{self.base.name}+{self.share:g} {self.other.name}"

    @property
    def parts(self) -> tuple[Policy, Policy]:
        return self.base, self.other

    @property
    def hears(self) -> bool:
        return self.base.hears or self.other.hears

    def serve(self, requests: Requests) -> Served:
        first, second = self.base.serve(requests).track, self.other.serve(requests).track
        k = min(first.shape[1], second.shape[1])
        drawn = self.share > uniforms(keys(stream(0, "blend"), requests.key), k).T
        track = np.where(drawn, second[:, :k], first[:, :k])
        track = np.where(without_repeats(track), track, -1).astype(np.int32)
        return Served(track, np.full(track.shape, np.nan), self.name)

    def hear(self, events: pl.DataFrame, now: int) -> None:
        for part in self.parts:
            part.hear(events, now)

    def learn(self, day: LiveDay) -> None:
        for part in self.parts:
            part.learn(day)

    def state(self) -> Arrays:
        parts = (("base", self.base), ("other", self.other))
        return {f"{name}.{key}": value for name, part in parts for key, value in part.state().items()}

    def restore(self, state: Arrays) -> None:
        for name, part in (("base", self.base), ("other", self.other)):
            own = {k.partition(".")[2]: v for k, v in state.items() if k.partition(".")[0] == name}
            part.restore(own)


def learners(policies: Iterable[Policy]) -> list[Policy]:
    """Those that learn, each once: of a blend its parts, which several blends may share."""
    parts = [part for p in policies for part in (learners(p.parts) if isinstance(p, Blend) else [p])]
    return list({id(part): part for part in parts}.values())
