"""Days of a live population under one policy: serve -> react -> tell -> remember -> learn.

world = LiveWorld.at(profile, catalog, profile.split_day)
for figures in days(world, Popular.of(world), LiveSettings(), 14): ...

A day is cut into ticks: all listeners whose session starts within one are asked in one batch (or in several of at
most `batch`) and react in one numpy pass. What they do reaches the policy at the end of the tick in which it
happened. Simulated days are local (04:00 to 04:00, as in the logs), so the service sees day d of every country before
day d + 1 of any.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from recsys.errors import BadInput
from recsys.simulation.listen import Played
from recsys.simulation.live.day import OPENED_MS, LiveDay, Shown, joined, react, take
from recsys.simulation.live.events import events_of
from recsys.simulation.live.figures import DayFigures, Ledger
from recsys.simulation.live.ports import Policy, Requests, Served
from recsys.simulation.live.values import Values, measured, values_of
from recsys.simulation.live.world import LiveWorld, session_ids
from recsys.simulation.market import Market
from recsys.simulation.sessions import Sessions

I64 = NDArray[np.int64]
MS_PER_MINUTE = 60_000
ONE_SESSION_MINUTES = 45
"""Two sessions of a listener start at least so long apart: a shorter tick holds one of them at most."""


class LiveSettings(BaseModel):
    """How live listeners are run; none of it changes what a listener would do to a given slate."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    slots: int = Field(10, ge=1, le=60, description="slots of the home page that listeners look at")
    tick_minutes: int = Field(30, ge=1, le=10_080, description="10080: most days in one batch")
    batch: int = Field(4096, ge=1, description="sessions asked for and reacted to at once; changes no row")
    measured: int = Field(150, ge=0, description="about how many pages a day have their true value computed")


@dataclass
class Clock:
    """Seconds spent on each part of the run."""

    seconds: dict[str, float] = field(default_factory=dict)
    _at: float = field(default_factory=time.perf_counter)

    def lap(self, part: str | None) -> None:
        """Books the time since the last lap under a part; None books it nowhere."""
        now = time.perf_counter()
        if part is not None:
            self.seconds[part] = self.seconds.get(part, 0.0) + now - self._at
        self._at = now


@dataclass(frozen=True)
class Lived:
    """One day that is over."""

    day: LiveDay
    figures: DayFigures
    values: Values | None


def days(
    world: LiveWorld,
    policy: Policy,
    settings: LiveSettings,
    count: int,
    ledger: Ledger | None = None,
    clock: Clock | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Lived]:
    """Lives `count` days; the world and the policy move on.

    Args:
        progress: called with (sessions done, sessions planned) of the running day.

    Raises:
        BadInput: a policy that hears events with a tick in which a listener could start two sessions.
    """
    if policy.hears and settings.tick_minutes > ONE_SESSION_MINUTES:
        raise BadInput(
            f"a policy that hears events needs ticks of at most {ONE_SESSION_MINUTES} minutes, "
            f"not {settings.tick_minutes}"
        )
    ledger, clock = ledger or Ledger.of(world), clock or Clock()
    for _ in range(count):
        yield live_day(world, policy, settings, ledger, clock, progress)


def live_day(
    world: LiveWorld,
    policy: Policy,
    settings: LiveSettings,
    ledger: Ledger,
    clock: Clock,
    progress: Callable[[int, int], None] | None = None,
) -> Lived:
    """One day; see `days`."""
    clock.lap(None)
    market, planned = world.wake()
    sampled = measured(world, planned, settings.measured)
    clock.lap("plan")
    outbox = _Outbox(world, policy, clock)
    parts: list[tuple[I64, Shown, Played]] = []
    done = 0
    for end, rows in _ticks(planned, settings):
        parts.append(_tick(world, policy, settings, market, planned, rows, sampled, outbox, clock))
        done += len(rows)
        outbox.deliver(end)
        if progress:
            progress(done, len(planned))
    outbox.deliver(None)
    day = joined(world.day, planned, parts)
    clock.lap("react")
    values = values_of(world, day) if settings.measured else None
    clock.lap("true value")
    figures = ledger.add(world, day, values)
    world.sleep(planned, day.played)
    clock.lap("remember")
    policy.learn(day)
    clock.lap("learn")
    return Lived(day, figures, values)


