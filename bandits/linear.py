"""Linear rewards, one ridge regression an arm, kept as sufficient statistics: the order of updates does not matter.

model = LinearModel(LinearSettings(dim=8, arms=10))
model.partial_fit(contexts, arms, rewards).mean(contexts)      # (n, 10)

With `arms=1` the rows are the candidates of one decision (their features), and posterior samples are joint over them;
with more arms each row is a decision, and arms are independent (Li et al. 2010; Agrawal & Goyal 2013).
"""

from __future__ import annotations

from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

from bandits import gaussian
from bandits.forgetting import Clock
from bandits.observations import Observations, check
from bandits.streams import normals
from recsys.errors import BadInput

Floats = NDArray[np.float64]
Positive = Annotated[int, Field(ge=1)]


class LinearSettings(BaseModel):
    """What a linear model starts from.

    Attributes:
        dim: of contexts. arms: 1 for a model over features of candidates.
        l2: prior precision of each weight, in units of the reward's noise. half_life: see bandits.forgetting.
        prior: (dim,) weights to start from, as of a trained head; None: zeros.
        basis: what made the features (a release); a state is only good for the same one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dim: Positive
    arms: Positive = 1
    l2: Annotated[float, Field(gt=0)] = 1.0
    half_life: Annotated[float, Field(ge=0)] = 0.0
    prior: tuple[float, ...] | None = None
    basis: str = ""


class LinearModel:
    """Means and posterior widths of linear rewards.

    Raises:
        BadInput: a prior of another size than `dim`.
    """

    kind = "linear"
    Settings = LinearSettings

    def __init__(self, settings: LinearSettings) -> None:
        k, d = settings.arms, settings.dim
        self.settings = settings
        self.clock = Clock(settings.half_life)
        self.prior: Floats = gaussian.start(settings.prior, d)
        self.gram: Floats = np.zeros((k, d, d))  # sum of w x x'
        self.moment: Floats = np.zeros((k, d))  # sum of w x (r - x'prior)
        self.squares: Floats = np.zeros(k)  # sum of w (r - x'prior)^2
        self.weight: Floats = np.zeros(k)  # sum of w
        self._ridge = settings.l2 * np.eye(d)
        self._stale = np.ones(k, bool)
        self._covariance: Floats = np.empty((k, d, d))
        self._delta: Floats = np.empty((k, d))

    def fresh(self) -> Self:
        """One of the same settings that has learned nothing."""
        return type(self)(self.settings)

    def partial_fit(
        self,
        contexts: ArrayLike,
        arms: ArrayLike,
        rewards: ArrayLike,
        when: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        keys: ArrayLike | None = None,
    ) -> Self:
        """Learns from n observations.

        Args:
            contexts: (n, dim). arms: (n,). rewards: (n,). when: (n,) times of the decisions. weights: (n,) 0 or more.
            keys: (n,) integers that name the observations; only the bootstrap reads them.

        Raises:
            BadInput: shapes that do not fit, an unknown arm, values that are not finite.
        """
        seen = check(self.settings.dim, self.settings.arms, contexts, arms, rewards, when, weights, keys)
        if len(seen.rewards):
            factor, recent = self.clock.advance(len(seen.rewards), seen.when)
            self._fade(factor)
            self._add(seen, seen.weights * recent)
        return self

    def _fade(self, factor: float) -> None:
        if factor != 1.0:
            for statistic in (self.gram, self.moment, self.squares, self.weight):
                statistic *= factor
            self._stale[:] = True

    def _add(self, seen: Observations, weights: Floats) -> None:
        residual = seen.rewards - seen.contexts @ self.prior
        for arm in np.unique(seen.arms):
            own = seen.arms == arm
            x, y, w = seen.contexts[own], residual[own], weights[own]
            weighted = x * w[:, None]
            self.gram[arm] += weighted.T @ x
            self.moment[arm] += weighted.T @ y
            self.squares[arm] += w @ (y * y)
            self.weight[arm] += w.sum()
            self._stale[arm] = True

    def mean(self, contexts: Floats) -> Floats:
        """(n, arms) expected rewards of contexts (n, dim)."""
        self._solve()
        return np.asarray(contexts @ (self.prior + self._delta).T)

    def width(self, contexts: Floats) -> Floats:
        """(n, arms) posterior standard deviations, in units of the reward's noise."""
        self._solve()
        return gaussian.width(self._covariance, contexts)

    def optimistic(self, contexts: Floats, alpha: float) -> Floats:
        """(n, arms) what optimism adds to the mean: `alpha` posterior standard deviations (LinUCB)."""
        return alpha * self.width(contexts)

    def sampled(self, contexts: Floats, samples: int, scale: float, seed: int) -> Floats:
        """(samples, n, arms) posterior draws less the mean, from `seed` alone; rows do not depend on each other.

        `scale` multiplies the noise of the reward (v of Agrawal & Goyal).
        """
        if self.settings.arms > 1:
            draws = normals(seed, (samples, 1, self.settings.arms))
            return scale * self.width(contexts) * self._noise(draws, samples, seed)
        self._solve()
        theta = gaussian.joint(self._ridge + self.gram[0], samples, seed)
        theta = scale * self._noise(theta[:, None, :], samples, seed)[:, 0, :]
        return np.asarray(theta @ contexts.T)[:, :, None]

    def _noise(self, draws: Floats, samples: int, seed: int) -> Floats:  # noqa: ARG002
        """Draws (samples, 1, ...) times the reward's noise, which is 1 here."""
        return draws

    def _solve(self) -> None:
        if not self._stale.any():
            return
        rows = self._stale.nonzero()[0]
        self._covariance[rows] = np.linalg.inv(self._ridge + self.gram[rows])
        self._delta[rows] = (self._covariance[rows] @ self.moment[rows, :, None])[:, :, 0]
        self._stale[rows] = False

    def merged(self, other: Self) -> Self:
        """A model that has learned what both have, as of the newer clock; for learners on parts of a stream.

        Raises:
            BadInput: settings differ.
        """
        if self.settings != other.settings:
            raise BadInput("models of different settings cannot be merged: give both the same settings")
        out = type(self)(self.settings)
        out.clock.now = max(self.clock.now, other.clock.now)
        out.clock.seen = self.clock.seen + other.clock.seen
        for part in (self, other):
            left = out.clock.left(out.clock.now - part.clock.now) if part.clock.half_life else 1.0
            for name, statistic in part._statistics().items():
                getattr(out, name)[...] += left * statistic
        return out

    def _statistics(self) -> dict[str, Floats]:
        return {
            "gram": self.gram,
            "moment": self.moment,
            "squares": self.squares,
            "weight": self.weight,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for bandits.state."""
        return {**self._statistics(), "clock": self.clock.array()}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Takes over what `arrays` gave."""
        for name, statistic in self._statistics().items():
            statistic[...] = arrays[name]
        self.clock.restore(arrays["clock"])
        self._stale[:] = True
