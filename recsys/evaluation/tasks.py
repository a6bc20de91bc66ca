"""Evaluation queries cut from a log by time: what a listener played next, given only what was known before.

tasks = build_tasks(dataset, dataset.split.test, dataset.split.end)

Models are trained on plays before the window; at query time they see the listener's own plays up to `now`, as
an online system does. Nothing at or after `now` reaches a history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recsys.dataset import Dataset
from recsys.errors import NotReady
from recsys.evaluation.ragged import Ragged
from recsys.items import MS_PER_DAY, UNKNOWN_DAY, Items
from recsys.plays import I8, I16, I64, WINDOW, Plays
from recsys.types import QueryBatch

TASKS = ("next_track", "next_track_new", "home")
REST = "rest_of_session"
"""Asked only by name: at every play within a session, all distinct tracks from it to the session's end."""
NEW_LISTENER_PLAYS = 5
"""A listener with at most this many plays before the window is new."""


@dataclass(frozen=True)
class Cohort:
    """Some of a task's queries, each with the targets that count for this cohort."""

    rows: I64
    targets: Ragged


@dataclass(frozen=True)
class Task:
    """q queries with known answers."""

    name: str
    batch: QueryBatch
    listener: I64  # (q,) listener number in the dataset: the cluster of the bootstrap
    targets: Ragged  # distinct tracks that were played
    cohorts: Mapping[str, Cohort]
    items: Items
    played: (
        Ragged | None
    )  # tracks masked from the answer (`_new`: all that the listener had played); else None

    def __len__(self) -> int:
        return len(self.batch)

    def eligible(self, rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        """(len(rows), n_items): available in the country at that time, released, and not masked."""
        out = np.empty((len(rows), len(self.items)), bool)
        for j, row in enumerate(rows):
            now, country = int(self.batch.now[row]), int(self.batch.country[row])
            out[j] = self.items.available(country, now) & (self._released <= now)
            if self.played is not None:
                out[j, self.played.row(int(row))] = False
        return out

    @cached_property
    def _released(self) -> I64:
        day = self.items.release_day.astype(np.int64)
        return np.where(day == UNKNOWN_DAY, np.iinfo(np.int64).min, day * MS_PER_DAY)


def build_tasks(
    dataset: Dataset, start: int, end: int, *, names: tuple[str, ...] = TASKS, cap: int = 2000, seed: int = 0
) -> list[Task]:
    """Tasks over plays that started in [start, end), at most `cap` seeded-sampled queries each.

    Raises:
        NotReady: the window holds no query for a task.
    """
    log = _Log(dataset, start)
    return [log.task(name, end, cap, seed) for name in names]


class _Log:
    """The whole log with what every task reads of it."""

    def __init__(self, dataset: Dataset, start: int) -> None:
        plays = dataset.plays
        self.dataset, self.plays, self.start = dataset, plays, start
        self.owner = plays.owner
        self.since = _strictly_before(plays)
        before = plays.start < start
        self.counts_before = np.bincount(self.owner[before], minlength=len(plays))
        self.track_before = np.zeros(len(dataset.items), bool)
        self.track_before[plays.track[before & (plays.track >= 0)]] = True

    def task(self, name: str, end: int, cap: int, seed: int) -> Task:
        rows = self.rows(name, end)
        if not len(rows):
            raise NotReady(f"no {name!r} queries in the evaluation window: give it a longer log")
        if len(rows) > cap:
            rng = np.random.default_rng([seed, (*TASKS, REST).index(name)])
            rows = np.sort(rng.choice(rows, cap, replace=False))
        played = self.history(rows).distinct() if name == "next_track_new" else None
        targets = self.targets(name, rows)
        listener = self.owner[rows]
        cohorts = self.cohorts(listener, targets)
        return Task(name, self.batch(rows), listener, targets, cohorts, self.dataset.items, played)

    def rows(self, name: str, end: int) -> I64:
        """Rows of the plays that pose the queries of a task."""
        plays, every = self.plays, np.arange(self.plays.rows)
        inside = (plays.start >= self.start) & (plays.start < end)
        previous = np.maximum(self.since - 1, 0)
        within = (self.since > plays.offsets[:-1][self.owner]) & (plays.session[previous] == plays.session)
        if name == "home":
            first = ~within & (self.since == every)
            return np.flatnonzero(inside & first & self._session_has_target())
        rows = np.flatnonzero(inside & within & (plays.track >= 0))
        return rows[self._first_time(rows)] if name == "next_track_new" else rows

    def _first_time(self, rows: I64) -> NDArray[np.bool_]:
        """Whether the play is the listener's first of that track."""
        plays = self.plays
        pair = self.owner * (len(self.dataset.items) + 1) + plays.track
        first = np.zeros(plays.rows, bool)
        first[np.unique(pair, return_index=True)[1]] = True
        return first[rows]

    def _session_has_target(self) -> NDArray[np.bool_]:
        known = np.concatenate([[0], np.cumsum(self.plays.track >= 0)])
        stops = self.session_stops(np.arange(self.plays.rows))
        return known[stops] > known[np.arange(self.plays.rows)]

    def session_stops(self, rows: I64) -> I64:
        """End (exclusive) of the session that each row belongs to."""
        plays = self.plays
        last = np.ones(plays.rows, bool)
        last[:-1] = (plays.session[1:] != plays.session[:-1]) | (self.owner[1:] != self.owner[:-1])
        ends = np.flatnonzero(last)
        return ends[np.searchsorted(ends, rows)] + 1

    def targets(self, name: str, rows: I64) -> Ragged:
        if name not in ("home", REST):
            return Ragged(np.arange(len(rows) + 1), self.plays.track[rows])
        session = Ragged.slices(self.plays.track, rows, self.session_stops(rows))
        return session.where(session.tracks >= 0).distinct()

    def history(self, rows: I64) -> Ragged:
        """All known tracks that the listener played strictly before each row."""
        every = Ragged.slices(self.plays.track, self.plays.offsets[:-1][self.owner[rows]], self.since[rows])
        return every.where(every.tracks >= 0)

    def batch(self, rows: I64) -> QueryBatch:
        plays, stops = self.plays, self.since[rows]
        starts = np.maximum(plays.offsets[:-1][self.owner[rows]], stops - WINDOW)
        return QueryBatch(
            histories=plays.slices(starts, stops),
            now=plays.start[rows],
            hour=plays.hour[rows],
            country=self.dataset.country[self.owner[rows]],
            device=plays.device[rows],
        )

    def cohorts(self, listener: I64, targets: Ragged) -> dict[str, Cohort]:
        """all; new_listeners (at most NEW_LISTENER_PLAYS plays before the window); heavy (top fifth of the
        other listeners by plays before it); new_tracks / known_tracks: targets unplayed / played before the
        window."""
        counts = self.counts_before[listener]
        known = self.counts_before[self.counts_before > NEW_LISTENER_PLAYS]
        bar = np.quantile(known, 0.8) if len(known) else np.inf
        fresh = ~self.track_before[targets.tracks]
        out = {
            "all": _cohort(np.ones(len(listener), bool), targets),
            "new_listeners": _cohort(counts <= NEW_LISTENER_PLAYS, targets),
            "heavy": _cohort(counts >= bar, targets),
            "new_tracks": _cohort(targets.where(fresh).counts > 0, targets.where(fresh)),
            "known_tracks": _cohort(targets.where(~fresh).counts > 0, targets.where(~fresh)),
        }
        return {name: cohort for name, cohort in out.items() if len(cohort.rows)}


def queries_at(dataset: Dataset, listener: I64, now: I64, hour: I8, country: I16, device: I8) -> QueryBatch:
    """Requests of given listeners (dataset numbers, -1: one without plays) at given times, as the log then
    stood."""
    plays = dataset.plays
    starts, stops = np.zeros(len(listener), np.int64), np.zeros(len(listener), np.int64)
    for j, (number, time) in enumerate(zip(listener, now, strict=True)):
        if number >= 0:
            low, high = plays.offsets[number], plays.offsets[number + 1]
            stops[j] = low + np.searchsorted(plays.start[low:high], time, side="left")
            starts[j] = max(low, stops[j] - WINDOW)
    return QueryBatch(plays.slices(starts, stops), now, hour, country, device)


def _cohort(mask: NDArray[np.bool_], targets: Ragged) -> Cohort:
    rows = np.flatnonzero(mask)
    return Cohort(rows, targets.take(rows))


def _strictly_before(plays: Plays) -> I64:
    """(n,) for each row the first row of its listener with the same start: rows before it are strictly
    earlier."""
    if not plays.rows:
        return np.zeros(0, np.int64)
    owner = plays.owner
    opens = np.ones(plays.rows, bool)
    opens[1:] = (plays.start[1:] != plays.start[:-1]) | (owner[1:] != owner[:-1])
    return np.maximum.accumulate(np.where(opens, np.arange(plays.rows), 0))


__all__ = ["NEW_LISTENER_PLAYS", "REST", "TASKS", "Cohort", "Task", "build_tasks", "queries_at"]
