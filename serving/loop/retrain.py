"""What a loop trains between days, from the newest state of its lake: a new release, promoted at once.

version = retrain(home, Retrain.RANKER, RecipeConfig.of("tiny"))

Retrieval models and index stay those of the champion: their training takes hours, and what they lack (new plays of old
tracks) reaches answers through statistics, co-occurrence and the ranker. The ranker learns from the newest days only
through the existing stage, so each example still has the statistics of its own day.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from models import artists
from models.sequence.model import SequenceModel
from models.two_tower.model import TwoTower
from recsys.dataset import Dataset, load
from recsys.features.stats import item_stats
from recsys.home import Home
from recsys.lake import Lake
from serving.loaded import LoadedRelease
from serving.rank_stage import train_ranker
from serving.recipe import RecipeConfig
from serving.registry import CHAMPION, Registry, derived

RANKER_DAYS = 0.08
"""Share of the log's days that the ranker's examples come from: as many as the recipe's window, the newest."""


class Retrain(StrEnum):
    """What is trained between days."""

    NONE = "none"
    STATS = "stats"  # popularity, item statistics, co-occurrence, similar artists: counted anew
    RANKER = "ranker"  # the same, and the light scorer and the ranker


def retrain(home: Home, what: Retrain, config: RecipeConfig) -> str:
    """Registers and promotes the champion with the named parts made anew; its version.

    Raises:
        NotReady: the lake holds no plays.
    """
    registry = Registry(home)
    champion = registry.get(CHAMPION)
    old = LoadedRelease.load(champion.folder)
    data = load(Lake(home.lake), test_share=0.0, valid_share=RANKER_DAYS)

    def change(target: Path) -> None:
        _counted(target, data, config)
        if what == Retrain.RANKER:
            _ranked(home, target, data, config)
        if old.reference is not None:  # it was measured on what the old parts answer
            old.reference.without_scores().save(target)

    kept = {**old.manifest.config, "retrained": {"from": old.manifest.version, "what": what.value}}
    made = derived(home, champion, change, data=data.versions, until=data.split.end, config=kept)
    registry.promote(made.version)
    return made.version


def _counted(target: Path, data: Dataset, config: RecipeConfig) -> None:
    """Statistics, co-occurrence and similar artists up to the end of the log, in the place of the old ones."""
    until = data.split.end
    _anew(
        target / "stats", lambda folder: item_stats(data.plays, data.country, data.items, until).save(folder)
    )
    model = SequenceModel.load(target / "sequence", data.items).recounted(data.plays.before(until))
    _anew(target / "sequence", model.save)
    if (target / "artists").exists():
        unit = TwoTower.load(target / "two_tower", data.items).unit_vectors
        _anew(
            target / "artists", artists.train(data.plays.before(until), data.items, unit, config.artists).save
        )


def _ranked(home: Home, target: Path, data: Dataset, config: RecipeConfig) -> None:
    made = home.work / "loop-ranker"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    train_ranker(home, data, config.ranker, config.light, made, lambda _done, _all: None)
    for name in ("ranking", "light"):
        shutil.rmtree(target / name)
        shutil.move(made / name, target / name)


def _anew(folder: Path, write: Callable[[Path], object]) -> None:
    shutil.rmtree(folder)
    write(folder)
