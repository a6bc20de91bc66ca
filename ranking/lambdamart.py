"""LambdaMART (Burges 2010), the compared alternative: listwise, one score, no probabilities.

Its level across queries is not identified, so it is never calibrated; it orders by the graded gain of what
happened: save 3, finish 2, any other play 1.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ranking.config import PLAY, RankerConfig
from ranking.examples import Examples
from ranking.model import read_booster, read_record
from ranking.train import parameters
from recsys.errors import BadInput
from recsys.features.pair import Features

if TYPE_CHECKING:
    from lightgbm import Booster

FILE = "lambdamart.json"


@dataclass(frozen=True)
class LambdaMart:
    """One booster that orders the candidates of a query."""

    names: tuple[str, ...]
    booster: Booster
    config: RankerConfig

    def utility(self, x: Features) -> NDArray[np.floating]:
        """(m,) scores, comparable within one query only."""
        if x.shape[1] != len(self.names):
            raise BadInput(
                f"LambdaMART was trained on {len(self.names)} features, not {x.shape[1]}: retrain it"
            )
        return np.asarray(
            self.booster.predict(x, num_threads=self.config.num_threads, validate_features=False)
        )

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        text = self.booster.model_to_string()
        (folder / "lambdamart.txt").write_text(text)
        record = {
            "names": list(self.names),
            "config": self.config.model_dump(mode="json"),
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
        }
        (folder / FILE).write_text(json.dumps(record, indent=1, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> LambdaMart:
        """Raises ReleaseRefused where a file is missing, truncated or not the one that was saved."""
        record = read_record(folder / FILE)
        booster = read_booster(folder / "lambdamart.txt", str(record["sha256"]))
        return cls(tuple(record["names"]), booster, RankerConfig(**record["config"]))


def train_lambdamart(examples: Examples, config: RankerConfig) -> LambdaMart:
    """Fits on the retrieved rows; the rows of one query are its list.

    Raises:
        BadInput: no retrieved rows.
    """
    import lightgbm

    if not examples.retrieved.any():
        raise BadInput("no candidates to train LambdaMART on: give it a longer window")
    examples = examples.where(examples.retrieved)
    labels = examples.labels
    gain = np.maximum(3 * labels["save"], np.maximum(2 * labels["finish"], labels[PLAY]))
    groups = np.bincount(examples.query)
    data = lightgbm.Dataset(
        examples.features,
        gain,
        weight=examples.weight.astype(np.float64),
        group=groups[groups > 0],
        feature_name=list(examples.names),
    )
    settings = parameters(config) | {"objective": "lambdarank", "lambdarank_truncation_level": 20}
    return LambdaMart(examples.names, lightgbm.train(settings, data, config.num_trees), config)
