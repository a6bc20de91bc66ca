"""A fixed bound on what exploration may cost: any rule mixed with the greedy one as far as needed, exactly.

The expected loss of a slot is the best allowed estimated value less the mean under the stated probabilities. Where it
would exceed the bound, probabilities are pulled towards the greedy ones until it equals the bound. A slate of k
slots keeps within `bound` when every slot keeps within `bound / k`: the sum of slots' losses is at least what the whole
slate loses against the greedy one, where values add up and only caps (a matroid) constrain it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bandits.draws import Draws, best
from bandits.rules import Model, Rule
from recsys.errors import BadInput
from recsys.rerank.prefix import SUNK
from recsys.slate import SlotPolicy, at_quantile, sunk

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
_WITHIN = 1.0 - 1e-12  # rounding stays on the safe side
_LEAST = 1e-300  # a bound below is none: products of smaller numbers lose their digits


def loss(p: Floats, value: Floats, allowed: Bools) -> Floats:
    """(n,) expected loss of each row of probabilities (n, k), in units of value."""
    top = np.where(allowed, value, -np.inf).max(1, keepdims=True)
    return np.asarray((p * np.where(p > 0, top - value, 0.0)).sum(1))


def bounded(p: Floats, value: Floats, allowed: Bools, bound: float) -> Floats:
    """(n, k) probabilities whose expected loss is at most `bound` in every row.

    A value that is not finite, or was sunk for it, is worth no known amount: beside others it is not explored.
    """
    real = np.isfinite(value) & (value > SUNK) & allowed
    known = np.where(real.any(1, keepdims=True), real, allowed)
    value = sunk(value)
    greedy = best(value, known)
    kept = p * known
    p = kept + (1.0 - kept.sum(1, keepdims=True)) * greedy
    costs = loss(p, value, known)
    share = _WITHIN * bound / np.maximum(costs, _LEAST) if bound > _LEAST else np.zeros_like(costs)
    part = np.minimum(1.0, share)[:, None]
    return np.asarray(part * p + (1.0 - part) * greedy)


@dataclass(frozen=True)
class Bounded:
    """A rule under a bound, in units of the value, for one slot."""

    rule: Rule
    bound: float

    def __post_init__(self) -> None:
        _check(self.bound)

    @property
    def name(self) -> str:
        return f"{self.rule.name}_loss_{self.bound:g}"

    def draws(self, model: Model, contexts: Floats, seed: int) -> Draws | None:
        return self.rule.draws(model, contexts, seed)

    def probabilities(self, value: Floats, allowed: Bools, draws: Draws | None) -> Floats:
        p = self.rule.probabilities(value, allowed, draws)
        return bounded(p, value, allowed, self.bound)


class BoundedSlots:
    """Any slot policy of recsys.slate under a bound for the whole slate.

    Args:
        bound: expected loss of the slate, in units of utility. slots: of the slate, all shelves together.

    Raises:
        BadInput: a negative bound, or no slots.
    """

    def __init__(self, policy: SlotPolicy, bound: float, slots: int) -> None:
        _check(bound)
        if slots < 1:
            raise BadInput(f"a slate has at least one slot, not {slots}")
        self._policy, self._each = policy, bound / slots
        self.name = f"{policy.name}_loss_{bound:g}"

    def distribution(self, utility: Floats, allowed: Bools) -> Floats:
        """(n,) the policy's probabilities, as near to them as the bound lets them be."""
        p = self._policy.distribution(utility, allowed)
        return np.asarray(bounded(p[None], utility[None], allowed[None], self._each)[0])

    def pick(self, utility: Floats, allowed: Bools, u: float) -> tuple[int, float]:
        """See recsys.slate.SlotPolicy.pick."""
        return at_quantile(self.distribution(utility, allowed), u)


def _check(bound: float) -> None:
    if not bound >= 0:
        raise BadInput(f"a bound on exploration loss must be 0 or more, not {bound}")
