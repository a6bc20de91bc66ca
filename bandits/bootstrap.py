"""Uncertainty without a formula: an ensemble of ridge regressions, each on its own online bootstrap of the stream.

Replica j counts observation i Poisson(1) times (Oza & Russell 2001; Eckles & Kaptein 2014), from a hash of (key of i,
j), so a replay and another order give the same ensemble. Each replica starts from random weights of its own, without
which nobody would be unsure before the first reward (Osband, Aslanides & Cassirer 2018).
"""

from __future__ import annotations

from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

from bandits.forgetting import Clock
from bandits.observations import check
from bandits.streams import hashed, normals

Floats = NDArray[np.float64]
_POISSON = np.array([0.36787944117144233, 0.7357588823428847, 0.9196986029286058, 0.9810118431238462])
_POISSON = np.append(
    _POISSON, [0.9963401531726563, 0.9994058151824183, 0.9999167588507119, 0.999989750803325]
)


class BootstrapSettings(BaseModel):
    """What an ensemble starts from.

    Attributes:
        replicas: of the ensemble. spread: standard deviation of the weights that each replica starts from.
        seed: of those and of the counts. The rest as in LinearSettings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dim: Annotated[int, Field(ge=1)]
    arms: Annotated[int, Field(ge=1)] = 1
    replicas: Annotated[int, Field(ge=2)] = 32
    l2: Annotated[float, Field(gt=0)] = 1.0
    spread: Annotated[float, Field(ge=0)] = 1.0
    half_life: Annotated[float, Field(ge=0)] = 0.0
    seed: int = 0
    basis: str = ""


class BootstrapModel:
    """An ensemble over arms; what exploration rules take as posterior samples are the replicas themselves."""

    kind = "bootstrap"
    Settings = BootstrapSettings

    def __init__(self, settings: BootstrapSettings) -> None:
        j, k, d = settings.replicas, settings.arms, settings.dim
        self.settings = settings
        self.clock = Clock(settings.half_life)
        self.start: Floats = settings.spread * normals(settings.seed, (j, k, d))
        self.gram: Floats = np.zeros((j, k, d, d))
        self.moment: Floats = np.zeros((j, k, d))
        self._ridge = settings.l2 * np.eye(d)
        self._stale = np.ones(k, bool)
        self._theta: Floats = np.empty((j, k, d))

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
        """Learns from n observations; arguments as in LinearModel.partial_fit.

        Without `keys` an observation's number in the stream is its key: pieces then give what one call gives.

        Raises:
            BadInput: as there.
        """
        seen = check(self.settings.dim, self.settings.arms, contexts, arms, rewards, when, weights, keys)
        n = len(seen.rewards)
        if not n:
            return self
        names = np.arange(self.clock.seen, self.clock.seen + n) if seen.keys is None else seen.keys
        factor, recent = self.clock.advance(n, seen.when)
        if factor != 1.0:
            self.gram *= factor
            self.moment *= factor
            self._stale[:] = True
        uniforms = hashed(names, self.settings.replicas, self.settings.seed)
        counts = np.searchsorted(_POISSON, uniforms, side="right") * (seen.weights * recent)
        for arm in np.unique(seen.arms):
            own = seen.arms == arm
            self._add(int(arm), seen.contexts[own], seen.rewards[own], counts[:, own])
        return self

    def _add(self, arm: int, x: Floats, y: Floats, counts: Floats) -> None:
        squares = (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
        j, d = len(counts), x.shape[1]
        self.gram[:, arm] += (counts @ squares).reshape(j, d, d)
        self.moment[:, arm] += counts @ (x * y[:, None])
        self._stale[arm] = True

    def _replicas(self, contexts: Floats) -> Floats:
        """(replicas, n, arms) rewards that each replica expects."""
        if self._stale.any():
            rows = self._stale.nonzero()[0]
            right = self.moment[:, rows] + self.settings.l2 * self.start[:, rows]
            solved = np.linalg.solve(self._ridge + self.gram[:, rows], right[..., None])
            self._theta[:, rows] = solved[..., 0]
            self._stale[rows] = False
        return np.asarray(contexts @ self._theta.transpose(0, 2, 1))

    def mean(self, contexts: Floats) -> Floats:
        """(n, arms) what the replicas expect on average."""
        return np.asarray(self._replicas(contexts).mean(0))

    def width(self, contexts: Floats) -> Floats:
        """(n, arms) standard deviation over the replicas."""
        return np.asarray(self._replicas(contexts).std(0))

    def optimistic(self, contexts: Floats, alpha: float) -> Floats:
        """(n, arms) `alpha` standard deviations."""
        return alpha * self.width(contexts)

    def sampled(self, contexts: Floats, samples: int, scale: float, seed: int) -> Floats:  # noqa: ARG002
        """(replicas, n, arms) the replicas less their mean; neither `samples` nor `seed` matters."""
        values = self._replicas(contexts)
        return np.asarray(scale * (values - values.mean(0)))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for bandits.state."""
        return {"gram": self.gram, "moment": self.moment, "clock": self.clock.array()}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Takes over what `arrays` gave."""
        self.gram[...], self.moment[...] = arrays["gram"], arrays["moment"]
        self.clock.restore(arrays["clock"])
        self._stale[:] = True
