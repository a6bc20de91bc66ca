"""MovieLens-1M as in the SASRec repository's file: every listener's last item is the test, the one before validates.

    split = load(Path("../shared/data"))
    split.histories(valid=True), split.valid; split.histories(), split.test

6,040 users, 3,416 items, order kept, no times. All items are ranked, seen ones masked. Three "leave-one-out ML-1M"
exist (this file, ratings.dat with 3,706 items, sampled negatives); their figures must not be mixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from recsys.evaluation import metrics
from recsys.evaluation.protocol import Scores
from recsys.evaluation.ragged import Ragged
from recsys.plays import I32, I64

ITEMS = 3416
DATA = Path(__file__).parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Split:
    """Items are numbered from 0; row j is the j-th user of the file, in ascending order of its number."""

    sequences: Ragged  # (users) every item in order, the last two of them held out

    def histories(self, valid: bool = False) -> Ragged:
        """What a model may see before the test item, or (valid) before the validation item."""
        stops = self.sequences.offsets[1:] - (2 if valid else 1)
        return Ragged.slices(self.sequences.tracks, self.sequences.offsets[:-1], stops)

    @property
    def test(self) -> I32:
        """(users,)"""
        return self.sequences.tracks[self.sequences.offsets[1:] - 1]

    @property
    def valid(self) -> I32:
        """(users,)"""
        return self.sequences.tracks[self.sequences.offsets[1:] - 2]


def load(data: Path = DATA) -> Split:
    """Raises FileNotFoundError where the data is not there."""
    rows = pl.read_parquet(data / "ml1m_sasrec.parquet").sort("user", "pos")
    counts = rows.group_by("user", maintain_order=True).len()["len"].to_numpy()
    offsets: I64 = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Split(Ragged(offsets, rows["item"].to_numpy().astype(np.int32) - 1))


def top_lists(scores: Scores, histories: Ragged, rows: I64, k: int = 20) -> I32:
    """(b, k) best unseen items of users `rows` by scores (b, ITEMS); ties break by a seeded order."""
    scores = scores.copy()
    seen = histories.take(rows)
    scores[seen.owner, seen.tracks] = -np.inf
    return metrics.top_k(scores, k, rows)
