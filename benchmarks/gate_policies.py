"""Releases of the gate's benchmark that answer thousands of listeners a second: heads of different worth.

They rank by the features of the linear policy (recsys.simulation.live.linear) and draw by Plackett-Luce, with exact
propensities.

    arms = Arms(Linear.of(...), champion, temperature=.5)
    arms.challenger, arms.placed = head, {listener: arm}

A head ranks by its fixed weights on features that are kept up to date, plus noise of its own for each (listener,
track): with more noise it is worth less. Two heads with equally much noise of different seeds are worth the same and
show different pages.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from recsys.simulation.exposure import without_repeats
from recsys.simulation.listen import HOME
from recsys.simulation.live.day import LiveDay
from recsys.simulation.live.linear import Linear
from recsys.simulation.live.policies import Quiet
from recsys.simulation.live.ports import Requests, Served
from recsys.simulation.rng import F64, U64, keys, stream, uniforms

I64 = NDArray[np.int64]
SLOTS = 10
JUDGED = 5
"""Slots of a page that off-policy data are kept of."""


@dataclass(frozen=True)
class Head:
    """One release: what its scores are.

    Attributes:
        noise: standard deviation of its noise, in those of the scores.
        alike: correlation of its noise with that of all heads of one family (seed 0); the rest is its own.
        stale: features as they were at an earlier time; None: as they are.
    """

    name: str
    weights: F64
    noise: float
    seed: int
    alike: float = 0.92
    stale: Linear | None = None


@dataclass
class Logged:
    """Off-policy data of the champion's pages: rows are pages, columns the first JUDGED slots."""

    key: list[U64] = field(default_factory=list)
    listener: list[I64] = field(default_factory=list)
    item: list[I64] = field(default_factory=list)
    propensity: list[F64] = field(default_factory=list)
    target: dict[str, list[F64]] = field(default_factory=dict)
    reward: list[F64] = field(default_factory=list)


@dataclass
class Arms(Quiet):
    """The champion for all listeners but those placed in the challenger's arm.

    Attributes:
        model: keeps the features.
        spread: standard deviation of the champion's scores over the candidates of a page.
        temperature: of the draw, in the same unit: some of every page is exploration.
        luck: of the draws.
        placed: (listeners,) whether the challenger answers.
        judged: heads whose probabilities of the champion's pages are kept in `logged`.
    """

    model: Linear
    champion: Head
    spread: float
    temperature: float = 0.5
    luck: int = 0
    challenger: Head | None = None
    placed: NDArray[np.bool_] | None = None
    judged: tuple[Head, ...] = ()
    logged: Logged = field(default_factory=Logged)
    name: str = "arms"

    def serve(self, requests: Requests) -> Served:
        track = self.model._candidates(requests)
        usable = (track >= 0) & without_repeats(track)
        safe = np.maximum(track, 0)
        usable &= self.opened(self.model.catalog, requests.day)[safe, requests.country[:, None]]
        x = self.model.features(requests.listener, requests.country, safe, requests.day)
        score = self._scores(self.champion, requests, safe, usable, x)
        if self.challenger is not None and self.placed is not None:
            rows = np.flatnonzero(self.placed[requests.listener])
            part = requests.take(rows)
            score[rows] = self._scores(self.challenger, part, safe[rows], usable[rows], x[rows])
        place, propensity = plackett_luce(score / self.temperature, self._draws(requests), SLOTS)
        shown = np.take_along_axis(safe, place, axis=1)
        shown = np.where(np.isnan(propensity), -1, shown).astype(np.int32)
        for head in self.judged:
            other = self._scores(head, requests, safe, usable, x) / self.temperature
            self.logged.target.setdefault(head.name, []).append(along(other, place[:, :JUDGED]))
        if self.judged:
            self.logged.key.append(requests.key)
            self.logged.listener.append(requests.listener)
            self.logged.item.append(shown[:, :JUDGED].astype(np.int64))
            self.logged.propensity.append(propensity[:, :JUDGED])
        return Served(shown, propensity, self.name)

    def _scores(
        self, head: Head, requests: Requests, track: NDArray[np.integer], usable: NDArray[np.bool_], x: F64
    ) -> F64:
        """(m, c) in standard deviations of the champion's scores; -inf where a candidate may not come."""
        if head.stale is not None:
            x = head.stale.features(requests.listener, requests.country, track, requests.day)
        score = x @ head.weights / self.spread
        if head.noise:
            common, own = (_noise(seed, requests, track) for seed in (0, head.seed))
            score += head.noise * (head.alike * common + np.sqrt(1 - head.alike**2) * own)
        return np.where(usable, score, -np.inf)

    def _draws(self, requests: Requests) -> U64:
        return keys(stream(self.luck, "arms"), requests.key)

    def learn(self, day: LiveDay) -> None:
        """Features move on; the heads' weights are part of a release and stay."""
        shown, played = day.shown, day.played
        if self.judged:
            width = shown.track.shape[1]
            home = played.source == HOME
            reward = np.zeros(len(day.sessions) * width)
            reward[played.session[home] * width + played.slot[home]] = played.reward[home]
            by_page = reward.reshape(-1, width)[shown.session][:, :JUDGED]
            done = sum(map(len, self.logged.reward))
            asked = np.concatenate(self.logged.key)[done:]
            order = np.argsort(day.sessions.key[shown.session])
            at = order[np.searchsorted(day.sessions.key[shown.session][order], asked)]
            self.logged.reward.append(by_page[at])
        self.model.learn(day)

    def apart(self) -> Arms:
        """A copy that moves on by itself; the catalog and what never changes are shared."""
        other = copy.copy(self)
        other.model = moved(self.model)
        other.logged, other._opened = Logged(), None
        return other


def _noise(seed: int, requests: Requests, track: NDArray[np.integer]) -> F64:
    """(m, c) of mean 0 and variance 1, a function of (seed, listener, day, track): what one head has shown so far
    makes the next day's pages of no head staler than another's."""
    root = keys(stream(seed, "head"), requests.listener, requests.day)
    u = uniforms(keys(root[:, None], track.astype(np.int64)).ravel(), 1)[0]
    return np.asarray(np.sqrt(12) * (u.reshape(track.shape) - 0.5))


def moved(model: Linear) -> Linear:
    """A copy of a model's state."""
    other = copy.copy(model)
    other.restore({name: value.copy() for name, value in model.state().items()})
    return other


def plackett_luce(score: F64, key: U64, slots: int) -> tuple[I64, F64]:
    """(m, slots) candidates drawn without replacement in proportion to exp(score), and their conditional propensities.

    By Gumbel noise on the scores (Plackett-Luce as the order of perturbed scores: Yellott 1977).
    """
    u = uniforms(keys(key[:, None], np.arange(score.shape[1])).ravel(), 1)[0].reshape(score.shape)
    noisy = score - np.log(-np.log(u))
    place = np.argpartition(-noisy, slots, axis=1)[:, :slots]
    order = np.argsort(-np.take_along_axis(noisy, place, axis=1), axis=1, kind="stable")
    place = np.take_along_axis(place, order, axis=1)
    return place, along(score, place)


def along(score: F64, place: I64) -> F64:
    """(m, slots) probability of each placed candidate given those before it; nan where it may not come."""
    top = np.max(score, axis=1, initial=-1e9, keepdims=True)
    weight = np.exp(score - top)
    out = np.empty(place.shape)
    rows = np.arange(len(score))
    for slot in range(place.shape[1]):
        own, total = weight[rows, place[:, slot]], weight.sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            out[:, slot] = np.where(own > 0, own / total, np.nan)
        weight[rows, place[:, slot]] = 0.0
    return out
