"""The hidden world, for evaluation only: true utilities of tracks, values of slates, exact outcome probabilities.

Behind the truth wall: only simulation, evaluation, benchmarks and tests may import this module.

Reward of one slate, the listener's state frozen at request time:
    V = Σ_j examine(j) · (utility(track_j) − SATIATION · [tracks of the same artist in slots before j])
Tracks are columns in order of track_id, as in `recsys.items.Items`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recsys.errors import NotReady
from recsys.home import Home
from recsys.ids import public_id
from recsys.simulation import behaviour
from recsys.simulation.audio import F32
from recsys.simulation.behaviour import examine
from recsys.simulation.catalog import CODES, COUNTRIES, EVER, Catalog, track_ids
from recsys.simulation.memory import EMPTY
from recsys.simulation.population import DEVICES, TASTES, Listeners, make_listeners
from recsys.simulation.probes import ProbeSample, load_samples
from recsys.simulation.profiles import Profile
from recsys.simulation.rng import F64
from recsys.simulation.sessions import DAY_STARTS, MS_PER_DAY

SATIATION = 0.08
"""Utility lost by a track for each earlier slot of the slate that holds the same artist."""
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Probes:
    """n session starts of the evaluation window, as a service sees them; hidden state stays in `state`."""

    user_id: list[str]
    now: I64  # UTC ms
    country: list[str]
    tz: list[str]
    hour: NDArray[np.int64]  # local, 0..23
    device: list[str]
    new: NDArray[np.bool_]  # joined after the split
    state: ProbeSample

    def __len__(self) -> int:
        return len(self.user_id)


@dataclass(frozen=True)
class World:
    """One simulated world with everything a service must not know."""

    profile: Profile
    catalog: Catalog
    samples: ProbeSample

    @classmethod
    def load(cls, home: Home) -> World:
        """Raises NotReady where the home was not simulated."""
        if not (home.world / "probes.npz").exists():
            raise NotReady(f"no simulated world under {home.root}: run `recsys simulate` first")
        profile = Profile.model_validate_json((home.world / "profile.json").read_text())
        return cls(profile, Catalog.load(home.world / "catalog.npz"), load_samples(home.world / "probes.npz"))

    @cached_property
    def order(self) -> I64:
        """(n_tracks,) simulated track number of each column."""
        return np.argsort(np.array(track_ids(self.profile.seed, len(self.catalog))), kind="stable")

    @cached_property
    def track_ids(self) -> list[str]:
        """Public id of each column."""
        ids = track_ids(self.profile.seed, len(self.catalog))
        return [ids[i] for i in self.order]

    @cached_property
    def artist(self) -> I64:
        """(n_tracks,) artist number of each column."""
        return self.catalog.artist[self.order].astype(np.int64)

    @cached_property
    def epoch_ms(self) -> int:
        """UTC midnight of day 0."""
        return (self.profile.start.toordinal() - 719_163) * MS_PER_DAY

    @property
    def split_ms(self) -> int:
        """Start of the evaluation window: UTC midnight of the first day of the last fifth."""
        return self.epoch_ms + self.profile.split_day * MS_PER_DAY

    def probes(self, n: int, seed: int) -> Probes:
        """A fixed sample of at most n real session starts after the split (new listeners in proportion)."""
        after = np.flatnonzero(self.samples.now >= self.split_ms)
        chosen = np.sort(np.random.default_rng(seed).permutation(after)[:n])
        state = self.samples.take(chosen)
        listeners = self._listeners(state.listener)
        offset = np.array([h for _, h, _ in COUNTRIES.values()])[state.country]
        joined = self.epoch_ms + listeners.join_day * MS_PER_DAY + (DAY_STARTS - offset) * 3_600_000
        zones = [tz for tz, _, _ in COUNTRIES.values()]
        return Probes(
            user_id=[public_id("sim", f"{self.profile.seed}:user:{i}") for i in state.listener],
            now=state.now,
            country=[CODES[c] for c in state.country],
            tz=[zones[c] for c in state.country],
            hour=np.floor(state.hour).astype(np.int64) % 24,
            device=[DEVICES[d] for d in state.device],
            new=(listeners.join_day > 0) & (joined >= self.split_ms),
            state=state,
        )

    def _listeners(self, index: I64) -> Listeners:
        return make_listeners(self.profile, self.catalog, index)

    def eligible(self, probes: Probes, rows: I64) -> NDArray[np.bool_]:
        """(len(rows), n_tracks) tracks that may be shown to the probe's listener at that time."""
        day = (probes.state.now[rows] - self.epoch_ms) / MS_PER_DAY
        country = probes.state.country[rows]
        since, until = self.catalog.since[self.order], self.catalog.until[self.order]
        begun = (since.T[country] <= day[:, None]) | (since.T[country] == -EVER)
        open_: NDArray[np.bool_] = begun & (day[:, None] < until.T[country])
        return open_

    def utilities(self, probes: Probes, rows: I64) -> F32:
        """(len(rows), n_tracks) expected reward of a play of each track, the probe's hidden state known."""
        z, known = self._scores(probes.state.take(rows))
        return behaviour.utility(z, known).astype(np.float32)

    def outcome_probabilities(self, probes: Probes, rows: I64, tracks: I64) -> F32:
        """(len(rows), k, 3) true P(finish), P(skip before 30 s), P(save) of plays from a recommendation.

        Args:
            tracks: (len(rows), k) columns.
        """
        z, known = self._scores(probes.state.take(rows))
        z, known = np.take_along_axis(z, tracks, axis=1), np.take_along_axis(known, tracks, axis=1)
        return np.stack(behaviour.outcome_probabilities(z, known), axis=2).astype(np.float32)

    def play_probabilities(self, probes: Probes, rows: I64, tracks: I64) -> F32:
        """(len(rows), k) true P(play) of home slots looked at; `tracks` as in outcome_probabilities."""
        z, _ = self._scores(probes.state.take(rows))
        return behaviour.click(np.take_along_axis(z, tracks, axis=1)).astype(np.float32)

    def long_term_utilities(self, probes: Probes, rows: I64) -> F32:
        """The same for one who knows long-term taste, context and library, but neither today's mood nor fatigue.

        Exact expectation over the taste that leads the session; the mood at its mean for the hour.
        """
        state = probes.state.take(rows)
        listeners = self._listeners(state.listener)
        tastes = _tastes(listeners, state.day)
        total = np.zeros((len(rows), len(self.catalog)), np.float32)
        for lead in range(TASTES):
            preference = behaviour.leading_vector(tastes, state.weights, np.full(len(rows), lead))
            z, known = self._scores(
                state, preference.astype(np.float32), behaviour.hour_mood(state.hour), rested=True
            )
            total += (state.weights[:, lead, None] * behaviour.utility(z, known)).astype(np.float32)
        return total

    def _scores(
        self, state: ProbeSample, preference: F32 | None = None, mood: F64 | None = None, rested: bool = False
    ) -> tuple[F64, NDArray[np.bool_]]:
        """(m, n_tracks) score z of every track in each state, and whether the listener knows it."""
        listeners, catalog, n = self._listeners(state.listener), self.catalog, len(self.catalog)
        slow, fatigue = np.zeros((len(state), n), np.float32), np.zeros((len(state), n), np.float32)
        row, at = np.nonzero(state.track != EMPTY)
        slow[row, state.track[row, at]] = state.slow[row, at]
        known = np.zeros((len(state), n), bool)
        known[row, state.track[row, at]] = True
        if not rested:
            fatigue[row, state.track[row, at]] = state.fatigue[row, at]
        z = behaviour.score(
            (state.preference if preference is None else preference) @ catalog.latent.T,
            (state.mood if mood is None else mood) @ catalog.mood.T.astype(np.float64),
            catalog.quality[None, :],
            slow,
            fatigue,
            listeners.novelty[:, None],
            (listeners.patience + behaviour.DEVICE_SHIFT[state.device])[:, None],
        )
        return z[:, self.order], known[:, self.order]


