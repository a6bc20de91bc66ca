"""The listener's own plays again: each earlier play votes for its track, the newer the more; popularity else.

The simplest model of repetition (frequency and recency of Anderson & Schooler, 1991), which music needs beside it:
where nine plays of ten are repeats, many a model of sequences stays below.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from recsys.dataset import Dataset
from recsys.evaluation.baselines import popularity
from recsys.evaluation.baselines.sparse import csr, last_plays
from recsys.evaluation.protocol import Scores
from recsys.types import QueryBatch


class OwnPlaysSettings(BaseModel):
    """A play `b` plays ago votes b ** -exponent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exponent: float = 0.5
    window: int = 512


DEFAULT = OwnPlaysSettings()
BACKOFF = 1e-6


@dataclass(frozen=True)
class OwnPlays:
    popularity: popularity.Popularity
    settings: OwnPlaysSettings
    name: str = "own_plays"

    def score(self, batch: QueryBatch) -> Scores:
        owner, track, back = last_plays(batch.histories, self.settings.window)
        scores = BACKOFF * self.popularity.scaled(batch)
        votes = csr(owner, track, back ** -float(self.settings.exponent), scores.shape)
        scores += votes.toarray()
        return scores


def fit(dataset: Dataset, until_ms: int, settings: OwnPlaysSettings = DEFAULT) -> OwnPlays:
    return OwnPlays(popularity.fit(dataset, until_ms), settings)
