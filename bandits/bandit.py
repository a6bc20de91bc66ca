"""A bandit: a model that learns, a rule that explores, and propensities that are exact.

bandit = Bandit(LinearModel(LinearSettings(dim=8, arms=10)), Thompson(epsilon=0.01))
chosen = bandit.select(contexts, seed=7)                       # arms and propensities, one a row
bandit.partial_fit(contexts, chosen.arms, rewards)

Over the candidates of one request (a model with `arms=1`), `bandit.slots(features, seed)` gives what recsys.slate.fill
draws from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bandits.draws import Draws
from bandits.observations import matrix
from bandits.rules import Model, Rule
from bandits.slots import RuleSlots
from bandits.streams import uniforms
from recsys.errors import BadInput

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Selection:
    """What was drawn for n rows.

    Attributes:
        arms: (n,). propensities: (n,) probability of each under its row of `probabilities` (n, arms).
    """

    arms: NDArray[np.int64]
    propensities: Floats
    probabilities: Floats


class Bandit(Generic[M]):
    """Learns by `partial_fit`, chooses by `select` (arms) or `slots` (candidates)."""

    def __init__(self, model: M, rule: Rule) -> None:
        self.model, self.rule = model, rule

    @property
    def name(self) -> str:
        return f"{self.model.kind}_{self.rule.name}"

    def fit(
        self,
        contexts: ArrayLike,
        arms: ArrayLike,
        rewards: ArrayLike,
        when: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        keys: ArrayLike | None = None,
    ) -> Self:
        """Forgets everything, then learns; arguments as in bandits.linear.LinearModel.partial_fit."""
        self.model = self.model.fresh()
        return self.partial_fit(contexts, arms, rewards, when, weights, keys)

    def partial_fit(
        self,
        contexts: ArrayLike,
        arms: ArrayLike,
        rewards: ArrayLike,
        when: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        keys: ArrayLike | None = None,
    ) -> Self:
        """Learns from n observations; arguments as in bandits.linear.LinearModel.partial_fit."""
        self.model.partial_fit(contexts, arms, rewards, when, weights, keys)
        return self

    def distribution(self, contexts: ArrayLike, seed: int, allowed: Bools | None = None) -> Floats:
        """(n, arms) probabilities of n decisions; a row depends on its context and the seed, not on other rows.

        Args:
            contexts: (n, dim). allowed: (n, arms), at least one in every row; None: everything.

        Raises:
            BadInput: shapes that do not fit, or a row in which nothing is allowed.
        """
        x = matrix(contexts, self.model.settings.dim)
        value = self.model.mean(x)
        open_ = np.ones(value.shape, bool) if allowed is None else np.asarray(allowed, bool)
        if open_.shape != value.shape or not open_.any(1).all():
            raise BadInput(f"allowed must be {value.shape} with at least one arm in every row")
        return self.rule.probabilities(value, open_, self.rule.draws(self.model, x, seed))

    def select(self, contexts: ArrayLike, seed: int, allowed: Bools | None = None) -> Selection:
        """An arm for every row, drawn with `seed`; arguments as in `distribution`."""
        p = self.distribution(contexts, seed, allowed)
        arms = drawn(p, uniforms(seed, len(p)))
        return Selection(arms, p[np.arange(len(p)), arms], p)

    def slots(self, features: ArrayLike, seed: int) -> tuple[Floats, RuleSlots]:
        """(utilities (n,), slot policy) over the n candidates of one request, for recsys.slate.

        Args:
            features: (n, dim), a row a candidate. seed: the request's; it fixes the posterior draws.

        Raises:
            BadInput: the model has arms of its own.
        """
        if self.model.settings.arms != 1:
            raise BadInput(f"candidates need a model with arms=1, this has {self.model.settings.arms}")
        x = matrix(features, self.model.settings.dim)
        draws = self.rule.draws(self.model, x, seed)
        turned = None if draws is None else Draws(np.ascontiguousarray(draws.values.transpose(0, 2, 1)))
        return self.model.mean(x)[:, 0], RuleSlots(self.rule, turned)


def drawn(p: Floats, u: Floats) -> NDArray[np.int64]:
    """(n,) columns at the quantiles u (n,) of the rows of p (n, k); never one of probability 0."""
    cumulative = p.cumsum(1)
    column = (cumulative <= (u * cumulative[:, -1])[:, None]).sum(1)
    last = p.shape[1] - 1 - (p[:, ::-1] > 0).argmax(1)
    return np.asarray(np.minimum(column, last))
