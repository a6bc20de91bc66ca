"""Trains the ranker: one pointwise LightGBM per objective, calibrated on newer logged slots that it never saw.

ranker = train(concat([session_examples(...), impression_examples(...)]), RankerConfig())
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ranking.calibration import Beta, expected_calibration_error, fit
from ranking.config import OBJECTIVES, RankerConfig
from ranking.examples import ORGANIC, Examples
from ranking.model import ANY, Ranker
from recsys.errors import BadInput
from recsys.types import SURFACES

if TYPE_CHECKING:
    from lightgbm import Booster

Log = Callable[[int, dict[str, float]], None]


def train(examples: Examples, config: RankerConfig, log: Log | None = None) -> Ranker:
    """Fits boosters on the older rows and calibrators on the newest logged slots.

    Args:
        log: called with the tree count and {"finish_logloss": ..., "finish_ece": ...} on the held-out rows.

    Raises:
        BadInput: no rows.
    """
    if not len(examples):
        raise BadInput("no examples to train a ranker on: the window holds no sessions and no logged slots")
    held_out = newest(examples, config.calibration_share)
    older, newer = examples.where(~held_out), examples.where(held_out)
    weight = balanced(older)
    boosters = {o: _booster(older, older.labels[o], weight, config) for o in OBJECTIVES}
    calibrators: dict[str, dict[str, Beta]] = {}
    report: dict[str, float] = {}
    for objective, booster in boosters.items():
        p = np.asarray(booster.predict(newer.features, num_threads=config.num_threads))
        calibrators[objective] = calibrators_of(p, newer, objective)
        report |= _report(objective, calibrators[objective][ANY](p), newer.labels[objective])
    if log is not None:
        log(config.num_trees, report)
    return Ranker(examples.names, boosters, calibrators, config)


def newest(examples: Examples, share: float) -> NDArray[np.bool_]:
    """The newest `share` of the logged slots (of all rows where none were logged), by time."""
    shown = examples.surface != ORGANIC
    pool = shown if shown.any() else np.ones(len(examples), bool)
    cut = np.quantile(examples.now[pool], 1 - share)
    return np.asarray(pool & (examples.now >= cut))


def balanced(examples: Examples) -> NDArray[np.floating]:
    """Row weights with which session starts and logged slots count the same in total."""
    weight = examples.weight.astype(np.float64)
    organic = examples.surface == ORGANIC
    for rows in (organic, ~organic):
        if rows.any():
            weight[rows] *= len(examples) / 2 / weight[rows].sum()
    return weight


def calibrators_of(p: NDArray[np.floating], rows: Examples, objective: str) -> dict[str, Beta]:
    """One calibrator per surface with rows, and one of all."""
    label = rows.labels[objective]
    out = {ANY: fit(p, label)}
    for number in np.unique(rows.surface[rows.surface != ORGANIC]):
        mine = rows.surface == number
        out[SURFACES[number]] = fit(p[mine], label[mine])
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


def _booster(
    rows: Examples, label: NDArray[np.integer], weight: NDArray[np.floating], config: RankerConfig
) -> Booster:
    import lightgbm

    data = lightgbm.Dataset(rows.features, label, weight=weight, feature_name=list(rows.names))
    return lightgbm.train(parameters(config) | {"objective": "binary"}, data, config.num_trees)


def _report(objective: str, p: NDArray[np.floating], label: NDArray[np.integer]) -> dict[str, float]:
    p = np.clip(p, 1e-7, 1 - 1e-7)
    logloss = -np.mean(np.where(label > 0, np.log(p), np.log1p(-p)))
    return {
        f"{objective}_logloss": float(logloss),
        f"{objective}_ece": expected_calibration_error(p, label),
    }