def _tastes(listeners: Listeners, day: I64) -> F32:
    """(m, TASTES, LATENT) tastes of each listener on its own day."""
    out = np.empty_like(listeners.taste)
    for d in np.unique(day):
        rows = np.flatnonzero(day == d)
        out[rows] = listeners.tastes_on(rows, int(d))
    return out


def slate_values(utility: NDArray[np.floating], slates: I64, artist: I64) -> F64:
    """(m,) value of one slate per row; -1 in a slate is an empty slot.

    Args:
        utility: (m, n_tracks). slates: (m, k) columns. artist: (n_tracks,) artist of each column.
    """
    filled = slates >= 0
    tracks = np.where(filled, slates, 0)
    gain = np.take_along_axis(np.asarray(utility, np.float64), tracks, axis=1)
    by = np.where(filled, artist[tracks], -1 - np.arange(slates.shape[1]))
    before = np.tril((by[:, :, None] == by[:, None, :]).astype(np.float64), -1).sum(2)
    worth = np.where(filled, gain - SATIATION * before, 0.0)
    out: F64 = worth @ examine(np.arange(slates.shape[1]))
    return out


def oracle_slates(utility: NDArray[np.floating], eligible: NDArray[np.bool_], artist: I64, k: int) -> I64:
    """(m, k) greedy best slates: each slot takes the eligible track worth most given those before.

    Exact where no artist repeats among the best (the reward is then additive and examination falls with the
    slot); else greedy, checked against brute force in the tests.
    """
    worth = np.where(eligible, np.asarray(utility, np.float64), -np.inf)
    pool = np.argsort(-worth, axis=1, kind="stable")[:, : 30 * k]
    worth, by = np.take_along_axis(worth, pool, axis=1), artist[pool]
    rows, out = np.arange(len(worth)), np.empty((len(worth), k), np.int64)
    for slot in range(k):
        best = np.argmax(worth, axis=1)
        out[:, slot] = np.where(np.isfinite(worth[rows, best]), pool[rows, best], -1)
        worth[by == by[rows, best][:, None]] -= SATIATION
        worth[rows, best] = -np.inf
    return out


