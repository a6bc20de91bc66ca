"""The baselines that every model is compared with, by name; each learns from plays before a time only.

models = {name: fit(dataset, dataset.split.test) for name, fit in BASELINES.items()}
"""

from __future__ import annotations

from recsys.evaluation.baselines import als, bpr, item_knn, markov, popularity, rules
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

__all__ = ["BASELINES"]
