"""Training examples: what a listener was about to play, at the start of a session (or inside one).

Batches are drawn day by day, so that track age and the set of released tracks are as of that day, and the
in-batch draws have an exactly known expectation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.two_tower.config import TwoTowerConfig
from models.two_tower.history import F32, History, Queries, Traces, gather, kin
from recsys.items import MS_PER_DAY, Items
from recsys.plays import I16, I64, Outcome, Plays

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Sessions:
    """Every session of a log as rows start:stop of it; first is where the listener's rows begin."""

    first: I64
    start: I64
    stop: I64
    country: I16

    @classmethod
    def of(cls, plays: Plays, country: I16) -> Sessions:
        owner = plays.owner
        new = np.ones(plays.rows, bool)
        new[1:] = (owner[1:] != owner[:-1]) | (plays.session[1:] != plays.session[:-1])
        start = np.flatnonzero(new)
        stop = np.append(start[1:], plays.rows)
        return cls(plays.offsets[owner[start]], start, stop, country[owner[start]])


@dataclass(frozen=True)
class Examples:
    """The queries of one epoch on one day, each with the distinct tracks played afterwards in its session."""

    queries: Queries
    target: I64  # (t,) play rows of the targets
    owner: I64  # (t,) query of each, ascending
    counts: I64  # (q,) targets of each query


@dataclass(frozen=True)
class Batch:
    """One step. Columns are distinct tracks drawn from the mixture; loss.py says what is done with them."""

    history: History
    positive: I64  # (b, k) track, -1 pads
    weight: F32  # (b, k)
    positive_place: I64  # (b, k) place in the history, -1 where not in it
    positive_log_weight: F32  # (b, k)
    columns: I64  # (c,) tracks
    log_weight: F32  # (c,)
    known: I64  # (h,) flat positions
    expected: F64  # (n,) expected count of every track's draws, in-batch and uniform
    now: int  # UTC ms, start of the day


