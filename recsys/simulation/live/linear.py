"""A linear policy on features that a service has: ridge regression of rewards, with epsilon-greedy slots.

policy = Linear.of(catalog, listeners=n, epsilon=0.1)

Candidates of a listener: what is popular where they are, new releases, the popular tracks of their three most played
genres, and what they played of late. Features: popularity, shares of genre and artist among their plays, likeness of
the audio features, newness, how often it was among their last plays. The weights are fitted to the reward of every
slot that was seen (0 where it was not played), day by day, with forgetting. Linear Q-learning without a horizon;
with epsilon 0 it is the greedy policy whose exposure feeds on itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from recsys.plays import Outcome
from recsys.simulation.audio import F32
from recsys.simulation.catalog import CODES, I32, Catalog
from recsys.simulation.exposure import without_repeats
from recsys.simulation.listen import HOME, Played
from recsys.simulation.live.day import LiveDay
from recsys.simulation.live.policies import Quiet, counted, popular
from recsys.simulation.live.ports import Arrays, Requests, Served
from recsys.simulation.rng import F64, U64, keys, stream, uniforms

I64 = NDArray[np.int64]
POPULAR, NEW, PER_GENRE, GENRES, HISTORY = 80, 40, 40, 3, 40
"""Candidates of each kind; GENRES x PER_GENRE of the listener's genres."""
NEW_DAYS = 30
BUCKETS = 256
"""Artists are hashed into so many places of a listener's profile."""
FEATURES = 8
RIDGE, FORGET = 10.0, 0.98
KEPT = 0.98
"""Share of a listener's profile that is left after a day on which they played."""


@dataclass
class Linear(Quiet):
    """See the module; `weights` are those of FEATURES."""

    catalog: Catalog
    counts: F32  # (countries, n) decayed plays
    genre: F32  # (listeners, leaves) decayed plays that were not skipped
    artist: F32  # (listeners, BUCKETS) the same
    audio: F32  # (listeners, audio features) decayed sum over plays
    history: I32  # (listeners, HISTORY) tracks played, newest last; -1 where none
    gram: F64 = field(default_factory=lambda: RIDGE * np.eye(FEATURES))
    moment: F64 = field(default_factory=lambda: np.zeros(FEATURES))
    epsilon: float = 0.1
    slots: int = 10
    name: str = "linear"
    _pools: tuple[int, I32, I32] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, catalog: Catalog, listeners: int, epsilon: float = 0.1, slots: int = 10) -> Linear:
        """Before the first play."""

        def zeros(width: int) -> F32:
            return np.zeros((listeners, width), np.float32)

        return cls(
            catalog,
            np.zeros((len(CODES), len(catalog)), np.float32),
            zeros(len(catalog.leaf_parent)),
            zeros(BUCKETS),
            zeros(catalog.audio.shape[1]),
            np.full((listeners, HISTORY), -1, np.int32),
            epsilon=epsilon,
            slots=slots,
            name="linear" if epsilon else "linear_greedy",
        )

    def __post_init__(self) -> None:
        super().__post_init__()
        spread = np.maximum(self.catalog.audio.std(0), 1e-6)
        self._audio = ((self.catalog.audio - self.catalog.audio.mean(0)) / spread).astype(np.float32)

    @property
    def weights(self) -> F64:
        """(FEATURES,) ridge solution so far."""
        return np.asarray(np.linalg.solve(self.gram, self.moment))

    def serve(self, requests: Requests) -> Served:
        track = self._candidates(requests)
        usable = (track >= 0) & without_repeats(track)
        safe = np.maximum(track, 0)
        usable &= self.opened(self.catalog, requests.day)[safe, requests.country[:, None]]
        x = self.features(requests.listener, requests.country, safe, requests.day)
        score = np.where(usable, np.einsum("mcf,f->mc", x, self.weights), -np.inf)
        place, propensity = epsilon_greedy(score, self.epsilon, requests.key, self.slots)
        shown = np.where(np.isnan(propensity), -1, np.take_along_axis(track, place, axis=1)).astype(np.int32)
        return Served(shown, propensity, self.name, best(track, score, self.slots))

    def _candidates(self, requests: Requests) -> I32:
        """(m, POPULAR + NEW + GENRES * PER_GENRE + HISTORY) tracks; -1 and repeats among them."""
        if self._pools is None or self._pools[0] != requests.day:
            self._pools = requests.day, self._shared(requests.day), self._by_genre(requests.day)
        _, shared, by_genre = self._pools
        mine = np.argsort(-self.genre[requests.listener], axis=1, kind="stable")[:, :GENRES]
        own = by_genre[requests.country[:, None], mine].reshape(len(requests), -1)
        parts = [shared[requests.country], own, self.history[requests.listener]]
        return np.concatenate(parts, axis=1)

    def _shared(self, day: int) -> I32:
        """(countries, POPULAR + NEW)."""
        open_ = self.opened(self.catalog, day)
        age = day - self.catalog.release
        fresh = open_ & ((age >= 0) & (age < NEW_DAYS))[:, None]
        return np.concatenate(
            [popular(self.counts, open_, POPULAR), popular(self.counts, fresh, NEW)], axis=1
        )

    def _by_genre(self, day: int) -> I32:
        """(countries, leaves, PER_GENRE)."""
        open_ = self.opened(self.catalog, day)
        return np.stack([self._of_genre(open_, g) for g in range(len(self.catalog.leaf_parent))], axis=1)

    def _of_genre(self, open_: NDArray[np.bool_], genre: int) -> I32:
        """(countries, PER_GENRE): only the genre's own tracks are put in order."""
        mine = np.flatnonzero(self.catalog.leaf == genre)
        place = popular(self.counts[:, mine], open_[mine], PER_GENRE)
        best = np.full((len(place), PER_GENRE), -1, np.int32)
        best[:, : place.shape[1]] = np.where(place >= 0, mine[place] if len(mine) else -1, -1)
        return best

    def features(self, listener: I64, country: I64, track: NDArray[np.integer], day: int) -> F64:
        """(m, c, FEATURES) of tracks (m, c) for listeners (m,)."""
        row, leaf = listener[:, None], self.catalog.leaf[track]
        bucket = self.catalog.artist[track] % BUCKETS
        total = np.maximum(self.genre[listener].sum(1), 1.0)[:, None]
        likes = self._audio[track]
        mean = self.audio[listener] / total
        age = day - self.catalog.release[track]
        fame = np.log1p(self.counts[country[:, None], track])
        genre, artist = self.genre[row, leaf] / total, self.artist[row, bucket] / total
        again = (self.history[listener][:, None, :] == track[:, :, None]).sum(2)
        columns = [
            np.ones(track.shape),
            0.2 * fame,
            genre,
            np.sqrt(genre),
            np.sqrt(artist),
            np.minimum(again, 3) / 3,
            np.einsum("mca,ma->mc", likes, mean),
            ((age >= 0) & (age < NEW_DAYS)).astype(np.float64),
        ]
        return np.stack(columns, axis=2).astype(np.float64)

    def learn(self, day: LiveDay) -> None:
        self._fit(day)
        self.counts = counted(self.counts, day)
        played = day.played
        heard = played.outcome != Outcome.SKIP
        listener = day.sessions.row[played.session[heard]]
        track = played.track[heard]
        here = np.unique(listener)
        for profile in (self.genre, self.artist, self.audio):
            profile[here] *= np.float32(KEPT)
        np.add.at(self.genre, (listener, self.catalog.leaf[track]), np.float32(1))
        np.add.at(self.artist, (listener, self.catalog.artist[track] % BUCKETS), np.float32(1))
        np.add.at(self.audio, listener, self._audio[track])
        self.history = remembered(self.history, listener, track)

    def worth(self, played: Played) -> NDArray[np.floating]:
        """(plays,) what the weights learn to foretell; a policy with another aim says another."""
        return played.reward

    def _fit(self, day: LiveDay) -> None:
        """Adds the day's seen slots to the regression, with the features that they were served with."""
        shown, played = day.shown, day.played
        row, slot = np.nonzero(shown.seen)
        session, track = shown.session[row], shown.track[row, slot]
        width = shown.track.shape[1]
        home = played.source == HOME
        reward = np.zeros(len(day.sessions) * width)
        reward[played.session[home] * width + played.slot[home]] = self.worth(played)[home]
        listener, country = day.sessions.row[session], day.sessions.country[session]
        x = self.features(listener, country, track[:, None], day.day)[:, 0]
        self.gram = (
            FORGET * self.gram + np.einsum("nf,ng->fg", x, x) + (1 - FORGET) * RIDGE * np.eye(FEATURES)
        )
        self.moment = FORGET * self.moment + np.einsum("nf,n->f", x, reward[session * width + slot])

    def state(self) -> Arrays:
        return {name: getattr(self, name) for name in _STATE}

    def restore(self, state: Arrays) -> None:
        for name in _STATE:
            setattr(self, name, state[name])
        self._pools = None


