"""The models over a session that has not happened yet: a playlist, or the queue behind the current track.

`Query.station` (dense tracks, in order) is read as plays to the end that follow the listener's window, or stand
alone; a model then says what comes next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.sequence.evidence import RULE_SCALE
from models.sequence.model import SequenceModel
from models.two_tower.model import TwoTower
from recsys.items import Items
from recsys.pipeline import Candidates, Proposal
from recsys.plays import WINDOW, Outcome, Plays
from recsys.schemas import Surface
from recsys.types import SURFACES, QueryBatch, session_numbers
from serving.parts.sources import ragged, rights, top

LENGTH_MS = 210_000
"""What a track without a known length is taken to last."""
LIBRARY = SURFACES.index(Surface.LIBRARY.value)


def session(batch: QueryBatch, items: Items, alone: bool) -> QueryBatch:
    """The batch at the end of its stations, as if each were played to its end from now on.

    Args:
        alone: leave the listener's own window out.
    """
    key = f"session/{alone}"
    if key not in batch.memo:
        parts = [_one(batch, j, items, alone) for j in range(len(batch))]
        ends = np.array([p.start[-1] + p.ms_played[-1] if p.rows else 0 for p in parts], np.int64)
        then = np.maximum(batch.now, ends)
        batch.memo[key] = replace(batch, histories=Plays.concat(parts), now=then, memo={})
    found: QueryBatch = batch.memo[key]
    return found


def _one(batch: QueryBatch, j: int, items: Items, alone: bool) -> Plays:
    """The listener's window, or nothing, and the station behind it."""
    own = batch.histories.take(np.array([j]))
    own = own.last(0) if alone else own
    added = _plays(np.array(batch.queries[j].station, np.int64), batch, j, items)
    merged = {
        name: np.concatenate([getattr(own, name), getattr(added, name)])
        for name in ("track", "start", "outcome", "ms_played", "hour", "device", "surface")
    }
    offsets = np.array([0, own.rows + added.rows], np.int64)
    sessions = session_numbers(merged["start"], merged["ms_played"], offsets)
    return Plays(offsets=offsets, session=sessions, **merged).last(WINDOW)


def _plays(tracks: NDArray[np.int64], batch: QueryBatch, j: int, items: Items) -> Plays:
    """The tracks as finished plays, back to back from now on."""
    length = np.where(items.duration_ms[tracks] > 0, items.duration_ms[tracks], LENGTH_MS).astype(np.int64)
    n = len(tracks)
    return Plays(
        offsets=np.array([0, n], np.int64),
        track=tracks.astype(np.int32),
        start=int(batch.now[j]) + np.cumsum(length) - length,
        outcome=np.full(n, Outcome.FINISH, np.int8),
        ms_played=length.astype(np.int32),
        session=np.zeros(n, np.int32),
        hour=np.full(n, batch.hour[j], np.int8),
        device=np.full(n, batch.device[j], np.int8),
        surface=np.full(n, LIBRARY, np.int8),
    )


@dataclass(frozen=True)
class SessionSource:
    """What a model expects after the station."""

    model: SequenceModel | TwoTower
    items: Items
    alone: bool
    name: str = "session"
    k: int = 300

    def propose(self, batch: QueryBatch) -> Proposal:
        then = session(batch, self.items, self.alone)
        return ragged(*self.model.candidates(then, self.k, rights(self.items, batch)))


@dataclass(frozen=True)
class SessionScorer:
    """A model's score of a candidate after the station."""

    model: SequenceModel | TwoTower
    items: Items
    alone: bool
    name: str = "session"

    def score(self, batch: QueryBatch, candidates: Candidates) -> NDArray[np.float32]:
        then = session(batch, self.items, self.alone)
        return self.model.score_candidates(then, candidates.ids, candidates.offsets)


@dataclass(frozen=True)
class TogetherScorer:
    """How often a candidate was played soon after any of the station's tracks: log(1 + RULE_SCALE * summed share).

    The shares are those of sequential rules (models.sequence.cooccurrence); a long list speaks with all its tracks,
    where the transformer reads the last ones.
    """

    model: SequenceModel
    name: str = "together"

    def score(self, batch: QueryBatch, candidates: Candidates) -> NDArray[np.float32]:
        out = np.zeros(len(candidates), np.float32)
        for j, shares in enumerate(together(self.model, batch)):
            rows = slice(int(candidates.offsets[j]), int(candidates.offsets[j + 1]))
            out[rows] = shares[candidates.ids[rows]]
        return out


@dataclass(frozen=True)
class TogetherSource:
    """The tracks with the highest TogetherScorer."""

    model: SequenceModel
    items: Items
    k: int = 300
    name: str = "together"

    def propose(self, batch: QueryBatch) -> Proposal:
        shares = np.stack(together(self.model, batch))
        usable = rights(self.items, batch) & (shares > 0)
        return top(np.where(usable, shares, -np.inf), self.k)


def together(model: SequenceModel, batch: QueryBatch) -> list[NDArray[np.float32]]:
    """(n,) for each request; computed once a batch."""
    key = f"together/{id(model)}"
    if key not in batch.memo:
        near = model.evidence.successors.near
        sums = [np.asarray(near[list(q.station)].sum(axis=0)).ravel() for q in batch.queries]
        batch.memo[key] = [np.log1p(RULE_SCALE * s).astype(np.float32) for s in sums]
    found: list[NDArray[np.float32]] = batch.memo[key]
    return found
