"""What the pages of a day were truly worth, on a sample of them that is the same for every policy.

true_value(pi) = (V(pi) - V(random)) / (V(oracle) - V(random)), the definitions of recsys.simulation.truth, here with
each listener's hidden state at the moment of the request; the exploration loss is the value of the page that the policy
would have shown without exploring, less that of the one it showed, on the same scale.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from recsys.simulation import truth
from recsys.simulation.live.day import LiveDay
from recsys.simulation.live.world import LiveWorld
from recsys.simulation.probes import ProbeSample
from recsys.simulation.rng import F64, keys, stream, uniforms
from recsys.simulation.sessions import Sessions
from recsys.simulation.truth import Probes

I64 = NDArray[np.int64]
_BLOCK = 64


@dataclass(frozen=True)
class Values:
    """p pages whose value was computed; `key` (of the session) pairs them between policies."""

    listener: I64
    key: NDArray[np.uint64]
    served: F64
    random: F64
    oracle: F64
    greedy: F64  # nan where the policy did not say

    def __len__(self) -> int:
        return len(self.listener)

    @property
    def true_value(self) -> float:
        """Ratio of means; nan without pages."""
        return _ratio(self.served - self.random, self.oracle - self.random)

    @property
    def exploration_loss(self) -> float:
        """What exploration cost, as a share of the room between random and oracle; nan where unknown."""
        said = np.isfinite(self.greedy)
        return _ratio((self.greedy - self.served)[said], (self.oracle - self.random)[said])


def measured(world: LiveWorld, planned: Sessions, about: int) -> NDArray[np.bool_]:
    """(m,) which sessions' pages are valued: by a hash of (listener, day, number), so that policies agree."""
    expected = max(len(world.listeners) * 0.15, 1.0)  # home pages on a usual day
    u = uniforms(keys(stream(world.seed, "valued"), planned.key), 1)[0] if len(planned) else np.zeros(0)
    return np.asarray((u < about / expected) & planned.home)


def values_of(world: LiveWorld, day: LiveDay) -> Values:
    """Values of the measured pages of a day that has not been remembered yet."""
    rows = np.flatnonzero(day.shown.measured)
    parts = [_block(world, day, rows[at : at + _BLOCK]) for at in range(0, len(rows), _BLOCK)]
    if not parts:
        return _none()
    return Values(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Values)))


def _block(world: LiveWorld, day: LiveDay, rows: I64) -> Values:
    shown, sessions = day.shown, day.sessions
    at = shown.session[rows]
    hidden, probes = world.hidden, _probes(_sample(world, day, at))
    everyone = np.arange(len(rows))
    utility, eligible = hidden.utilities(probes, everyone), hidden.eligible(probes, everyone)
    column = np.empty(len(world.catalog), np.int64)
    column[hidden.order] = np.arange(len(column))
    artist, k = hidden.artist, shown.track.shape[1]

    def worth(track: NDArray[np.integer]) -> F64:
        return truth.slate_values(utility, np.where(track >= 0, column[track], -1), artist)

    greedy = shown.greedy[rows]
    oracle = truth.oracle_slates(utility, eligible, artist, k)
    return Values(
        listener=world.listeners.index[sessions.row[at]],
        key=sessions.key[at],
        served=worth(shown.track[rows]),
        random=truth.random_values(utility, eligible, artist, k),
        oracle=truth.slate_values(utility, oracle, artist),
        greedy=np.where((greedy >= 0).any(1), worth(greedy), np.nan),
    )


def _sample(world: LiveWorld, day: LiveDay, at: I64) -> ProbeSample:
    """The hidden state of some sessions, as the log generator keeps it for its probes."""
    s, memory = day.sessions, world.memory
    row = s.row[at]
    return ProbeSample(
        listener=world.listeners.index[row],
        day=np.full(len(at), day.day),
        nth=s.nth[at],
        now=s.start[at],
        hour=s.hour[at],
        device=s.device[at],
        country=s.country[at],
        lead=s.lead[at],
        weights=s.weights[at],
        preference=s.preference[at],
        mood=s.mood[at],
        track=memory.track[row],
        slow=memory.slow[row],
        fatigue=memory.fatigue[row],
    )


def _probes(state: ProbeSample) -> Probes:
    """Only the hidden state: what a service would see of these sessions, policies have seen already."""
    none: list[str] = []
    hour = np.floor(state.hour).astype(np.int64) % 24
    return Probes(none, state.now, none, none, hour, none, np.zeros(len(state), bool), state)


def _ratio(gain: F64, room: F64) -> float:
    return float(gain.mean() / room.mean()) if len(gain) else float("nan")


def _none() -> Values:
    nothing = np.zeros(0)
    return Values(np.zeros(0, np.int64), np.zeros(0, np.uint64), nothing, nothing, nothing, nothing)
