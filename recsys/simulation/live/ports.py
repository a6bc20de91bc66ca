"""How live listeners meet whoever recommends: a batch of requests in, slates out, and what came of it back.

A policy is any object with these methods; the real pipeline, an HTTP client and the small policies of
`recsys.simulation.live.policies` all are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.simulation.catalog import I32
from recsys.simulation.live.day import LiveDay
from recsys.simulation.rng import F64, U64

I64 = NDArray[np.int64]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Requests:
    """m listeners who open the home page within one tick; one row each, nothing hidden among the columns."""

    day: int  # simulated day
    listener: I64  # number in the world
    user_id: NDArray[np.object_]  # public id
    session_id: NDArray[np.object_]
    key: U64  # of the session: the counter (listener, day, number) that draws may depend on
    now: I64  # UTC ms
    hour: I64  # local
    country: I64  # number in catalog.CODES
    device: I64  # number in population.DEVICES
    incognito: NDArray[np.bool_]
    measured: NDArray[np.bool_]  # of those the true value is computed: `Served.greedy` is asked for

    def __len__(self) -> int:
        return len(self.listener)

    def take(self, rows: I64) -> Requests:
        """Some of the requests, in the given order."""
        return Requests(self.day, *(getattr(self, name)[rows] for name in _COLUMNS))


_COLUMNS = [name for name in Requests.__dataclass_fields__ if name != "day"]


@dataclass(frozen=True)
class Served:
    """One slate a request; slots in the order in which they are looked at."""

    track: I32  # (m, k) track numbers of the world; -1: an empty slot
    propensity: F64  # (m, k) P(track at the slot | all before it); nan where the policy does not say
    policy: str
    greedy: I32 | None = None  # (m, k) what it would have shown without exploration; -1 rows where not asked
    request_id: NDArray[np.object_] | None = None  # (m,) of the server's; None: derived from the session
    shelf: NDArray[np.object_] | None = None  # (m, k)
    reason: NDArray[np.object_] | None = None  # (m, k)


class Policy(Protocol):
    """Whoever recommends to live listeners."""

    @property
    def name(self) -> str: ...

    @property
    def hears(self) -> bool:
        """Whether `hear` is wanted: events are built only then."""
        ...

    def serve(self, requests: Requests) -> Served:
        """Slates of a batch; each depends on its own request alone, never on the others of the batch."""
        ...

    def hear(self, events: pl.DataFrame, now: int) -> None:
        """What listeners sent up to `now` (UTC ms), as rows of the events table; before the next `serve`."""
        ...

    def learn(self, day: LiveDay) -> None:
        """After each simulated day, everything that happened on it, in order of listener and session."""
        ...

    def state(self) -> Arrays:
        """What `restore` needs to go on from the end of this day."""
        ...

    def restore(self, state: Arrays) -> None:
        """Back to the end of an earlier day."""
        ...