_STATE = ("counts", "genre", "artist", "audio", "history", "gram", "moment")


def epsilon_greedy(score: F64, epsilon: float, key: U64, slots: int) -> tuple[I64, F64]:
    """Fills `slots` slots of m pages: with probability epsilon any candidate that is left, else the best.

    Args:
        score: (m, c); -inf where a candidate may not come.

    Returns:
        (m, slots) candidate numbers and their exact conditional propensities; nan where none was left.
    """
    m, rows = len(score), np.arange(len(score))
    left, worth = np.isfinite(score), score.copy()
    u = uniforms(keys(stream(0, "epsilon"), key), 2 * slots).reshape(slots, 2, m)
    place, propensity = np.zeros((m, slots), np.int64), np.full((m, slots), np.nan)
    for slot in range(slots if m else 0):
        count = left.sum(1)
        top = np.argmax(worth, axis=1)
        pick = np.floor(u[slot, 1] * np.maximum(count, 1)).astype(np.int64)
        any_ = np.argmax(np.cumsum(left, axis=1) > pick[:, None], axis=1)
        chosen = np.where(u[slot, 0] < epsilon, any_, top)
        there = count > 0
        p = epsilon / np.maximum(count, 1) + (1 - epsilon) * (chosen == top)
        place[:, slot], propensity[:, slot] = chosen, np.where(there, p, np.nan)
        left[rows, chosen] = False
        worth[rows, chosen] = -np.inf
    return place, propensity


def remembered(history: I32, listener: I64, track: I32) -> I32:
    """(listeners, HISTORY) last plays after some more, which come in order of listener and time."""
    width = history.shape[1]
    count = np.bincount(listener, minlength=len(history))
    at = np.arange(width) + np.minimum(count, width)[:, None]
    kept = np.take_along_axis(history, np.minimum(at, width - 1), axis=1)
    out = np.where(at < width, kept, -1).astype(np.int32)
    ends = np.cumsum(count)
    from_end = ends[listener] - 1 - np.arange(len(listener))
    new = from_end < width
    out[listener[new], width - 1 - from_end[new]] = track[new]
    return out


def best(track: I32, score: F64, slots: int) -> I32:
    """(m, slots) the tracks of the highest scores; -1 where fewer are finite."""
    place = np.argsort(-score, axis=1, kind="stable")[:, :slots]
    there = np.isfinite(np.take_along_axis(score, place, axis=1))
    return np.where(there, np.take_along_axis(track, place, axis=1), -1).astype(np.int32)
