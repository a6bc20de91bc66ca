"""Session starts kept for evaluation, with the listener's hidden state at that moment.

Written by the log generator inside the evaluation window; read only by `recsys.simulation.truth`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys.simulation.audio import F32
from recsys.simulation.catalog import I32
from recsys.simulation.memory import Memory
from recsys.simulation.population import Listeners
from recsys.simulation.profiles import Profile
from recsys.simulation.rng import F64, keys, stream, uniforms
from recsys.simulation.sessions import Sessions

KEEP = 8_000
"""About how many session starts one world keeps."""


@dataclass(frozen=True)
class ProbeSample:
    """m session starts."""

    listener: NDArray[np.int64]
    day: NDArray[np.int64]
    nth: NDArray[np.int64]
    now: NDArray[np.int64]  # UTC ms
    hour: F64
    device: NDArray[np.int64]
    country: NDArray[np.int64]
    lead: NDArray[np.int64]
    weights: F64  # (m, TASTES)
    preference: F32  # (m, LATENT)
    mood: F64  # (m, 2)
    track: I32  # (m, L) the listener's library, memory.EMPTY where unused
    slow: F32  # (m, L)
    fatigue: F32  # (m, L)

    def __len__(self) -> int:
        return len(self.listener)

    def take(self, rows: NDArray[np.integer]) -> ProbeSample:
        return ProbeSample(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def sample(
    profile: Profile, listeners: Listeners, memory: Memory, planned: Sessions, day: int
) -> ProbeSample:
    """A hash-chosen share of today's session starts, so that a world keeps about KEEP of them."""
    expected = profile.listeners * 0.28 * (profile.days - profile.split_day)
    kept = uniforms(keys(stream(profile.seed, "probe"), planned.key), 1)[0] < KEEP / max(expected, 1.0)
    row = planned.row[kept]
    return ProbeSample(
        listener=listeners.index[row],
        day=np.full(len(row), day),
        nth=planned.nth[kept],
        now=planned.start[kept],
        hour=planned.hour[kept],
        device=planned.device[kept],
        country=planned.country[kept],
        lead=planned.lead[kept],
        weights=planned.weights[kept],
        preference=planned.preference[kept],
        mood=planned.mood[kept],
        track=memory.track[row],
        slow=memory.slow[row],
        fatigue=memory.fatigue[row],
    )


def save_samples(path: Path, samples: list[ProbeSample]) -> None:
    """All samples in one file, in order of listener and time."""
    columns = {f.name: np.concatenate([getattr(s, f.name) for s in samples]) for f in fields(ProbeSample)}
    order = np.lexsort((columns["now"], columns["listener"]))
    np.savez(path, allow_pickle=False, **{name: column[order] for name, column in columns.items()})


def load_samples(path: Path) -> ProbeSample:
    with np.load(path) as stored:
        return ProbeSample(**{f.name: stored[f.name] for f in fields(ProbeSample)})
