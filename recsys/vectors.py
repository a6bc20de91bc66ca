"""Operations on vectors that models and surfaces share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def normalize(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """(..., d) brought to length 1 along the last axis; vectors of zeros stay."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9), np.float32)
