"""Sequential rules: what followed each of the last plays, nearer pairs counting more, over sqrt(popularity).

Rule weights are 1/distance within a session (sequential rules of Ludewig & Jannach, UMUAI 2018); here each
of the last plays of the latest session fires its rules with a decay, and the consequent's popularity is
divided out. `rules_artist` adds the artists of the same plays: their tracks, by popularity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from recsys.dataset import Dataset
from recsys.evaluation.baselines import popularity
from recsys.evaluation.baselines.sparse import Csr, csr, follows, last_plays
from recsys.evaluation.protocol import Scores
from recsys.plays import I32
from recsys.types import QueryBatch

BACKOFF = 1e-6
"""Weight of popularity where no rule fires: below any rule's weight."""


class RulesSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    window: int = 10  # plays back, and largest distance of a rule
    decay: float = 0.8
    artist_weight: float = 0.05
    artist_floor: float = (
        0.0  # added to log(1 + plays) of an artist's tracks: above 0 the unplayed are found too
    )


DEFAULT = RulesSettings()


@dataclass(frozen=True)
class Rules:
    weights: Csr  # (n, n) rule weights over sqrt(popularity of the consequent)
    log_plays: Scores  # (n,)
    artist: I32  # (n,)
    popularity: popularity.Popularity
    settings: RulesSettings
    name: str = "rules"

    def score(self, batch: QueryBatch) -> Scores:
        owner, track, back = last_plays(batch.histories, self.settings.window, one_session=True)
        decay = self.settings.decay ** (back - 1)
        fired = csr(owner, track, decay, (len(batch), len(self.artist)))
        scores: Scores = (fired @ self.weights).toarray()
        if self.name == "rules_artist":
            scores += self._same_artist(owner, track, decay, len(batch))
        return scores + np.float32(BACKOFF) * self.popularity.scaled(batch)

    def _same_artist(self, owner: np.ndarray, track: np.ndarray, decay: np.ndarray, b: int) -> Scores:
        recent = csr(owner, self.artist[track], decay, (b, int(self.artist.max()) + 1)).toarray()
        heard: Scores = recent[:, self.artist]
        return np.float32(self.settings.artist_weight) * heard * self.log_plays


def fit(dataset: Dataset, until_ms: int, settings: RulesSettings = DEFAULT, name: str = "rules") -> Rules:
    plays, n = dataset.plays.before(until_ms), len(dataset.items)
    counts = np.bincount(plays.track[plays.track >= 0], minlength=n)
    weights = follows(plays, 1, n)
    for distance in range(2, settings.window + 1):
        weights = weights + follows(plays, distance, n) / distance
    weights = weights.multiply(1 / np.sqrt(np.maximum(counts, 1))[None, :]).tocsr().astype(np.float32)
    log_plays = (np.log1p(counts) + settings.artist_floor).astype(np.float32)
    return Rules(weights, log_plays, dataset.items.artist, popularity.fit(dataset, until_ms), settings, name)


def fit_with_artist(dataset: Dataset, until_ms: int) -> Rules:
    return fit(dataset, until_ms, name="rules_artist")
