"""What every estimator returns: an estimate as a ratio of sums over decisions, and the same by listener.

terms = ips(weight, reward); terms.value; terms.by_listener(listener)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Terms:
    """n decisions; the estimate is sum(top) / sum(bottom), where bottom is 1 for plain means."""

    top: F64  # (n,) in units of reward
    bottom: F64  # (n,)
    weight: F64  # (n,) importance weights of mean 1 that the estimate rests on; diagnostics read them

    @classmethod
    def mean(cls, top: F64, weight: F64) -> Terms:
        """A plain mean over decisions."""
        return cls(top, np.ones(len(top)), weight)

    @property
    def value(self) -> float:
        return float(self.top.sum() / self.bottom.sum())

    def plus(self, correction: F64 | None) -> Terms:
        """With (n,) parts that sum to 0: they change intervals, not the value."""
        return self if correction is None else Terms(self.top + correction, self.bottom, self.weight)

    def by_listener(self, listener: I64) -> Units:
        """Sums over the decisions of each listener; `listener` (n,) dense numbers from 0."""
        count = int(listener.max(initial=-1)) + 1
        top, bottom = (np.bincount(listener, part, minlength=count) for part in (self.top, self.bottom))
        return Units(
            np.asarray(top, np.float64),
            np.asarray(bottom, np.float64),
            np.bincount(listener, minlength=count),
        )


@dataclass(frozen=True)
class Units:
    """C listeners, the independent units of every interval here."""

    top: F64  # (C,)
    bottom: F64  # (C,)
    count: I64  # (C,) decisions

    def __len__(self) -> int:
        return len(self.top)

    @property
    def value(self) -> float:
        return float(self.top.sum() / self.bottom.sum())
