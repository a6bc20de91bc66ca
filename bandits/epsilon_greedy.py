"""ε-greedy over the ranked list: the first slot policy. With probability ε any allowed track, else the best.

P(track) = ε / |allowed| + (1 - ε) [track = argmax]; exact, and positive for every allowed track when ε > 0, so
off-policy estimates have support (Sutton & Barto 2018, section 2.2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recsys.errors import BadInput


class EpsilonGreedy:
    """A slot policy for recsys.slate.

    Raises:
        BadInput: epsilon outside 0..1.
    """

    def __init__(self, epsilon: float = 0.1) -> None:
        if not 0 <= epsilon <= 1:
            raise BadInput(f"epsilon must lie in 0..1, not {epsilon}")
        self.epsilon = epsilon
        self.name = f"epsilon_greedy_{epsilon:g}"

    def distribution(self, utility: NDArray[np.float64], allowed: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(n,) probabilities that sum to 1; equal utilities have been told apart by the caller's tie-break."""
        probabilities = allowed * (self.epsilon / np.count_nonzero(allowed))
        probabilities[np.where(allowed, utility, -np.inf).argmax()] += 1 - self.epsilon
        return probabilities

    def pick(self, utility: NDArray[np.float64], allowed: NDArray[np.bool_], u: float) -> tuple[int, float]:
        """What `at_quantile` gives for the distribution, without writing it out: home fills 50 slots a request."""
        rows = allowed.nonzero()[0]
        best = int(rows[utility[rows].argmax()])
        share, bonus = self.epsilon / len(rows), 1 - self.epsilon
        before = share * float(rows.searchsorted(best))
        if before <= u < before + share + bonus or not share:
            return best, share + bonus
        place = int((u if u < before else u - bonus) / share)
        row = int(rows[min(place, len(rows) - 1)])
        return row, share + bonus if row == best else share
