"""What the cold-start benchmark ranks with: newest first, artists played, content kNN; all see plays and content alone.

A ranker is a function of a batch: (b, n) scores. `artists` and `knn` break ties by release day, the newest first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from models.two_tower.cold import ColdHead, kinds
from recsys.evaluation.protocol import Scores
from recsys.items import UNKNOWN_DAY, Items
from recsys.plays import Outcome
from recsys.types import QueryBatch

Ranker = Callable[[QueryBatch], Scores]


@dataclass(frozen=True)
class Knn:
    """Content kNN: a track is as near as the listener's plays share its artist, album, genre, parent and sound."""

    weights: tuple[float, float, float, float, float]
    half_life: float  # in plays

    def __str__(self) -> str:
        names = zip(("artist", "album", "genre", "parent", "audio"), self.weights, strict=True)
        return ", ".join(f"{n} {w:g}" for n, w in names if w) + f", half-life {self.half_life:g} plays"


VARIANTS = [
    Knn(weights, half_life)
    for weights, half_life in product(
        [(1, 0, 0.3, 0, 0), (1, 0, 0.1, 0, 0), (1, 1, 0.3, 0.1, 0), (1, 0, 0.3, 0, 0.5), (0, 0, 1, 0, 1)],
        (30.0, 300.0),
    )
]


def newest(items: Items) -> Ranker:
    day = recency(items)
    return lambda batch: np.repeat(day[None], len(batch), axis=0)


def artists(items: Items) -> Ranker:
    """Tracks by artists the listener streamed, newest first, then all others, newest first."""
    day = recency(items)

    def score(batch: QueryBatch) -> Scores:
        counts = streamed(batch, items.artist.astype(np.int64), 1e9)
        return np.asarray((counts > 0) + day, np.float32)

    return score


def cold_head(head: ColdHead, pool: np.ndarray) -> Ranker:
    """The head over the tracks of `pool` (n,) alone."""
    tracks = np.flatnonzero(pool)

    def score(batch: QueryBatch) -> Scores:
        out = np.full((len(batch), len(pool)), -np.inf, np.float32)
        out[:, tracks] = head.score(batch, tracks)
        return out

    return score


def knn(items: Items, variant: Knn) -> Ranker:
    """Log counts of the listener's streams by kind, and the cosine of the mean sound, weighted."""
    day = 1e-3 * recency(items)
    sound = items.audio / np.maximum(np.linalg.norm(items.audio, axis=1, keepdims=True), 1e-9)

    def score(batch: QueryBatch) -> Scores:
        out = np.repeat(day[None], len(batch), axis=0)
        for weight, kind in zip(variant.weights, kinds(items), strict=False):
            if weight:
                out += weight * np.log1p(streamed(batch, kind, variant.half_life))
        if variant.weights[4]:
            every = np.arange(len(items))
            mean = streamed(batch, every, variant.half_life) @ sound
            mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-9)
            out += variant.weights[4] * (mean @ sound.T)
        return np.asarray(out, np.float32)

    return score


def recency(items: Items) -> Scores:
    """(n,) release days as a rank in 0..1; unknown days last."""
    day = np.where(items.release_day == UNKNOWN_DAY, np.iinfo(np.int32).min, items.release_day)
    rank = np.unique(day, return_inverse=True)[1]
    return np.asarray(rank / max(int(rank.max(initial=0)) + 1, 1), np.float32)


def streamed(batch: QueryBatch, kind: np.ndarray, half_life: float) -> Scores:
    """(b, n) decayed streams of each listener by tracks of each track's kind."""
    plays = batch.histories
    known = (plays.track >= 0) & (plays.outcome != Outcome.SKIP)
    owner, row = plays.owner[known], np.flatnonzero(known)
    age = plays.offsets[1:][owner] - 1 - row
    size = int(kind.max(initial=0)) + 1
    cell = owner * size + kind[plays.track[row]]
    counts = np.bincount(cell, 0.5 ** (age / half_life), minlength=len(batch) * size)
    return np.asarray(counts.reshape(len(batch), size)[:, kind], np.float32)
