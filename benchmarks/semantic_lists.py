"""Top lists of models on one world, recall by cohort, and what a model adds to the home feed's candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.semantic_world import Bools, World
from models.semantic_ids.vectors import F32, Space
from recsys.evaluation.bootstrap import Interval, Resampler
from recsys.evaluation.metrics import hits, recall
from recsys.items import Items
from recsys.pipeline import Source
from recsys.plays import I64, Outcome
from recsys.topk import largest_rows
from recsys.types import QueryBatch

STEP = 50
"""Requests at once."""
Lists = dict[str, I64]
"""model -> (q, k) tracks, best first; -1 pads."""


class Ranks(Protocol):
    """Scores every track, as recsys.evaluation.protocol.Model."""

    def score(self, batch: QueryBatch) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class ContentKnn:
    """Likeness of a track's artist, album, genre and sound to the listener's last plays, newer ones weighing more."""

    vectors: F32  # (n, d) of length 1
    half_life: float = 50.0

    @classmethod
    def of(cls, space: Space, items: Items) -> ContentKnn:
        content = space.vectors(items)[:, space.own.shape[1] :]
        return cls(content / np.maximum(np.linalg.norm(content, axis=1, keepdims=True), np.float32(1e-9)))

    def score(self, batch: QueryBatch) -> NDArray[np.float32]:
        plays = batch.histories
        plays = plays.where((plays.outcome != Outcome.SKIP) & (plays.track >= 0))
        weight = 0.5 ** ((plays.offsets[1:][plays.owner] - 1 - np.arange(plays.rows)) / self.half_life)
        profile = np.zeros((len(batch), self.vectors.shape[1]), np.float32)
        np.add.at(profile, plays.owner, self.vectors[plays.track] * weight[:, None].astype(np.float32))
        return profile @ self.vectors.T


def ranked(model: Ranks, world: World, allowed: Bools, k: int) -> I64:
    """(q, k) the best allowed tracks by score."""
    parts = []
    for at in range(0, len(world.task), STEP):
        rows = np.arange(at, min(at + STEP, len(world.task)))
        scores = np.where(allowed[rows], model.score(world.task.batch.take(rows)), np.float32(-np.inf))
        best = largest_rows(scores, k)
        value = np.take_along_axis(scores, best, 1)
        order = np.argsort(-value, axis=1, kind="stable")
        best, value = np.take_along_axis(best, order, 1), np.take_along_axis(value, order, 1)
        parts.append(np.where(np.isfinite(value), best, -1))
    return np.concatenate(parts)


def proposals(sources: tuple[Source[QueryBatch], ...], world: World) -> Bools:
    """(q, n) what the sources propose together, as far as it may be shown."""
    pool = np.zeros_like(world.eligible)
    for at in range(0, len(world.task), STEP):
        rows = np.arange(at, min(at + STEP, len(world.task)))
        batch = world.task.batch.take(rows)
        for source in sources:
            found = source.propose(batch)
            owner = np.repeat(rows, np.diff(found.offsets))
            pool[owner, found.ids] = True
    return pool & world.eligible


def alone(world: World, lists: Mapping[str, Lists], k: int = 100) -> dict[str, dict[str, Any]]:
    """Recall@k of each model by cohort: `all` from lists of any tracks, the others from lists of unheard ones."""
    out: dict[str, dict[str, Any]] = {name: {} for name in lists["unheard"]}
    for cohort, targets in world.cohorts().items():
        rows = np.flatnonzero(targets.counts)
        for name, found in lists["any" if cohort == "all" else "unheard"].items():
            share = recall(hits(found.astype(np.int32), targets), targets, k)[rows]
            out[name][cohort] = _interval(world, rows, share)
    return out


def additions(
    world: World, pool: Bools, lists: Lists, against: str, k: int = 100, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Recall of the pool by cohort, and how much more there is with k further unheard tracks of each model's list;
    `random`: with k drawn ones. `over` is the paired difference to the model `against`: pools of the same size."""
    rng = np.random.default_rng(seed)
    free = world.eligible & ~world.heard & ~pool
    drawn = np.where(free, rng.random(free.shape, np.float32), -1)
    lists = {**lists, "random": np.argsort(-drawn, axis=1)[:, : k + 1].astype(np.int64)}
    more = {name: _first(found, free, k) for name, found in lists.items()}
    out: dict[str, dict[str, Any]] = {name: {} for name in ("pool", *more)}
    for cohort, targets in world.cohorts().items():
        rows = np.flatnonzero(targets.counts)
        out["pool"][cohort] = _interval(world, rows, _covered(pool, targets)[rows])
        added = {name: _covered(extra, targets)[rows] for name, extra in more.items()}
        for name, gain in added.items():
            out[name][cohort] = _interval(world, rows, gain)
            if name != against:
                out[name][cohort]["over"] = _interval(world, rows, gain - added[against])
    sizes = {name: float(extra.sum(axis=1).mean()) for name, extra in more.items()}
    return {**out, "sizes": {"pool": float(pool.sum(axis=1).mean()), **sizes}}


def _first(found: I64, free: Bools, k: int) -> Bools:
    """(q, n) the first k of each list that are free."""
    out = np.zeros_like(free)
    row = np.repeat(np.arange(len(found)), found.shape[1])
    track = found.ravel()
    new = ((track >= 0) & free[row, np.maximum(track, 0)]).reshape(found.shape)
    kept = new & (np.cumsum(new, axis=1) <= k)
    out[np.nonzero(kept)[0], found[kept]] = True
    return out


def _covered(pool: Bools, targets: Any) -> NDArray[np.float64]:
    """(q,) share of the targets that are in the pool."""
    inside = pool[targets.owner, targets.tracks]
    found = np.bincount(targets.owner[inside], minlength=len(targets))
    return np.asarray(found / np.maximum(targets.counts, 1))


def _interval(world: World, rows: I64, values: NDArray[np.float64]) -> dict[str, float]:
    """Mean and 95% bounds over listeners, and the requests that count."""
    if not len(rows):
        return {"value": float("nan"), "low": float("nan"), "high": float("nan"), "requests": 0}
    found: Interval = Resampler.of(world.task.listener[rows]).mean(values)
    return {"value": found.value, "low": found.low, "high": found.high, "requests": len(rows)}