def _ticks(planned: Sessions, settings: LiveSettings) -> Iterator[tuple[int, I64]]:
    """End (UTC ms) and sessions of every tick, in order of time; a tick of many sessions comes in several parts."""
    tick = settings.tick_minutes * MS_PER_MINUTE
    at = (planned.start - OPENED_MS) // tick
    order = np.lexsort((np.arange(len(planned)), at))
    bounds = np.flatnonzero(np.diff(at[order], prepend=-1))
    for low, high in zip(bounds, [*bounds[1:], len(order)], strict=True):
        for begin in range(low, high, settings.batch):
            rows = order[begin : min(begin + settings.batch, high)]
            last = begin + settings.batch >= high
            yield int(at[order[low]] + last) * tick, rows


def _tick(
    world: LiveWorld,
    policy: Policy,
    settings: LiveSettings,
    market: Market,
    planned: Sessions,
    rows: I64,
    sampled: NDArray[np.bool_],
    outbox: _Outbox,
    clock: Clock,
) -> tuple[I64, Shown, Played]:
    """Asks for the pages of some sessions, and has their listeners react."""
    sessions = take(planned, rows)
    at_home = np.flatnonzero(sessions.home)
    requests = requests_of(world, sessions, at_home, sampled[rows[at_home]])
    clock.lap("react")
    served = policy.serve(requests) if len(requests) else _nobody(settings.slots)
    clock.lap("serve")
    page = _page(at_home, requests, served, settings.slots)
    shown, played = react(market, world.listeners, world.memory, sessions, page, world.seed)
    clock.lap("react")
    if policy.hears:
        outbox.put(events_of(world, sessions, shown, played, served))
    clock.lap("events")
    return rows, shown, played


def requests_of(world: LiveWorld, sessions: Sessions, rows: I64, measured: NDArray[np.bool_]) -> Requests:
    """What a service learns of the sessions that begin on the home page."""
    return Requests(
        day=world.day,
        listener=world.listeners.index[sessions.row[rows]],
        user_id=world.user_ids[sessions.row[rows]],
        session_id=session_ids(take(sessions, rows)),
        key=sessions.key[rows],
        now=sessions.start[rows] - OPENED_MS,
        hour=np.floor(sessions.hour[rows]).astype(np.int64) % 24,
        country=sessions.country[rows],
        device=sessions.device[rows],
        incognito=sessions.incognito[rows],
        measured=measured,
    )


def _page(at_home: I64, requests: Requests, served: Served, slots: int) -> Shown:
    """The first `slots` slots of what was served, before anybody has looked at them."""
    track = _wide(served.track, slots, -1).astype(np.int32)
    greedy = track * 0 - 1 if served.greedy is None else _wide(served.greedy, slots, -1).astype(np.int32)
    nothing = np.zeros(track.shape, bool)
    return Shown(
        session=at_home,
        track=track,
        propensity=_wide(served.propensity, slots, np.nan),
        seen=nothing,
        played=nothing,
        z=np.full(track.shape, np.nan),
        known=nothing,
        measured=requests.measured,
        greedy=greedy,
    )


def _nobody(slots: int) -> Served:
    return Served(np.zeros((0, slots), np.int32), np.zeros((0, slots)), "")


def _wide(values: NDArray[Any], slots: int, blank: float) -> NDArray[Any]:
    """(m, slots): cut, or filled up with blanks."""
    if values.shape[1] >= slots:
        return values[:, :slots]
    short = np.full((len(values), slots - values.shape[1]), blank, values.dtype)
    return np.concatenate([values, short], axis=1)


@dataclass
class _Outbox:
    """Events that have not happened yet at the time of the tick."""

    world: LiveWorld
    policy: Policy
    clock: Clock
    waiting: list[pl.DataFrame] = field(default_factory=list)

    def put(self, events: pl.DataFrame) -> None:
        self.waiting.append(events)

    def deliver(self, now: int | None) -> None:
        """Tells the policy what happened up to `now`; None: everything, at the time of the last event."""
        if not self.waiting:
            return
        self.clock.lap(None)
        events = pl.concat(self.waiting)
        stamp = events["ts"].dt.epoch("ms")
        end = int(stamp.max() or 0) if now is None else now  # type: ignore[arg-type]
        told, later = events.filter(stamp <= end), events.filter(stamp > end)
        self.waiting = [later] if len(later) else []
        if len(told):
            self.policy.hear(told.sort("ts", "event_id"), end)
        self.clock.lap("hear")
