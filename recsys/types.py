"""Domain types of the request path: who asks, what was answered, and the record of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from recsys.items import Items
from recsys.plays import I8, I16, I32, I64, SESSION_GAP_MS, Plays
from recsys.schemas import Device, Surface

DEVICES = [d.value for d in Device]
SURFACES = [s.value for s in Surface]


@dataclass(frozen=True)
class ModelRef:
    """One version of one registered artefact."""

    name: str
    version: str
    digest: str = ""


@dataclass(frozen=True)
class Assignment:
    """Which arm of each running experiment a listener is in, and what follows from it.

    Attributes:
        arms: by experiment; of a holdout, "held" or "open".
        parameters: settings by dotted path that the arms set.
        overridden: experiments whose arm a person chose; analysis leaves them out.
        shown: experiments that can show on the surface that is asked.
        version: of the config that says so.
        attributes: what targeting saw of the request; empty where no experiment can show.
        units: by experiment that can show, its kind of unit, where that is not the listener.
    """

    arms: dict[str, str] = field(default_factory=dict)
    release: str = "champion"
    parameters: dict[str, Any] = field(default_factory=dict)
    overridden: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    version: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """The situation of a request, as the client knows it."""

    country: str | None = None  # ISO 3166-1 alpha-2
    tz: str = "UTC"
    device: str = Device.UNKNOWN.value
    explicit: bool = True  # whether explicit tracks may come
    incognito: bool = False  # the answer reads no history, and is kept out of training
    tier: str = "free"  # what the listener pays for: "free", or "premium", to whom every track is open
    session_id: str | None = None  # as in events; the unit of experiments by session


@dataclass(frozen=True)
class Ask:
    """What a client asks of a surface, before anything is looked up."""

    surface: Surface
    user_id: str | None = None  # None: somebody new
    limit: int = 10
    context: Context = Context()
    now: int | None = None  # UTC ms; given by callers in simulation only
    seed: str | None = None  # what to start from: `track:ID`, `artist:ID`, ...
    cursor: str | None = None  # of the page before
    options: dict[str, Any] = field(default_factory=dict)  # of one surface


@dataclass(frozen=True)
class UserState:
    """What serving knows of one listener: the last plays.WINDOW plays and standing signals, in public ids.

    A pure function of the listener's events (recsys.features.state): batch backfill, stream and request build
    the same value. Plays are columns of equal length, oldest first.
    """

    user_id: str
    track_id: tuple[str, ...] = ()
    start: tuple[int, ...] = ()  # UTC ms
    ms_played: tuple[int, ...] = ()
    outcome: tuple[int, ...] = ()  # plays.Outcome
    hour: tuple[int, ...] = ()  # local hour at start
    device: tuple[int, ...] = ()
    surface: tuple[int, ...] = ()
    origin: tuple[tuple[str, str], ...] = ()  # (session id, playlist id) of each play; "" where unknown
    saved: frozenset[str] = frozenset()
    not_interested: frozenset[str] = frozenset()  # track ids
    not_interested_artists: frozenset[str] = frozenset()
    snoozed: tuple[tuple[str, int], ...] = ()  # (artist id, UTC ms until which they shall not come)
    followed: frozenset[str] = frozenset()  # artist ids
    excluded_sessions: frozenset[str] = frozenset()  # whose plays are kept, but are not taste
    excluded_playlists: frozenset[str] = frozenset()
    marks: tuple[tuple[str, str, int, int], ...] = ()  # features.registers: what the seven above follow from
    personalized: bool = True  # the consent flag `personalization` of the newest event
    consent_at: int = -1  # UTC ms of that event
    saves: tuple[tuple[str, int, bool], ...] = ()  # newest save or unsave by track: (track_id, UTC ms, saved)
    offset: int = -1  # event-log offset up to which this state has been built

    @property
    def is_new(self) -> bool:
        return not self.track_id

    @property
    def taste(self) -> slice | list[int]:
        """Which plays may tell about the listener: none without the consent, none that they excluded."""
        if not self.personalized:
            return slice(0)
        sessions, playlists = self.excluded_sessions, self.excluded_playlists
        if not sessions and not playlists:
            return slice(None)
        return [i for i, (s, p) in enumerate(self.origin) if s not in sessions and p not in playlists]


@dataclass(frozen=True)
class Query:
    """One request, complete: nothing downstream reads a clock, a store or a random source of its own."""

    request_id: str
    surface: Surface
    now: int  # UTC ms, set at the edge
    seed: int
    limit: int
    user: UserState
    context: Context = Context()
    assignment: Assignment = Assignment()
    station: tuple[int, ...] = ()  # radio, similar: seed tracks, dense
    exclude: tuple[int, ...] = ()  # dense tracks that may not come (radio: already played in this station)
    recent_artists: tuple[int, ...] = ()  # dense artists just before this slate (radio pages), newest last
    skipped: tuple[int, ...] = ()  # dense tracks skipped in this station
    options: dict[str, Any] = field(
        default_factory=dict
    )  # of one surface, JSON-able; logged with the decision
    degraded: tuple[
        str, ...
    ] = ()  # what could not be looked up: "state" (unknown), "stale_state" (from memory)


@dataclass(frozen=True)
class QueryBatch:
    """b requests as columns; what sources, scorers and evaluation read."""

    histories: Plays  # b histories, all strictly before `now`
    now: I64  # (b,) UTC ms
    hour: I8  # (b,) local hour
    country: I16  # (b,) number in Items.countries; len(countries) where unknown
    device: I8  # (b,) number in DEVICES
    queries: tuple[Query, ...] = ()  # the requests themselves; empty in offline evaluation
    memo: dict[str, Any] = field(default_factory=dict, compare=False)  # what several stages share (vectors)

    def __len__(self) -> int:
        return len(self.now)

    @classmethod
    def of(cls, queries: list[Query], items: Items) -> QueryBatch:
        """The dense form of some requests for one release."""
        hours = [local_hour(q.now, q.context.tz) for q in queries]
        devices = [DEVICES.index(q.context.device) if q.context.device in DEVICES else -1 for q in queries]
        return cls(
            histories=Plays.concat([history(q.user, items) for q in queries]).before(
                np.array([q.now for q in queries], np.int64)
            ),
            now=np.array([q.now for q in queries], np.int64),
            hour=np.array(hours, np.int8),
            country=np.array([items.country_number(q.context.country) for q in queries], np.int16),
            device=np.array(devices, np.int8),
            queries=tuple(queries),
        )

    def take(self, rows: I32 | I64) -> QueryBatch:
        """Some of the requests, in the given order."""
        return QueryBatch(
            histories=self.histories.take(rows),
            now=self.now[rows],
            hour=self.hour[rows],
            country=self.country[rows],
            device=self.device[rows],
            queries=tuple(self.queries[i] for i in rows) if self.queries else (),
        )


def history(user: UserState, items: Items) -> Plays:
    """A listener's window as dense columns (one listener), as far as it is taste (`UserState.taste`).

    Tracks that the release lacks are -1. Models, features and reasons read this; what has been heard at all is
    `user.track_id`.
    """
    taste = user.taste
    rows = taste if isinstance(taste, slice) else np.array(taste, np.int64)
    start = np.array(user.start, np.int64)[rows]
    ms_played = np.array(user.ms_played, np.int32)[rows]
    return Plays(
        offsets=np.array([0, len(start)], np.int64),
        track=items.numbers(user.track_id)[rows],
        start=start,
        outcome=np.array(user.outcome, np.int8)[rows],
        ms_played=ms_played,
        session=session_numbers(start, ms_played, np.array([0, len(start)], np.int64)),
        hour=np.array(user.hour, np.int8)[rows],
        device=np.array(user.device, np.int8)[rows],
        surface=np.array(user.surface, np.int8)[rows],
    )


def session_numbers(start: I64, ms_played: I32, offsets: I64) -> I32:
    """Sessions by pause: a play starting over SESSION_GAP_MS after the last one's end opens a new one."""
    if not len(start):
        return np.zeros(0, np.int32)
    gap = np.empty(len(start), np.int64)
    gap[1:] = start[1:] - (start[:-1] + ms_played[:-1])
    breaks = (gap > SESSION_GAP_MS).astype(np.int32)
    first = offsets[:-1][np.diff(offsets) > 0]
    breaks[first] = 0
    total = np.cumsum(breaks, dtype=np.int32)
    base = np.zeros(len(offsets) - 1, np.int32)
    nonempty = np.diff(offsets) > 0
    base[nonempty] = total[offsets[:-1][nonempty]]
    return (total - np.repeat(base, np.diff(offsets))).astype(np.int32)


