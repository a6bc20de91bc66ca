"""The policies of benchmarks/surrogate.py, named before any of them was run: those whose logs teach, and those judged.

policy = TRAINING["streams"](catalog, listeners); HELD_OUT["short page"](catalog, listeners)

All are policies without a service (recsys/simulation/live). They differ in what pulls streams and satisfaction apart:
what they aim at (starts, streams, finishes, saves, reward), how long their pages are (a long page is played more and
liked less), how much is familiar or new, how well they know the listener, and how much they explore.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recsys.plays import Outcome
from recsys.simulation.catalog import I32, Catalog
from recsys.simulation.listen import Played
from recsys.simulation.live import Linear, LiveDay, Policy, Popular, Random, Requests, Served
from recsys.simulation.live.linear import FEATURES, GENRES, HISTORY, NEW, PER_GENRE, POPULAR
from recsys.simulation.live.policies import Quiet
from recsys.simulation.live.ports import Arrays
from recsys.simulation.rng import F64, keys, stream, uniforms

Aim = Literal["reward", "start", "stream", "finish", "save"]
Group = Literal["popular", "new", "genre", "history"]
ALL: tuple[Group, ...] = ("popular", "new", "genre", "history")
_WIDTH = {"popular": POPULAR, "new": NEW, "genre": GENRES * PER_GENRE, "history": HISTORY}


@dataclass
class Shaped(Linear):
    """The linear policy with another aim, other candidates, or fewer features."""

    aim: Aim = "reward"
    groups: tuple[Group, ...] = ALL
    genres: int = GENRES  # of the listener's most played ones
    used: tuple[int, ...] = tuple(range(FEATURES))  # columns of Linear.features
    rested: bool = False  # never what was among the listener's last plays

    def _candidates(self, requests: Requests) -> I32:
        track = super()._candidates(requests).copy()
        at = 0
        for group, width in _WIDTH.items():
            kept = width if group in self.groups else 0
            kept = min(kept, self.genres * PER_GENRE) if group == "genre" else kept
            track[:, at + kept : at + width] = -1
            at += width
        if self.rested:
            history = self.history[requests.listener]
            track[(track[:, :, None] == history[:, None, :]).any(2)] = -1
        return track

    def features(
        self,
        listener: NDArray[np.int64],
        country: NDArray[np.int64],
        track: NDArray[np.integer],
        day: int,
    ) -> F64:
        x = super().features(listener, country, track, day)
        x[..., [i for i in range(FEATURES) if i not in self.used]] = 0.0
        return x

    def worth(self, played: Played) -> NDArray[np.floating]:
        finished = played.outcome == Outcome.FINISH
        aims: dict[Aim, NDArray[np.floating]] = {
            "reward": played.reward,
            "start": np.ones(len(played.track)),
            "stream": (played.outcome != Outcome.SKIP).astype(np.float64),
            "finish": finished.astype(np.float64),
            "save": played.saved.astype(np.float64),
        }
        return aims[self.aim]


@dataclass
class Mixed(Quiet):
    """A page in so many comes whole from another policy; which, the session's key says."""

    first: Policy
    second: Policy
    share: float = 0.5  # of pages that are the first's
    name: str = "mixed"
    parts: tuple[str, ...] = field(default=("first", "second"), repr=False)

    def serve(self, requests: Requests) -> Served:
        of_first = uniforms(keys(stream(0, "mixed"), requests.key), 1)[0] < self.share
        both = [np.flatnonzero(of_first), np.flatnonzero(~of_first)]
        served = [
            (rows, policy.serve(requests.take(rows)).track)
            for policy, rows in zip((self.first, self.second), both, strict=True)
            if len(rows)
        ]
        track = np.full((len(requests), max((t.shape[1] for _, t in served), default=1)), -1, np.int32)
        for rows, shown in served:
            track[rows, : shown.shape[1]] = shown
        return Served(
            track, np.full(track.shape, np.nan), self.name
        )  # a mixture of orders: propensities unknown

    def learn(self, day: LiveDay) -> None:
        self.first.learn(day)
        self.second.learn(day)

    def state(self) -> Arrays:
        return {
            f"{part}.{name}": array
            for part in self.parts
            for name, array in getattr(self, part).state().items()
        }

    def restore(self, state: Arrays) -> None:
        for part in self.parts:
            mine = {k.removeprefix(f"{part}."): v for k, v in state.items() if k.startswith(f"{part}.")}
            getattr(self, part).restore(mine)


Make = Callable[[Catalog, int], Policy]
FAMOUS, SOUND, NEWNESS = 1, 6, 7
"""Columns of Linear.features: popularity, likeness of the audio features, newness."""


def shaped(
    aim: Aim = "reward",
    epsilon: float = 0.1,
    slots: int = 10,
    groups: tuple[Group, ...] = ALL,
    genres: int = GENRES,
    used: tuple[int, ...] = tuple(range(FEATURES)),
    rested: bool = False,
) -> Make:
    """What makes a `Shaped` of these."""

    def make(catalog: Catalog, listeners: int) -> Shaped:
        policy = Shaped.of(catalog, listeners, epsilon, slots)
        assert isinstance(policy, Shaped)
        policy.aim, policy.groups, policy.genres = aim, groups, genres
        policy.used, policy.rested = used, rested
        return policy

    return make


def half(first: Make, second: Make) -> Make:
    """Every other page is the first's."""
    return lambda catalog, listeners: Mixed(first(catalog, listeners), second(catalog, listeners))


def _random(catalog: Catalog, _: int) -> Policy:
    return Random(catalog)


def _popular(catalog: Catalog, _: int) -> Policy:
    return Popular.of(catalog)


TRAINING: Mapping[str, Make] = {
    "random": _random,
    "popularity": _popular,
    "reward": shaped(),
    "streams": shaped("stream"),
    "history": shaped(groups=("history",)),
    "releases": shaped(groups=("new",)),
    "half random": half(_random, shaped()),
    "long page of starts": shaped("start", slots=20),
}
"""Whose logs the surrogate learns from."""
HELD_OUT: Mapping[str, Make] = {
    "reward, greedy": shaped(epsilon=0.0),
    "reward, exploring": shaped(epsilon=0.3),
    "starts": shaped("start", epsilon=0.0),
    "finishes": shaped("finish", epsilon=0.0),
    "saves": shaped("save", epsilon=0.0),
    "rested": shaped(rested=True),
    "familiar": shaped("stream", groups=("genre", "history")),
    "impersonal": shaped(groups=("popular", "new"), used=(0, FAMOUS, NEWNESS)),
    "by sound": shaped(used=(0, SOUND)),
    "one genre": shaped(groups=("genre",), genres=1),
    "discovery": shaped("save", groups=("new", "genre"), rested=True),
    "short page": shaped(slots=4),
    "long page": shaped(slots=20),
    "half popular": half(_popular, shaped()),
    "genres at random": shaped(epsilon=1.0, groups=("genre",)),
}
"""Whose 28-day return is to be told from their first week, without their logs."""
