"""Forgetting by time: what was learned `half_life` units of time ago counts half, whenever its reward arrives.

A batch of observations is weighed against the newest moment seen so far, so a late reward counts as if it had come
in time, and the order of batches does not matter (exponential discounting: Garivier & Moulines 2011; Russac, Vernade
& Cappe 2019).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Clock:
    """The newest moment that a model has learned from.

    Args:
        half_life: in the unit of `when` (default unit: one observation); 0 never forgets.
    """

    def __init__(self, half_life: float) -> None:
        self.half_life = half_life
        self.now = -np.inf  # of the newest observation
        self.seen = 0  # observations in all

    def advance(self, n: int, when: Floats | None) -> tuple[float, Floats | float]:
        """(factor on everything learned before, weights (n,) of the new observations); moves the clock.

        `when`: (n,) times of the decisions; None: they follow what was seen one unit apart.
        """
        if when is None and self.half_life:
            when = np.arange(self.seen, self.seen + n, dtype=np.float64)
        self.seen += n
        if when is None or not self.half_life or not n:
            return 1.0, 1.0
        before, self.now = self.now, max(self.now, float(when.max()))
        return self.left(self.now - before), np.exp2((when - self.now) / self.half_life)

    def left(self, age: float) -> float:
        """What is left of an observation of that age; 1 where nothing was seen before."""
        return float(np.exp2(-age / self.half_life)) if np.isfinite(age) else 1.0

    def array(self) -> Floats:
        """(2,) what `restore` takes over."""
        return np.array([self.now, self.seen], np.float64)

    def restore(self, kept: NDArray[np.floating]) -> None:
        """As it was when `array` was called."""
        self.now, self.seen = float(kept[0]), int(kept[1])
