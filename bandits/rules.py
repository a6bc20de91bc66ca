"""From estimates to probabilities: exploration rules over rows of values, exact and indifferent to a shift.

rule = Thompson(samples=256, epsilon=0.01)
p = rule.probabilities(value, allowed, rule.draws(model, contexts, seed))       # (n, k)

Rows are decisions, columns what may be chosen. Equal best values share their probability; a value that is not finite
sinks below all others; nothing outside `allowed` gets any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bandits.draws import Draws, best, won
from recsys.errors import BadInput
from recsys.slate import sunk

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Settings(Protocol):
    """What every model's settings say."""

    @property
    def dim(self) -> int: ...

    @property
    def arms(self) -> int: ...


class Model(Protocol):
    """What learns: estimates of rewards with their uncertainty. See bandits.linear for shapes."""

    @property
    def kind(self) -> str: ...

    @property
    def settings(self) -> Settings: ...

    def fresh(self) -> Self:
        """One of the same settings that has learned nothing."""
        ...

    def partial_fit(
        self,
        contexts: ArrayLike,
        arms: ArrayLike,
        rewards: ArrayLike,
        when: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        keys: ArrayLike | None = None,
    ) -> Self: ...

    def mean(self, contexts: Floats) -> Floats: ...

    def optimistic(self, contexts: Floats, alpha: float) -> Floats: ...

    def sampled(self, contexts: Floats, samples: int, scale: float, seed: int) -> Floats: ...


class Rule(Protocol):
    """An exploration rule."""

    @property
    def name(self) -> str: ...

    def draws(self, model: Model, contexts: Floats, seed: int) -> Draws | None:
        """What the rule adds to the values, m times; None: it looks at the values alone."""
        ...

    def probabilities(self, value: Floats, allowed: Bools, draws: Draws | None) -> Floats:
        """(n, k) rows that sum to 1, of values (n, k) and a mask (n, k) with something allowed in every row."""
        ...


@dataclass(frozen=True)
class Greedy:
    """ε-greedy (Sutton & Barto 2018, section 2.2); ε = 0 is the best alone."""

    epsilon: float = 0.0

    def __post_init__(self) -> None:
        share(self.epsilon)

    @property
    def name(self) -> str:
        return f"epsilon_greedy_{self.epsilon:g}"

    def draws(self, _model: Model, _contexts: Floats, _seed: int) -> None:
        return

    def probabilities(self, value: Floats, allowed: Bools, _draws: Draws | None) -> Floats:
        return mixed(best(sunk(value), allowed), allowed, self.epsilon)


@dataclass(frozen=True)
class PlackettLuce:
    """Softmax of value / temperature; drawn slot by slot without replacement it is Plackett–Luce."""

    temperature: float
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        share(self.epsilon)
        above_zero("temperature", self.temperature)

    @property
    def name(self) -> str:
        return f"softmax_{self.temperature:g}_{self.epsilon:g}"

    def draws(self, _model: Model, _contexts: Floats, _seed: int) -> None:
        return

    def probabilities(self, value: Floats, allowed: Bools, _draws: Draws | None) -> Floats:
        masked = np.where(allowed, sunk(value), -np.inf)
        weight = np.exp((masked - masked.max(1, keepdims=True)) / self.temperature)
        return mixed(weight / weight.sum(1, keepdims=True), allowed, self.epsilon)


@dataclass(frozen=True)
class InverseGap:
    """SquareCB: P(a) = 1 / (k + γ (best - value)), the rest to the best (Abe & Long 1999; Foster & Rakhlin 2020).

    k counts what is allowed; the larger γ, the greedier.
    """

    gamma: float
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        share(self.epsilon)
        above_zero("gamma", self.gamma)

    @property
    def name(self) -> str:
        return f"inverse_gap_{self.gamma:g}_{self.epsilon:g}"

    def draws(self, _model: Model, _contexts: Floats, _seed: int) -> None:
        return

    def probabilities(self, value: Floats, allowed: Bools, _draws: Draws | None) -> Floats:
        value = sunk(value)
        top = np.where(allowed, value, -np.inf).max(1, keepdims=True)
        gap = np.where(allowed, top - value, 0.0)
        p = np.where(allowed, 1.0 / (allowed.sum(1, keepdims=True) + self.gamma * gap), 0.0)
        return mixed(p + (1.0 - p.sum(1, keepdims=True)) * best(value, allowed), allowed, self.epsilon)


@dataclass(frozen=True)
class Optimistic:
    """LinUCB: the best of value + α standard deviations, mixed with ε so that off-policy estimates have support
    (Li et al. 2010)."""

    alpha: float = 1.0
    epsilon: float = 0.01

    def __post_init__(self) -> None:
        share(self.epsilon)

    @property
    def name(self) -> str:
        return f"ucb_{self.alpha:g}_{self.epsilon:g}"

    def draws(self, model: Model, contexts: Floats, _seed: int) -> Draws:
        return Draws(model.optimistic(contexts, self.alpha)[None])

    def probabilities(self, value: Floats, allowed: Bools, draws: Draws | None) -> Floats:
        return mixed(won(value, allowed, draws), allowed, self.epsilon)


@dataclass(frozen=True)
class Thompson:
    """The share of `samples` posterior draws, of the logged seed, in which each is the best; mixed with ε.

    Exact given the draws (Thompson 1933; Agrawal & Goyal 2013). `scale` multiplies the posterior's width.
    """

    samples: int = 256
    scale: float = 1.0
    epsilon: float = 0.01

    def __post_init__(self) -> None:
        share(self.epsilon)
        above_zero("scale", self.scale)
        if self.samples < 1:
            raise BadInput(f"thompson needs at least one sample, not {self.samples}")

    @property
    def name(self) -> str:
        return f"thompson_{self.samples}_{self.scale:g}_{self.epsilon:g}"

    def draws(self, model: Model, contexts: Floats, seed: int) -> Draws:
        return Draws(model.sampled(contexts, self.samples, self.scale, seed))

    def probabilities(self, value: Floats, allowed: Bools, draws: Draws | None) -> Floats:
        return mixed(won(value, allowed, draws), allowed, self.epsilon)


def mixed(p: Floats, allowed: Bools, epsilon: float) -> Floats:
    """p with a share ε drawn uniformly from what is allowed."""
    if not epsilon:
        return p
    return np.asarray((1.0 - epsilon) * p + epsilon * allowed / allowed.sum(-1, keepdims=True))


def share(epsilon: float) -> None:
    """Raises BadInput unless epsilon lies in 0..1."""
    if not 0 <= epsilon <= 1:
        raise BadInput(f"epsilon must lie in 0..1, not {epsilon}")


def above_zero(name: str, value: float) -> None:
    """Raises BadInput unless the value is above 0 and finite."""
    if not 0 < value < np.inf:
        raise BadInput(f"{name} must be above 0, not {value}")
