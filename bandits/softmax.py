"""A slot policy that varies from draw to draw and keeps to the ranking: Plackett-Luce with uniform support.

P(track) = epsilon / |allowed| + (1 - epsilon) exp(u / T) / sum over the allowed of exp(u / T); a list drawn slot by
slot without replacement is then Plackett-Luce (Plackett 1975; Luce 1959), with exact propensities.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.errors import BadInput
from recsys.slate import at_quantile


class Softmax:
    """A slot policy for recsys.slate; for lists that should not look the same every day.

    Args:
        temperature: in units of utility; the smaller, the closer to the ranking.
        epsilon: share of slots drawn uniformly from what is allowed.

    Raises:
        BadInput: temperature not above 0, or epsilon outside 0..1.
    """

    def __init__(self, temperature: float, epsilon: float = 0.0) -> None:
        if not temperature > 0 or not 0 <= epsilon <= 1:
            raise BadInput(
                f"softmax needs temperature > 0 and epsilon in 0..1, not {temperature} and {epsilon}"
            )
        self.temperature, self.epsilon = temperature, epsilon
        self.name = f"softmax_{temperature:g}_{epsilon:g}"

    def distribution(self, utility: NDArray[np.float64], allowed: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(n,) probabilities that sum to 1; 0 outside `allowed`."""
        rows, p = self._over(utility, allowed)
        probabilities = np.zeros(len(utility))
        probabilities[rows] = p
        return probabilities

    def pick(self, utility: NDArray[np.float64], allowed: NDArray[np.bool_], u: float) -> tuple[int, float]:
        """See recsys.slate.SlotPolicy.pick; reads the allowed candidates alone."""
        rows, p = self._over(utility, allowed)
        place, probability = at_quantile(p, u)
        return int(rows[place]), probability

    def _over(
        self, utility: NDArray[np.float64], allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The allowed rows and their probabilities."""
        rows = np.flatnonzero(allowed)
        own = utility[rows]
        weight = np.exp((own - own.max()) / self.temperature)
        return rows, self.epsilon / len(rows) + (1 - self.epsilon) * weight / weight.sum()
