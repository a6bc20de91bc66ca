"""The ranker: one calibrated LightGBM per objective, joined by one declared utility.

    ranker = Ranker.load(folder)
    p = ranker.probabilities(x, "home")      # {"finish": (m,), "skip": (m,), "save": (m,), "play": (m,)}
    u = utility(p, ranker.config.weights)    # (m,)

finish, skip and save are probabilities given that the track is played from the surface that shows it; play is the
probability that the listener turns to it in this session.

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
from ranking.config import OUTCOMES, PLAY, RankerConfig, UtilityWeights
from recsys.errors import BadInput, ReleaseRefused
from recsys.features.pair import Features
from recsys.types import SURFACES

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

    def probabilities(self, x: Features, surface: str) -> dict[str, Floats]:
        """Calibrated probability of each objective, (m,) each, for candidates of one surface.

        Args:
            x: (m, f) features; the last column, the surface, is filled in here.

        Raises:
            BadInput: another number of features than in training.
        """
        if x.shape[1] != len(self.names):
            raise BadInput(
                f"the ranker was trained on {len(self.names)} features, not {x.shape[1]}: retrain it"
            )
        x = x.copy()
        seen = surface in self.calibrators[OUTCOMES[0]]  # a surface from after the training is left open
        x[:, -1] = SURFACES.index(surface) if seen else np.nan
        out = {o: self._probability(o, x, surface) for o in OUTCOMES}
        x[:, -1] = np.nan
        return out | {PLAY: self._probability(PLAY, x, ANY)}

    def _probability(self, objective: str, x: Features, surface: str) -> Floats:
        raw = self.boosters[objective].predict(
            x, num_threads=self.config.num_threads, validate_features=False
        )
        return self.calibrator(objective, surface)(np.asarray(raw))

    def calibrator(self, objective: str, surface: str) -> Beta:
        """That of a surface; the common one for a surface without."""
        by_surface = self.calibrators[objective]
        return by_surface.get(surface, by_surface[ANY])

    def explain(self, x: Features, objective: str = "finish") -> Floats:
        """(m, f) what each feature adds to a row's score in log-odds (SHAP values; Lundberg et al. 2020)."""
        return np.asarray(self.boosters[objective].predict(x, pred_contrib=True))[:, :-1]

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


def utility(p: Mapping[str, Floats], weights: UtilityWeights) -> Floats:
    """(m,) the one declared utility: Σ weight × probability."""
    streamed = np.maximum(1 - p["finish"] - p["skip"], 0)
    return np.asarray(
        weights.finish * p["finish"]
        + weights.streamed * streamed
        + weights.skip * p["skip"]
        + weights.save * p["save"]
        + weights.play * p["play"]
    )


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
