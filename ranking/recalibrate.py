"""Fits a ranker's calibrators anew on slots that the server itself drew at random and the listeners played.

ranker = recalibrated(ranker, {"radio": Slots(p, label)})

Logged plays of a surface are those that an earlier recommender, or the listener, chose; randomised slots are what the
claim is about. The boosters stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ranking.calibration import fit
from ranking.config import OUTCOMES
from ranking.model import Ranker


@dataclass(frozen=True)
class Slots:
    """m played slots of one surface."""

    p: Mapping[str, NDArray[np.floating]]  # outcome -> (m,) what the ranker said, calibrated
    label: Mapping[str, NDArray[np.int8]]  # outcome -> (m,) 0 or 1

    def __len__(self) -> int:
        return len(next(iter(self.label.values())))


def recalibrated(ranker: Ranker, slots: Mapping[str, Slots]) -> Ranker:
    """The ranker with calibrators of the given surfaces fitted on their slots, pulled towards those it has."""
    calibrators = {objective: dict(by) for objective, by in ranker.calibrators.items()}
    for surface, own in slots.items():
        for objective in OUTCOMES:
            now = ranker.calibrator(objective, surface)
            score = now.inverse(own.p[objective])
            calibrators[objective][surface] = fit(score, own.label[objective], toward=now)
    return replace(ranker, calibrators=calibrators)
