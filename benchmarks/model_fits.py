"""The models of the tables by the name that is printed: how each is fitted, and the settings tuning may choose from.

    FITS["EASE"].fit(data, until_ms, {"l2": 250.0}); FITS["sequence"].fit(data, until_ms, {"epochs": 4, "seed": 1})

A grid of one is not tuned. What tuning chose, with every point, is kept beside the rows (`benchmarks.models`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

from recsys.dataset import Dataset
from recsys.evaluation.protocol import Model

Settings = dict[str, Any]
FitOne = Callable[[Dataset, int, Settings], Model]  # data, until_ms, settings
FOREVER = 1e9  # days


@dataclass(frozen=True)
class Entry:
    """One model of the tables."""

    kind: str  # "simple" or "ours"
    fit: FitOne
    grid: tuple[Settings, ...] = ({},)
    seeds: tuple[int, ...] = ()  # of a model that has a seed among its settings


def grid(**axes: tuple[Any, ...]) -> tuple[Settings, ...]:
    """Every combination; the first value of each axis comes first."""
    return tuple(dict(zip(axes, values, strict=True)) for values in product(*axes.values()))


def popularity(data: Dataset, until: int, settings: Settings) -> Model:
    from recsys.evaluation.baselines.popularity import PopularitySettings, fit

    return fit(data, until, PopularitySettings(**settings))


def own_plays(data: Dataset, until: int, settings: Settings) -> Model:
    from recsys.evaluation.baselines.own_plays import OwnPlaysSettings, fit

    return fit(data, until, OwnPlaysSettings(**settings))


def markov(data: Dataset, until: int, settings: Settings) -> Model:
    from recsys.evaluation.baselines.markov import fit

    if settings:
        raise ValueError("a Markov chain has no settings")
    return fit(data, until)


def rules(data: Dataset, until: int, settings: Settings) -> Model:
    from recsys.evaluation.baselines.rules import RulesSettings, fit

    return fit(data, until, RulesSettings(**settings))


def rules_artist(data: Dataset, until: int, settings: Settings) -> Model:
    from recsys.evaluation.baselines.rules import RulesSettings, fit

    return fit(data, until, RulesSettings(**settings), "rules_artist")


def session_knn(data: Dataset, until: int, settings: Settings) -> Model:
    from recsys.evaluation.baselines.session_knn import SessionKnnSettings, fit

    return fit(data, until, SessionKnnSettings(**settings))


def session_knn_weighted(data: Dataset, until: int, settings: Settings) -> Model:
    from recsys.evaluation.baselines.session_knn import SessionKnnSettings, fit_weighted

    return fit_weighted(data, until, SessionKnnSettings(**settings))


def item_knn(data: Dataset, until: int, settings: Settings) -> Model:
    from recsys.evaluation.baselines.item_knn import ItemKnnSettings, fit

    return fit(data, until, ItemKnnSettings(**settings))


def als(data: Dataset, until: int, settings: Settings) -> Model:
    from recsys.evaluation.baselines.als import AlsSettings, fit

    return fit(data, until, AlsSettings(**settings))


def ease(data: Dataset, until: int, settings: Settings) -> Model:
    from recsys.evaluation.baselines.ease import EaseSettings, fit

    return fit(data, until, EaseSettings(**settings))


def sequence(data: Dataset, until: int, settings: Settings) -> Model:
    from models.sequence.config import SequenceConfig
    from models.sequence.train import train

    return train(data, until, SequenceConfig(**settings, num_threads=1))


def two_tower(data: Dataset, until: int, settings: Settings) -> Model:
    import torch

    from models.two_tower.config import TwoTowerConfig
    from models.two_tower.train import train

    torch.set_num_threads(1)
    return train(data, until, TwoTowerConfig(**settings))


_NEIGHBORS = grid(neighbors=(500, 100), window=(20, 5))
_ALS = (
    *grid(embedding_dim=(64, 128), alpha=(4.0, 16.0), regularization=(1.0,), half_life_days=(FOREVER, 0.5)),
    *grid(embedding_dim=(128, 256), alpha=(64.0,), regularization=(1.0,), half_life_days=(FOREVER,)),
)
_EASE = (
    *grid(l2=(100.0, 500.0), rows=("sessions", "listeners"), decay=(1.0, 0.8)),
    *grid(l2=(20.0, 100.0), rows=("listeners",), decay=(0.5, 0.2)),
)

FITS: dict[str, Entry] = {
    "popularity": Entry("simple", popularity, grid(half_life_days=(FOREVER, 1.0))),
    "own plays": Entry("simple", own_plays, grid(exponent=(0.5, 1.0, 2.0, 0.0))),
    "Markov": Entry("simple", markov),
    "sequential rules": Entry("simple", rules),
    "rules + same artist": Entry("simple", rules_artist, grid(artist_floor=(0.0, 0.3, 1.0))),
    "session kNN": Entry("simple", session_knn, _NEIGHBORS),
    "session kNN, weighted": Entry("simple", session_knn_weighted, _NEIGHBORS),
    "item kNN": Entry("simple", item_knn, grid(decay=(0.95, 0.8, 0.5, 0.2))),
    "ALS": Entry("simple", als, _ALS),
    "EASE": Entry("simple", ease, _EASE),
    "sequence": Entry("ours", sequence, grid(epochs=(4, 8), mixing_share=(0.25, 0.5)), (0, 1, 2)),
    "two-tower": Entry("ours", two_tower, seeds=(0, 1, 2)),
}
