"""What exploring cost an answer in the model's own estimate, slot by slot, from its record: held against the bound."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bandits.bounded import loss
from recsys.slate import Floats, SlotPolicy, at_quantile, propensities
from recsys.types import Decision
from serving.decisions import batch_of, query_of, recorded
from serving.parts.selectors import ShelfSelector

Bools = NDArray[np.bool_]


@dataclass
class Watched:
    """A slot policy that writes down the expected loss of every slot that it is asked for."""

    policy: SlotPolicy
    losses: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.policy.name

    def distribution(self, utility: Floats, allowed: Bools) -> Floats:
        p = self.policy.distribution(utility, allowed)
        self.losses.append(float(loss(p[None], utility[None], allowed[None])[0]))
        return p

    def pick(self, utility: Floats, allowed: Bools, u: float) -> tuple[int, float]:
        return at_quantile(self.distribution(utility, allowed), u)


def spent(selector: ShelfSelector, decision: Decision) -> list[float]:
    """Expected loss of each slot that was placed: the best allowed value less the mean under the probabilities."""
    own, batch = recorded(decision), batch_of(decision, query_of(decision))
    watched = Watched(selector.policy_of(batch, 0, own))
    rows = np.searchsorted(own.ids, [slot["track"] for slot in decision.slots]).tolist()
    propensities(selector.problem(batch, 0, own), watched, decision.seed, rows)
    return watched.losses
