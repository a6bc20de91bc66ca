"""EASE: a linear item-item model with a zero diagonal, in closed form (Steck, WWW 2019).

B = argmin |X - X B|^2 + l2 |B|^2 with diag(B) = 0, for X the binary matrix of sessions or of listeners and tracks;
with P = (X'X + l2 I)^-1 it is B_ij = -P_ij / P_jj. A query's score is its last plays, each weighed by a decay, times
B. Only the `max_tracks` most played tracks take part: time is cubic and memory quadratic in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from recsys.dataset import Dataset
from recsys.evaluation.baselines import popularity
from recsys.evaluation.baselines.sparse import baskets, csr, last_plays
from recsys.evaluation.protocol import Scores
from recsys.plays import I64
from recsys.types import QueryBatch

BACKOFF = 1e-6


class EaseSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    l2: float = 250.0
    rows: Literal["sessions", "listeners"] = "listeners"
    window: int = 500  # last plays that count
    decay: float = 1.0
    max_tracks: int = 6000


DEFAULT = EaseSettings()


@dataclass(frozen=True)
class Ease:
    weights: Scores  # (m, m)
    tracks: I64  # (m,) the tracks that take part
    place: I64  # (n,) their row, m for all others
    popularity: popularity.Popularity
    settings: EaseSettings
    name: str = "ease"

    def score(self, batch: QueryBatch) -> Scores:
        owner, track, back = last_plays(batch.histories, self.settings.window)
        known = self.place[track] < len(self.tracks)
        weight = self.settings.decay ** (back[known] - 1)
        recent = csr(owner[known], self.place[track[known]], weight, (len(batch), len(self.tracks)))
        scores = np.float32(BACKOFF) * self.popularity.scaled(batch)
        scores[:, self.tracks] += recent @ self.weights
        return scores


def fit(dataset: Dataset, until_ms: int, settings: EaseSettings = DEFAULT) -> Ease:
    n = len(dataset.items)
    full = baskets(dataset.plays.before(until_ms), n, by_session=settings.rows == "sessions")
    count = np.asarray(full.sum(0)).ravel()
    tracks = np.sort(np.argsort(-count, kind="stable")[: settings.max_tracks])
    tracks = tracks[count[tracks] > 0]
    x = full[:, tracks]
    inverse = np.linalg.inv(
        (x.T @ x).toarray().astype(np.float32) + settings.l2 * np.eye(len(tracks), dtype=np.float32)
    )
    weights = (-inverse / np.diag(inverse)[None, :]).astype(np.float32)
    np.fill_diagonal(weights, 0)
    place = np.full(n, len(tracks), np.int64)
    place[tracks] = np.arange(len(tracks))
    return Ease(weights, tracks, place, popularity.fit(dataset, until_ms), settings)
