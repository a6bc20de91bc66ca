"""Trains the ranker: one pointwise LightGBM per objective, calibrated on newer rows that it never saw.

ranker = train(concat([session_examples(...), impression_examples(...)]), RankerConfig())
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ranking.calibration import Beta, expected_calibration_error, fit
from ranking.config import OUTCOMES, PLAY, RankerConfig
from ranking.examples import Examples
from ranking.model import ANY, Ranker
from recsys.errors import BadInput
from recsys.types import SURFACES

if TYPE_CHECKING:
    from lightgbm import Booster

Log = Callable[[int, dict[str, float]], None]


def train(examples: Examples, config: RankerConfig, log: Log | None = None) -> Ranker:
    """Fits boosters on the older rows and calibrators on the newest.

    Outcomes (finish, skip, save) are fitted given a play and calibrated per surface: on logged slots where the
    surface has any (they were drawn at random), else on all plays from it. `play` is fitted on retrieved rows.

    Args:
        log: called with the tree count and {"finish_logloss": ..., "finish_ece": ...} on the held-out rows.

    Raises:
        BadInput: no plays to learn from.
    """
    if not examples.played.any():
        raise BadInput("no plays to train a ranker on: give it a longer window")
    cut = np.quantile(examples.now, 1 - config.calibration_share)
    boosters: dict[str, Booster] = {}
    calibrators: dict[str, dict[str, Beta]] = {}
    report: dict[str, float] = {}
    for objective in (*OUTCOMES, PLAY):
        rows = rows_of(examples, objective)
        older, newer = rows.where(rows.now < cut), rows.where(rows.now >= cut)
        booster = _booster(older, objective, config)
        p = np.asarray(booster.predict(newer.features, num_threads=config.num_threads))
        boosters[objective], calibrators[objective] = booster, calibrators_of(p, newer, objective)
        report |= _report(objective, calibrators[objective][ANY](p), newer)
    if log is not None:
        log(config.num_trees, report)
    return Ranker(examples.names, boosters, calibrators, config)


def rows_of(examples: Examples, objective: str) -> Examples:
    """The rows that teach an objective, with the surface that it is asked for as the last feature."""
    rows = examples.where(examples.retrieved if objective == PLAY else examples.played)
    asked = rows.surface >= 0 if objective != PLAY else np.zeros(len(rows), bool)
    rows.features[:, -1] = np.where(asked, rows.surface, np.nan)
    return rows


def calibrators_of(p: NDArray[np.floating], rows: Examples, objective: str) -> dict[str, Beta]:
    """One calibrator of all rows, and for an outcome one per surface, pulled towards it where rows are few."""
    label = rows.labels[objective]
    out = {ANY: fit(p, label, rows.weight)}
    if objective == PLAY:
        return out
    for number in np.unique(rows.surface[rows.surface >= 0]):
        mine = rows.surface == number
        if (mine & rows.slot).any():
            mine &= rows.slot
        out[SURFACES[number]] = fit(p[mine], label[mine], toward=out[ANY])
    return out


def parameters(config: RankerConfig) -> dict[str, Any]:
    """LightGBM settings; the same rows, seed and thread count give the same trees."""
    return {
        "num_leaves": config.num_leaves,
        "learning_rate": config.learning_rate,
        "min_data_in_leaf": config.min_data_in_leaf,
        "feature_fraction": config.feature_fraction,
        "lambda_l2": config.lambda_l2,
        "num_threads": config.num_threads,
        "seed": config.seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }


def _booster(rows: Examples, objective: str, config: RankerConfig) -> Booster:
    import lightgbm

    weight = rows.weight / max(float(rows.weight.mean()), 1e-9) if len(rows) else rows.weight
    label = rows.labels[objective]
    data = lightgbm.Dataset(rows.features, label, weight=weight, feature_name=list(rows.names))
    return lightgbm.train(parameters(config) | {"objective": "binary"}, data, config.num_trees)


def _report(objective: str, p: NDArray[np.floating], rows: Examples) -> dict[str, float]:
    label, weight = rows.labels[objective], rows.weight
    p = np.clip(p, 1e-7, 1 - 1e-7)
    loss = -np.where(label > 0, np.log(p), np.log1p(-p))
    return {
        f"{objective}_logloss": float(np.average(loss, weights=weight)) if len(p) else float("nan"),
        f"{objective}_ece": expected_calibration_error(p, label, weight),
    }
