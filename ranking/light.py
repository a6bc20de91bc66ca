"""The light scorer: a logistic regression that takes about 1,000 candidates down to the few that are fully ranked.

Its features are what is at hand before any per-candidate model has run: the columns that sources and cheap
scorers wrote (value, and whether it is there), and how often the listener played the track.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ranking.config import LightConfig
from ranking.model import read_record
from recsys.errors import BadInput, ReleaseRefused
from recsys.features.window import Window
from recsys.pipeline import Candidates
from recsys.types import QueryBatch

Floats = NDArray[np.floating]
FILE = "light.json"
_COUNTS = ("count", "d1", "d7", "d30")


@dataclass(frozen=True)
class LightRanker:
    """score = bias + x @ weights, with x as `light_features` names it."""

    config: LightConfig
    weights: Floats  # (f,)
    bias: float

    def score(self, batch: QueryBatch, candidates: Candidates) -> NDArray[np.float32]:
        """(m,) log-odds that the listener plays the candidate next."""
        x = light_features(batch, candidates, self.config.columns)
        return np.asarray((x * self.weights).sum(axis=1) + self.bias, np.float32)  # the same in any batch

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        record = {
            "config": self.config.model_dump(mode="json"),
            "weights": dict(zip(light_names(self.config.columns), self.weights.tolist(), strict=True)),
            "bias": self.bias,
        }
        (folder / FILE).write_text(json.dumps(record, indent=1))

    @classmethod
    def load(cls, folder: Path) -> LightRanker:
        """Raises ReleaseRefused where the file is missing, truncated or has other features."""
        record = read_record(folder / FILE)
        try:
            config = LightConfig(**record["config"])
            weights = [float(record["weights"][name]) for name in light_names(config.columns)]
            return cls(config, np.array(weights), float(record["bias"]))  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError) as error:
            raise ReleaseRefused(f"{FILE} is not one that this version wrote ({error}): retrain") from None


def light_names(columns: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the features, in order."""
    scored = [name for column in columns for name in (f"{column}:here", column)]
    return (*scored, *(f"track_{name}" for name in _COUNTS), "track_skips")


def light_features(batch: QueryBatch, candidates: Candidates, columns: tuple[str, ...]) -> Floats:
    """(m, f) features; a column that is absent or NaN counts as not there."""
    out = np.zeros((len(candidates), 2 * len(columns) + len(_COUNTS) + 1))
    for j, column in enumerate(columns):
        if column in candidates.columns:
            value = candidates.columns[column]
            here = np.isfinite(value)
            out[:, 2 * j] = here
            out[:, 2 * j + 1] = _squash(np.where(here, value, 0.0))
    window = Window.of(batch)
    found = window.tracks.look_up(candidates.owner, candidates.ids)
    for j, name in enumerate((*_COUNTS, "skips"), start=2 * len(columns)):
        out[:, j] = np.log1p(found[name])
    return out


def train_light(x: Floats, played: NDArray[np.integer], weight: Floats, config: LightConfig) -> LightRanker:
    """The weights of most penalised likelihood (Newton's method on standardised features).

    Args:
        x: (r, f) `light_features`. played: (r,) 0 or 1. weight: (r,) 1 / P(the row was kept).

    Raises:
        BadInput: no row was played, or all were.
    """
    if not len(played) or played.min() == played.max():
        raise BadInput("the light scorer needs played and other candidates: give it a longer window")
    center, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
    z = np.column_stack([(x - center) / scale, np.ones(len(x))])
    w = weight / weight.mean()
    penalty = np.full(z.shape[1], config.l2)
    penalty[-1] = 1e-6
    theta = np.zeros(z.shape[1])
    for _ in range(config.steps):
        p = 1 / (1 + np.exp(-(z @ theta)))
        gradient = z.T @ (w * (p - played)) + penalty * theta
        curvature = np.maximum(w * p * (1 - p), 1e-9)
        step = np.linalg.solve((z * curvature[:, None]).T @ z + np.diag(penalty), gradient)
        theta -= np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-6:
            break
    weights = theta[:-1] / scale
    return LightRanker(config, weights, float(theta[-1] - center @ weights))


def _squash(value: Floats) -> Floats:
    """Signed log: sources score on scales from cosines to play counts."""
    return np.asarray(np.sign(value) * np.log1p(np.abs(value)))
