"""A surrogate of return: E[days listened in days 8..28 | signals of the first days], learned from past policies.

surrogate = fit(frame, outcome, policy)     # rows of several policies whose 28 days are over
surrogate.predict(frame)                    # (n,) expected days; a listener's own outcome never teaches it

The surrogate index of Athey, Chetty, Imbens & Kang (2019; Review of Economic Studies 2025). The share of the days is a
fractional logit (Papke & Wooldridge 1996) with a ridge, cross-fitted by listener (Chernozhukov et al. 2018): folds
follow from a hash of the id, and each listener is told by the fold that has not seen them. What an index cannot know is
how far a new policy acts past its signals; `gap` measures that by leaving out every teaching policy in turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from experiments.analysis.moments import F64
from experiments.hashing import Hash, Units, slots
from experiments.long_term.features import NAMES, Shape
from experiments.long_term.logit import fractional_logit, sandwich, sigmoid
from recsys.errors import BadInput

Text = NDArray[np.str_]
LEAST_UNITS = 200
"""Listeners below which nothing is learned."""


class SurrogateSettings(BaseModel):
    """What is foretold, and how strongly the regression is held."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: int = Field(7, ge=2, le=28, description="first days whose signals are read")
    horizon: int = Field(28, ge=8, le=366, description="days since exposure whose end is foretold")
    ridge: float = Field(1.0, gt=0, description="penalty of a standardised weight, in listeners")
    folds: int = Field(5, ge=2, le=20)
    salt: str = "surrogate"

    @model_validator(mode="after")
    def _ordered(self) -> SurrogateSettings:
        if self.horizon <= self.days:
            raise ValueError("horizon must be later than days")
        return self

    @property
    def most(self) -> int:
        """Days that can be returned on."""
        return self.horizon - self.days


@dataclass(frozen=True)
class Surrogate:
    """Weights by fold, and what their errors are.

    Attributes:
        weights: (folds, 1 + columns), the intercept first; fold f has not seen listeners of fold f.
        covariance: of the weights of all folds together, clustered by listener.
        gap: how far the mean of a policy that did not teach is off, in days: a standard deviation over policies, beyond
            what chance explains; nan from fewer than three policies.
        policies: those that taught; `units`, how many listeners.
    """

    settings: SurrogateSettings
    shape: Shape
    weights: F64
    covariance: F64
    gap: float
    policies: tuple[str, ...]
    units: int

    def predict(self, frame: pl.DataFrame) -> F64:
        """(n,) expected days with a play in days `days`..`horizon`-1, of rows of `signals`."""
        x, fold = self._design(frame)
        return self.settings.most * sigmoid(np.einsum("nk,nk->n", x, self.weights[fold]))

    def gradient(self, frame: pl.DataFrame) -> F64:
        """(n, 1 + columns) of each prediction by the weights."""
        x, fold = self._design(frame)
        share = sigmoid(np.einsum("nk,nk->n", x, self.weights[fold]))
        return x * (self.settings.most * share * (1 - share))[:, None]

    def _design(self, frame: pl.DataFrame) -> tuple[F64, NDArray[np.int64]]:
        return design(self.shape, frame), folds_of(frame["unit"], self.settings)


def design(shape: Shape, frame: pl.DataFrame) -> F64:
    """(n, 1 + columns), ones first."""
    x = shape.columns(frame)
    return np.column_stack([np.ones(len(x)), x])


def folds_of(units: pl.Series, settings: SurrogateSettings) -> NDArray[np.int64]:
    """(n,) the fold of each listener, by a hash of the id."""
    ids = units.cast(pl.String)
    distinct = ids.unique(maintain_order=True)
    place = slots(Hash.OPTIMIZELY, settings.salt, Units.of(distinct.to_list())).astype(np.int64)
    fold = pl.DataFrame({"unit": distinct, "fold": place % settings.folds})
    joined = pl.DataFrame({"unit": ids}).join(fold, on="unit", how="left", maintain_order="left")
    return joined["fold"].to_numpy().astype(np.int64)


def fit(
    frame: pl.DataFrame, outcome: F64, policy: Text, settings: SurrogateSettings | None = None
) -> Surrogate:
    """Learns from rows of several policies.

    Args:
        frame: of `signals`; a listener may come once for every policy (or luck) that they lived under.
        outcome: (n,) days returned on. policy: (n,) whose logs a row is from.

    Raises:
        BadInput: too few listeners, or outcomes outside 0..`most`.
    """
    settings = settings or SurrogateSettings()
    y, policy = np.asarray(outcome, float) / settings.most, np.asarray(policy)
    if not (len(frame) == len(y) == len(policy)) or not ((y >= 0) & (y <= 1)).all():
        raise BadInput(f"outcomes are days, 0 to {settings.most}, one for each row of the frame")
    if frame["unit"].n_unique() < LEAST_UNITS:
        raise BadInput(
            f"a surrogate needs {LEAST_UNITS} listeners or more whose {settings.horizon} days are over"
        )
    shape = Shape.of(frame, settings.days)
    x, fold = design(shape, frame), folds_of(frame["unit"], settings)
    weights = np.stack(
        [fractional_logit(x[fold != f], y[fold != f], settings.ridge) for f in range(settings.folds)]
    )
    code = frame["unit"].cast(pl.String).rank("dense").to_numpy().astype(np.int64) - 1
    whole = fractional_logit(x, y, settings.ridge)
    return Surrogate(
        settings,
        shape,
        weights,
        sandwich(x, y, whole, code, settings.ridge),
        _gap(x, y, policy, code, settings) * settings.most,
        tuple(sorted(set(policy.tolist()))),
        int(code.max()) + 1,
    )


def _gap(x: F64, y: F64, policy: Text, code: NDArray[np.int64], settings: SurrogateSettings) -> float:
    """Spread of the mean residuals of policies left out in turn, less what chance gives (DerSimonian & Laird 1986)."""
    names, which = np.unique(policy, return_inverse=True)
    if len(names) < 3:
        return float("nan")
    residual = np.empty(len(y))
    for j in range(len(names)):
        own = which == j
        weights = fractional_logit(x[~own], y[~own], settings.ridge)
        residual[own] = y[own] - sigmoid(x[own] @ weights)
    mean, covariance = clustered_means(residual, which, code)
    centre = np.eye(len(names)) - 1 / len(names)
    spread = mean @ centre @ mean - np.trace(centre @ covariance)
    return float(np.sqrt(max(spread / (len(names) - 1), 0.0)))


def clustered_means(values: F64, group: NDArray[np.integer], cluster: NDArray[np.integer]) -> tuple[F64, F64]:
    """(g,) mean of each group and (g, g) their covariance, for values alike within clusters that span groups."""
    count = np.bincount(group)
    mean = np.bincount(group, values) / count
    influence = np.zeros((int(cluster.max()) + 1, len(count)))
    np.add.at(influence, (cluster, group), (values - mean[group]) / count[group])
    clusters = len(influence)
    return mean, influence.T @ influence * clusters / max(clusters - 1, 1)


def columns() -> tuple[str, ...]:
    """Names of a surrogate's weights."""
    return ("intercept", *NAMES)
