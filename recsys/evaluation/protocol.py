"""What evaluation asks of a model: scores over the whole catalog for a batch of requests; and how one is
fitted."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recsys.dataset import Dataset
from recsys.types import QueryBatch

Scores = NDArray[np.float32]


class Model(Protocol):
    """Anything that ranks the catalog. A row of scores depends on its own query only (to 1e-6)."""

    @property
    def name(self) -> str: ...

    def score(self, batch: QueryBatch) -> Scores:
        """(b, n_items), higher is better; -inf where the track is not recommended at all."""
        ...


class Fit(Protocol):
    """Trains on plays that started before `until_ms` and on nothing later."""

    def __call__(self, dataset: Dataset, until_ms: int) -> Model: ...
