"""A learned policy over the candidates of one request, as a slot policy for recsys.slate.

utility, policy = bandit.slots(features, seed)             # bandits.bandit.Bandit
slots = fill(Problem(ids, utility, artist, shelves, rules, effects=..., quotas=...), policy, seed)

Posterior draws enter as deviations from the mean, so what list effects do to utilities reaches every draw, and a
constant added to all utilities changes nothing. Each slot chooses among the draws anew: its propensity given the
slots before is the share of draws, whatever was placed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bandits.draws import Draws
from bandits.rules import Rule
from recsys.slate import at_quantile

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class RuleSlots:
    """A rule of bandits.rules with the draws (m, 1, n) of one request's n candidates."""

    def __init__(self, rule: Rule, draws: Draws | None = None) -> None:
        self.name = rule.name
        self._rule, self._draws = rule, draws

    def distribution(self, utility: Floats, allowed: Bools) -> Floats:
        """(n,) probabilities that sum to 1; 0 outside `allowed`."""
        return np.asarray(self._rule.probabilities(utility[None], allowed[None], self._draws)[0])

    def pick(self, utility: Floats, allowed: Bools, u: float) -> tuple[int, float]:
        """See recsys.slate.SlotPolicy.pick."""
        return at_quantile(self.distribution(utility, allowed), u)
