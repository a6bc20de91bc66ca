"""The learned policy as parts of the home pipeline: a scorer of learned values, and the slot policy of each request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bandits.draws import Draws
from bandits.epsilon_greedy import EpsilonGreedy
from bandits.slots import RuleSlots
from recsys.pipeline import Candidates, Column
from recsys.slate import SlotPolicy
from recsys.types import QueryBatch
from serving.learning.features import features
from serving.learning.settings import LearnedSettings
from serving.learning.states import Taught
from serving.loaded import Retrieval

COLUMN = "learned"
_ROWS = "learned_x"  # (m, dim): a matrix stays out of the record, which has all that it is made from


@dataclass(frozen=True)
class LearnedScorer:
    """Column `learned`: the expected reward of a slot that is looked at, as learned so far."""

    taught: Taught
    release: Retrieval
    name: str = COLUMN

    def hydrate(self, batch: QueryBatch, candidates: Candidates) -> dict[str, Column]:
        x = features(batch, candidates, self.release)
        return {COLUMN: values(self.taught, x), _ROWS: x}


def values(taught: Taught, x: NDArray[np.float64]) -> NDArray[np.float32]:
    """(m,) means, each the same whatever other rows there are, in the precision of the record."""
    return np.asarray((x * taught.weights).sum(axis=1), np.float32)


@dataclass(frozen=True)
class LearnedSlots:
    """Builds the slot policy of request j over its candidates, for ShelfSelector."""

    taught: Taught
    release: Retrieval
    settings: LearnedSettings
    epsilon: float
    shelves: int

    def __call__(self, batch: QueryBatch, j: int, own: Candidates) -> SlotPolicy:
        rule = self.settings.chosen(self.epsilon)
        draws: Draws | None = None
        if self.settings.rule in ("thompson", "ucb"):
            x = own.columns.get(_ROWS)
            if x is None:  # candidates from a record
                x = features(batch.take(np.array([j])), own, self.release)
            drawn = rule.draws(self.taught.model, np.asarray(x, np.float64), batch.queries[j].seed)
            if drawn is not None:
                draws = Draws(np.ascontiguousarray(drawn.values.transpose(0, 2, 1)))
        slots = max(batch.queries[j].limit * self.shelves, 1)
        # A slot has no ties, so both greedy policies state the same; this one picks without the whole distribution.
        greedy = self.settings.rule == "greedy"
        policy: SlotPolicy = EpsilonGreedy(self.epsilon) if greedy else RuleSlots(rule, draws)
        return self.settings.bounded(policy, slots)