def random_values(utility: NDArray[np.floating], eligible: NDArray[np.bool_], artist: I64, k: int) -> F64:
    """(m,) exact expected value of a slate drawn uniformly without replacement from the eligible tracks.

    Any slot is a uniform draw; two given slots hold the same artist with probability Σ_a c_a (c_a − 1) / (n (n−1)).
    """
    n = eligible.sum(1).astype(np.float64)
    mean = np.where(eligible, utility, 0).sum(1, dtype=np.float64) / np.maximum(n, 1)
    sizes = np.stack([np.bincount(artist[row], minlength=int(artist.max()) + 1) for row in eligible])
    same = (sizes * (sizes - 1.0)).sum(1) / np.maximum(n * (n - 1), 1)
    look = examine(np.arange(k))
    out: F64 = mean * look.sum() - SATIATION * same * (look @ np.arange(k))
    return out


@dataclass(frozen=True)
class TrueValue:
    """`value` = (V(π) − V(random)) / (V(oracle) − V(random)), with a paired bootstrap interval over probes."""

    value: float
    low: float
    high: float


def true_value(policy: F64, random: F64, oracle: F64, draws: int = 1_000, seed: int = 0) -> TrueValue:
    """Ratio of means over one fixed sample of probes; all arrays (n,), one slate value per probe."""
    gain, room = policy - random, oracle - random
    resampled = _resample(len(policy), draws, seed)
    ratios = (resampled @ gain) / (resampled @ room)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return TrueValue(float(gain.mean() / room.mean()), float(low), float(high))


def true_value_difference(
    a: F64, b: F64, random: F64, oracle: F64, draws: int = 1_000, seed: int = 0
) -> TrueValue:
    """True value of policy a minus that of policy b, paired on the same probes."""
    return true_value(a - b + random, random, oracle, draws, seed)


def _resample(n: int, draws: int, seed: int) -> F64:
    """(draws, n) bootstrap weights: how often each probe is drawn (Efron 1979)."""
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)
    return np.asarray(weights, np.float64)
