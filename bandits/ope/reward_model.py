"""Reward models for the direct method and its kin, fitted so that no listener is predicted by what they did themselves.

fitted = cross_fit(features, item, reward, listener, eligible, target)
fitted.q_logged, fitted.q_target

`features(rows, items)` gives an (m, d) array for m pairs of a decision (row number) and an item. Any object with fit(X,
y) and predict(X) may be the model; the default is ridge regression, of which alone intervals know its own error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bandits.ope.lists import Lists
from bandits.ope.terms import F64, I64
from recsys.errors import BadInput

Features = Callable[[I64, NDArray[Any]], F64]
"""(rows, items) -> (m, d)."""


class Model(Protocol):
    """As in scikit-learn."""

    def fit(self, x: F64, y: F64, /) -> Any: ...

    def predict(self, x: F64, /) -> F64: ...


class Ridge:
    """Least squares with an unpenalised intercept and a small penalty on the rest."""

    def __init__(self, penalty: float = 1.0) -> None:
        self.penalty = penalty
        self.coefficients: F64 = np.zeros(0)
        self.gram: F64 = np.zeros((0, 0))

    def fit(self, x: F64, y: F64) -> Ridge:
        z = with_intercept(x)
        self.gram = z.T @ z + np.diag([1e-9] + [self.penalty] * x.shape[1])
        self.coefficients = np.asarray(np.linalg.solve(self.gram, z.T @ y), np.float64)
        return self

    def predict(self, x: F64) -> F64:
        return np.asarray(with_intercept(x) @ self.coefficients)


def with_intercept(x: F64) -> F64:
    return np.column_stack([np.ones(len(x)), x])


@dataclass(frozen=True)
class Part:
    """A linear model of one fold: for whom it speaks, and how far each decision that it was fitted on moves it."""

    held: I64
    logged: F64  # (held, d+1) features of what was logged, with intercept
    target: F64  # (d+1,) sum over `held` of the mean features under the target policy
    rest: I64
    influence: F64  # (rest, d+1) on the coefficients


@dataclass(frozen=True)
class Fitted:
    """Out-of-fold predictions for n decisions; where the model is linear, also what its own error depends on."""

    q_logged: F64  # (n,)
    q_target: F64  # (n,)
    parts: tuple[Part, ...]  # empty where the model is not linear

    def correction(self, kept: F64) -> F64 | None:
        """(n,) each decision's part, through the fit, in mean(q_target + kept * (reward - q_logged)); sums to 0.

        Method: influence function of a two-step estimator (Newey & McFadden 1994, section 6), fold by fold. It vanishes
        for DR, whose estimate does not move with small errors of the model. None where the model is not linear.
        """
        if not self.parts:
            return None
        out = np.zeros(len(kept))
        for part in self.parts:
            out[part.rest] += part.influence @ (part.target - kept[part.held] @ part.logged)
        return np.asarray(out - out.mean())


def cross_fit(
    features: Features,
    item: NDArray[Any],
    reward: F64,
    listener: I64,
    eligible: Lists,
    target: Lists,
    model: Callable[[], Model] = Ridge,
    folds: int = 5,
    seed: int = 0,
) -> Fitted:
    """Fits on the other listeners, predicts each listener's decisions (cross-fitting: Chernozhukov et al. 2018).

    Args:
        item, reward, listener: (n,) of the logged decisions. eligible: items that might have been taken.
        target: the target's distribution over them.

    Raises:
        BadInput: fewer listeners than folds.
    """
    fold, n = folds_of(listener, folds, seed), len(reward)
    x = features(np.arange(n), item)
    q_logged, q_target = np.zeros((2, n))
    parts: list[Part] = []
    for k in range(folds):
        held, rest = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        fitted = model()
        fitted.fit(x[rest], reward[rest])
        q_logged[held] = fitted.predict(x[held])
        offered, probability = eligible.take(held), target.take(held)
        pairs = features(held[offered.owner], offered.values)
        q_target[held] = probability.times(Lists(fitted.predict(pairs), offered.offsets)).sums()
        if isinstance(fitted, Ridge):
            moved = with_intercept(x[rest]) * (reward[rest] - fitted.predict(x[rest]))[:, None]
            influence = np.asarray(np.linalg.solve(fitted.gram, moved.T).T, np.float64)
            parts.append(
                Part(
                    held, with_intercept(x[held]), probability.values @ with_intercept(pairs), rest, influence
                )
            )
    return Fitted(q_logged, q_target, tuple(parts))


def folds_of(listener: I64, folds: int, seed: int) -> I64:
    """(n,) fold of each decision; all of a listener's are in one.

    Raises:
        BadInput: fewer listeners than folds.
    """
    count = int(listener.max(initial=-1)) + 1
    if count < folds:
        raise BadInput(f"{count} listeners cannot be cross-fitted in {folds} folds")
    return np.asarray(np.random.default_rng(seed).permutation(count)[listener] % folds)


def crossed(context: F64, items: F64) -> Features:
    """Features from (n, c) contexts by row and (i, d) vectors by item number: both, and every product of two."""

    def pairs(rows: I64, chosen: NDArray[Any]) -> F64:
        x, z = context[rows], items[chosen]
        products = (x[:, :, None] * z[:, None, :]).reshape(len(rows), -1)
        return np.column_stack([x, z, products])

    return pairs