def local_hour(now_ms: int, tz: str) -> int:
    """Hour of day, 0..23, at a UTC time in an IANA zone; UTC where the zone is unknown."""
    return local_time(now_ms, tz).hour


def local_time(now_ms: int, tz: str) -> datetime:
    """A UTC time in an IANA zone; UTC where the zone is unknown."""
    return datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(_zone(tz))


@lru_cache(maxsize=1024)
def _zone(tz: str) -> ZoneInfo:
    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


@dataclass(frozen=True)
class RankedItem:
    """One slot of an answer."""

    track: int  # dense
    shelf: str
    position: int  # within the shelf, from 0
    score: float
    propensity: float  # P(this item at this slot | everything placed before it, context, eligible set)
    reason: str


@dataclass(frozen=True)
class Slate:
    """The ordered slots of one answer; its propensity is the product over slots."""

    items: tuple[RankedItem, ...]
    policy: str
    short: dict[str, int] = field(default_factory=dict)  # "shelf:floor" -> slots by which it fell short
    relaxed: tuple[str, ...] = ()  # list rules that had to be given up

    @property
    def propensity(self) -> float:
        return float(np.prod([item.propensity for item in self.items])) if self.items else 1.0


@dataclass(frozen=True)
class Decision:
    """The whole record of one answer, logged as an event of kind `decision`; enough to replay it."""

    request_id: str
    user_id: str
    surface: str
    now: int
    seed: int
    limit: int
    rung: str
    policy: str
    release: ModelRef
    versions: dict[str, str]  # catalog, bandit state, config, ...
    arms: dict[str, str]
    sources: dict[str, dict[str, Any]]  # name -> {"outcome": ok|failed|timeout|skipped, "count": n, "ms": t}
    counts: dict[str, int]  # candidates after each stage
    stages_ms: dict[str, float]
    listener: dict[str, Any]  # the state the scorers read (dense window, context)
    eligible: list[int]  # dense ids that reached the Selector
    scores: dict[str, NDArray[np.float32]]  # score columns of the eligible, same order; NaN: not proposed
    slots: list[dict[str, Any]]  # track_id, shelf, position, score, propensity, reason
    logged: bool = True
    fallen: dict[str, str] = field(default_factory=dict)  # rung above this one -> why it did not answer
    degraded: list[str] = field(default_factory=list)  # as in Query
    relaxed: list[str] = field(default_factory=list)  # list rules that had to be given up (radio)
    retrieval: dict[str, dict[str, Any]] = field(default_factory=dict)  # source -> how its index was searched
    short: dict[str, int] = field(default_factory=dict)  # "shelf:floor" -> slots by which a floor fell short
    exposed: list[str] = field(default_factory=list)  # experiments whose arm can show in this answer
    overridden: list[str] = field(default_factory=list)  # those whose arm a person chose
    parameters: dict[str, Any] = field(default_factory=dict)  # settings that the arms replaced, by path
    attributes: dict[str, Any] = field(
        default_factory=dict
    )  # what targeting saw; empty where nothing is exposed
    units: dict[str, str] = field(
        default_factory=dict
    )  # kinds of unit of the exposed, where not the listener
    session_id: str | None = None  # of the client
