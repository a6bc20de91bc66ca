"""The baselines that every model is compared with, by name; each learns from plays before a time only.

models = {name: fit(dataset, dataset.split.test) for name, fit in BASELINES.items()}

MORE are those that cost too much for `recsys evaluate` on a large catalog; `benchmarks.models` prints them all.
"""

from __future__ import annotations

from recsys.evaluation.baselines import (
    als,
    bpr,
    ease,
    item_knn,
    markov,
    own_plays,
    popularity,
    rules,
    session_knn,
)
from recsys.evaluation.protocol import Fit

BASELINES: dict[str, Fit] = {
    "popularity": popularity.fit,
    "markov": markov.fit,
    "rules": rules.fit,
    "rules_artist": rules.fit_with_artist,
    "item_knn": item_knn.fit,
    "als": als.fit,
    "bpr": bpr.fit,
}
MORE: dict[str, Fit] = {
    "own_plays": own_plays.fit,
    "session_knn": session_knn.fit,
    "session_knn_weighted": session_knn.fit_weighted,
    "ease": ease.fit,
}

__all__ = ["BASELINES", "MORE"]