class Sampler:
    """Draws the batches of an epoch from a log; the same for the same seed and epoch."""

    def __init__(
        self,
        plays: Plays,
        traces: Traces,
        country: I16,
        items: Items,
        config: TwoTowerConfig,
        since_ms: int | None = None,
    ) -> None:
        """With `since_ms`, every session from that day on, and `config.replay` older ones for each of them."""
        self.plays, self.traces, self.items, self.config = plays, traces, items, config
        self.sessions, self.kinship = Sessions.of(plays, country), kin(items)
        day = plays.start[self.sessions.start] // MS_PER_DAY
        self.last_day = int(day.max(initial=0))
        order = np.argsort(day, kind="stable")
        days, begins = np.unique(day[order], return_index=True)
        self.by_day = dict(zip(days.tolist(), np.split(order, begins[1:]), strict=True))
        self.since_day = None if since_ms is None else since_ms // MS_PER_DAY
        self._replayed = self._replay()

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Batches of one pass, days and sessions in random order; older sessions thinned by the half-life."""
        rng = np.random.default_rng((self.config.seed, epoch))
        plan: list[tuple[int, Examples, I64]] = []
        for day, sessions in self.by_day.items():
            chosen = rng.permutation(sessions[rng.random(len(sessions)) < self._share(day)])
            examples = self._examples(chosen, rng)
            parts = np.array_split(np.arange(len(chosen)), self._parts(len(chosen)))
            plan.extend((day, examples, part) for part in parts if len(part))
        for place in rng.permutation(len(plan)):
            day, examples, part = plan[place]
            yield self._batch(day, examples, part, rng)

    def steps(self) -> int:
        """About how many batches an epoch has."""
        return sum(self._parts(len(s) * self._share(day)) for day, s in self.by_day.items())

    def _share(self, day: int) -> float:
        if self.since_day is not None and day >= self.since_day:
            return 1.0
        return min(1.0, self._replayed * self._remembered(day))

    def _remembered(self, day: int) -> float:
        return float(0.5 ** ((self.last_day - day) / self.config.half_life_days))

    def _replay(self) -> float:
        """What the shares of older days are multiplied with, so that they add up to `config.replay`."""
        if self.since_day is None:
            return 1.0
        new = sum(len(s) for day, s in self.by_day.items() if day >= self.since_day)
        old = sum(len(s) * self._remembered(d) for d, s in self.by_day.items() if d < self.since_day)
        return self.config.replay * new / old if old else 0.0

    def _parts(self, examples: float) -> int:
        return max(1, round(examples / self.config.batch_size))

    def _examples(self, sessions: I64, rng: np.random.Generator) -> Examples:
        start, stop = self.sessions.start[sessions], self.sessions.stop[sessions]
        inside = start + (rng.random(len(start)) * (stop - start)).astype(np.int64)
        point = np.where(rng.random(len(start)) < self.config.mid_session, inside, start)
        owner = np.repeat(np.arange(len(point)), stop - point)
        begins = np.cumsum(stop - point) - (stop - point)
        rows = np.arange(len(owner)) + np.repeat(point - begins, stop - point)
        distinct = (self.traces.previous[rows] < point[owner]) & (self.plays.track[rows] >= 0)
        rows, owner = rows[distinct], owner[distinct]
        queries = Queries(
            self.sessions.first[sessions],
            point,
            self.plays.start[point],
            self.plays.hour[point],
            self.plays.device[point],
            self.sessions.country[sessions],
        )
        return Examples(queries, rows, owner, np.bincount(owner, minlength=len(point)))

    def _batch(self, day: int, examples: Examples, chosen: I64, rng: np.random.Generator) -> Batch:
        config, plays = self.config, self.plays
        queries = examples.queries.take(chosen)
        history = gather(plays, self.traces, queries, self.kinship, config.max_length)
        rows = _draw_targets(examples, chosen, config.positives, rng)
        positive = np.where(rows < 0, -1, plays.track[rows]).astype(np.int64)
        weight = np.where(plays.outcome[rows] == Outcome.SKIP, config.skip_weight, 1.0)
        # Expected counts: given that my example is in this batch, another of the day is with probability
        # (b - 1) / (q - 1), and then draws each of its D targets with probability min(k, D) / D.
        drawn = np.minimum(config.positives / np.maximum(examples.counts, 1), 1.0)
        others = (len(chosen) - 1) / max(len(examples.queries) - 1, 1)
        expected = others * np.bincount(
            plays.track[examples.target], drawn[examples.owner], minlength=len(self.items)
        )
        released = np.flatnonzero(self.items.release_day <= day)
        uniform = config.uniform_negatives / len(released)
        expected[released] += uniform
        own = np.where(positive >= 0, others * drawn[chosen][:, None], 0.0)
        negatives = rng.choice(released, config.uniform_negatives)
        times = np.bincount(np.concatenate([positive[positive >= 0], negatives]), minlength=len(self.items))
        columns = np.flatnonzero(times)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_weight = np.log(times[columns]) - np.log(expected[columns])
            log_own = np.log(times[positive] - 1) - np.log(expected[positive] - own)
        return Batch(
            history=history,
            positive=positive,
            weight=np.where(positive >= 0, weight, 0).astype(np.float32),
            positive_place=_places(history.track, positive),
            positive_log_weight=np.where((positive >= 0) & (times[positive] > 1), log_own, -np.inf).astype(
                np.float32
            ),
            columns=columns,
            log_weight=log_weight.astype(np.float32),
            known=_known(history.track, positive, columns, len(self.items)),
            expected=expected.astype(np.float64),
            now=day * MS_PER_DAY,
        )


def _draw_targets(examples: Examples, chosen: I64, k: int, rng: np.random.Generator) -> I64:
    """(b, k) play rows: up to k of each query's targets, uniformly without replacement; -1 pads."""
    ends = np.cumsum(examples.counts)
    counts = examples.counts[chosen]
    owner = np.repeat(np.arange(len(chosen)), counts)
    begins = np.cumsum(counts) - counts
    flat = np.arange(len(owner)) - np.repeat(begins, counts) + np.repeat(ends[chosen] - counts, counts)
    order = np.lexsort((rng.random(len(owner)), owner))
    place = np.arange(len(owner)) - np.repeat(begins, counts)
    out = np.full((len(chosen), k), -1, np.int64)
    kept = place < k
    out[owner[kept], place[kept]] = examples.target[flat[order][kept]]
    return out


def _places(tracks: I64, positive: I64) -> I64:
    """(b, k) where each positive stands in its row's history; -1 where it does not, or pads."""
    hit = positive[:, :, None] == tracks[:, None, :]
    return np.where(hit.any(2) & (positive >= 0), hit.argmax(2), -1)


def _known(tracks: I64, positive: I64, columns: I64, n: int) -> I64:
    """Flat positions in a (b, c) matrix of the columns that a row knows for certain."""
    column = np.full(n + 1, -1, np.int64)
    column[columns] = np.arange(len(columns))
    own = column[np.concatenate([tracks, positive], axis=1)]  # -1 reads the spare last entry
    row = np.broadcast_to(np.arange(len(own))[:, None], own.shape)
    flat: I64 = (row * len(columns) + own)[own >= 0]
    return flat
