"""Thompson sampling on the last layer of a trained network, with the reward's noise learned too.

Vectors of the listener and of the tracks (two-tower, sequence) come in as columns; the head over them is Bayesian and
starts where the network's own score is (Riquelme, Tucker & Snoek 2018; the normal-inverse-gamma posterior of
Bishop 2006, section 3.3). New vectors need a new `basis` and a fit from the log: old statistics are in old coordinates.

features = joint(listener, tracks)                                    # (n, 1 + d + d)
model = NeuralLinear(NeuralLinearSettings(dim=features.shape[1], prior=head(len(listener), scale=1.0)))
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bandits.linear import LinearModel, LinearSettings
from bandits.streams import gammas

Floats = NDArray[np.float64]


class NeuralLinearSettings(LinearSettings):
    """As LinearSettings.

    Attributes:
        shape, noise: inverse-gamma prior of the noise variance: worth 2 `shape` observations of variance about `noise`.
    """

    shape: Annotated[float, Field(gt=0)] = 3.0
    noise: Annotated[float, Field(gt=0)] = 0.25


class NeuralLinear(LinearModel):
    """LinearModel whose posterior draws have the scale of the noise that the rewards have shown."""

    kind = "neural_linear"
    Settings = NeuralLinearSettings
    settings: NeuralLinearSettings

    def __init__(self, settings: NeuralLinearSettings) -> None:
        super().__init__(settings)

    def noise(self) -> tuple[Floats, Floats]:
        """(arms,) shape and rate of each arm's posterior of the noise variance."""
        self._solve()
        explained = (self.moment * self._delta).sum(1)
        shape = self.settings.shape + 0.5 * self.weight
        rate = self.settings.shape * self.settings.noise + 0.5 * np.maximum(self.squares - explained, 0.0)
        return shape, rate

    def _noise(self, draws: Floats, samples: int, seed: int) -> Floats:
        shape, rate = self.noise()
        variance = rate / gammas(seed, shape, (samples, len(shape)))
        return np.asarray(draws * np.sqrt(variance)[:, None, :])


def joint(listener: NDArray[np.floating], tracks: NDArray[np.floating]) -> Floats:
    """(n, 1 + 2 d) features of n tracks for one listener: 1, the vectors' products by coordinate, the tracks' own.

    Args:
        listener: (d,). tracks: (n, d).
    """
    tracks = np.asarray(tracks, np.float64)
    return np.concatenate([np.ones((len(tracks), 1)), tracks * listener, tracks], axis=1)


def head(dim: int, scale: float) -> tuple[float, ...]:
    """The prior under which `joint` features give `scale` times the inner product, as the network's own score is."""
    return (0.0, *[float(scale)] * dim, *[0.0] * dim)
