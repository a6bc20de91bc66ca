"""The ranker: one calibrated LightGBM per objective, joined by one declared utility.

    ranker = Ranker.load(folder)
    p = ranker.probabilities(x, surface)          # {"finish": (m,), "skip": (m,), "save": (m,)}
    u = utility(p, ranker.config.weights)         # (m,)

Saved as LightGBM text files and one JSON that names the digest of each: nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ranking.calibration import Beta
from ranking.config import OBJECTIVES, RankerConfig, UtilityWeights
from recsys.errors import BadInput, ReleaseRefused
from recsys.features.pair import Features

if TYPE_CHECKING:
    from lightgbm import Booster

Floats = NDArray[np.floating]
FILE = "ranker.json"
ANY = "any"
"""Calibrator of a surface that was never seen."""


@dataclass(frozen=True)
class Ranker:
    """Boosters and calibrators of each objective; `names` are the feature columns they were trained on."""

    names: tuple[str, ...]
    boosters: dict[str, Booster]
    calibrators: dict[str, dict[str, Beta]]  # objective -> surface -> calibrator
    config: RankerConfig

    def probabilities(self, x: Features, surface: str = ANY) -> dict[str, Floats]:
        """Calibrated probability of each objective, (m,) each, for tracks shown on a surface.

        Raises:
            BadInput: another number of features than in training.
        """
        return {o: self.calibrate(o, surface, p) for o, p in self.raw(x).items()}

    def calibrate(self, objective: str, surface: str, raw: Floats) -> Floats:
        """(m,) probabilities from a booster's scores, for tracks shown on a surface."""
        by_surface = self.calibrators[objective]
        return by_surface.get(surface, by_surface[ANY])(raw)

    def raw(self, x: Features) -> dict[str, Floats]:
        """The boosters' own probabilities: what a track not shown (slot NaN) is ranked by."""
        if x.shape[1] != len(self.names):
            raise BadInput(
                f"the ranker was trained on {len(self.names)} features, not {x.shape[1]}: retrain it"
            )
        threads = self.config.num_threads
        return {o: _predict(booster, x, threads) for o, booster in self.boosters.items()}

    def explain(self, x: Features, weights: UtilityWeights | None = None) -> Floats:
        """(m, f) what each feature adds to a row's utility in log-odds (SHAP values; Lundberg et al. 2020)."""
        weights = weights or self.config.weights
        parts = [
            getattr(weights, o) * np.asarray(b.predict(x, pred_contrib=True))[:, :-1]
            for o, b in self.boosters.items()
        ]
        return np.asarray(sum(parts))

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        digests = {}
        for objective, booster in self.boosters.items():
            text = booster.model_to_string()
            (folder / f"{objective}.txt").write_text(text)
            digests[objective] = hashlib.sha256(text.encode()).hexdigest()
        calibrators = {o: {s: c.as_dict() for s, c in by.items()} for o, by in self.calibrators.items()}
        record = {
            "names": list(self.names),
            "config": self.config.model_dump(mode="json"),
            "calibrators": calibrators,
            "sha256": digests,
        }
        (folder / FILE).write_text(json.dumps(record, indent=1, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> Ranker:
        """Raises ReleaseRefused where a file is missing, truncated or not the one that was saved."""
        record = read_record(folder / FILE)
        try:
            return cls(
                names=tuple(record["names"]),
                boosters={o: read_booster(folder / f"{o}.txt", d) for o, d in record["sha256"].items()},
                calibrators={
                    o: {s: Beta(**c) for s, c in by.items()} for o, by in record["calibrators"].items()
                },
                config=RankerConfig(**record["config"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ReleaseRefused(f"{FILE} is not one that this version wrote ({error}): retrain") from None


def utility(probabilities: Mapping[str, Floats], weights: UtilityWeights) -> Floats:
    """(m,) the one declared utility: Σ weight × probability."""
    return np.asarray(sum(getattr(weights, o) * probabilities[o] for o in OBJECTIVES))


def read_record(path: Path) -> dict[str, dict]:  # type: ignore[type-arg]
    """A saved JSON object; raises ReleaseRefused where there is none."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ReleaseRefused(f"{path.name} cannot be read ({error}): rebuild or roll back") from None
    if not isinstance(record, dict):
        raise ReleaseRefused(f"{path.name} is not a saved model: rebuild or roll back")
    return record


def read_booster(path: Path, sha256: str) -> Booster:
    """A LightGBM text file whose digest is the recorded one; LightGBM itself accepts some truncated files."""
    from lightgbm import Booster

    try:
        text = path.read_text()
    except (OSError, ValueError) as error:
        raise ReleaseRefused(f"{path.name} cannot be read ({error}): rebuild or roll back") from None
    if hashlib.sha256(text.encode()).hexdigest() != sha256:
        raise ReleaseRefused(f"{path.name} is not the file that was saved: rebuild or roll back the release")
    return Booster(model_str=text)


def _predict(booster: Booster, x: Features, threads: int) -> Floats:
    return np.asarray(booster.predict(x, num_threads=threads, validate_features=False))
