"""Trains the light scorer and the ranker on what the served pipeline itself retrieves, in a window of its own.

The models behind the candidates saw plays before `split.valid`; examples lie in [valid, test), each with the
item statistics of its own day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.semantic_ids import SemanticIds
from models.sequence.model import SequenceModel
from models.two_tower.model import TwoTower
from ranking.config import LightConfig, RankerConfig
from ranking.examples import Inputs, concat, impression_examples, session_examples
from ranking.labels import load_saves
from ranking.light import LightRanker, light_features, train_light
from ranking.shown import load_shown
from ranking.train import train
from recsys.dataset import Dataset
from recsys.evaluation.tasks import Task, build_tasks
from recsys.features.stats import item_stats, series
from recsys.features.store import FeatureStore
from recsys.home import Home
from recsys.index import Index
from recsys.items import MS_PER_DAY
from recsys.lake import Lake
from recsys.pipeline import Candidates, Column, collect
from recsys.types import QueryBatch
from serving.loaded import Retrieval
from serving.parts.scorers import ModelScorer
from serving.settings import HomeSettings
from serving.surfaces import home as surface

BATCH = 64
LIGHT_QUERIES, LIGHT_NEGATIVES = 1_500, 60
TRAINED_ON = 320
"""Candidates of a moment that the ranker's examples are drawn from; served are fewer (HomeSettings.ranked)."""


def train_ranker(
    home: Home,
    data: Dataset,
    config: RankerConfig,
    light_config: LightConfig,
    folder: Path,
    progress: Callable[[int, int], None],
    semantic: Path | None = None,
) -> dict[str, Any]:
    """Writes `light/`, `ranking/` and `stats/` under `folder`; returns held-out figures.

    Args:
        semantic: folder of the semantic ids, where the release is to have them.
    """
    split, lake = data.split, Lake(home.lake)
    retrieval = Retrieval(
        items=data.items,
        stats=item_stats(data.plays, data.country, data.items, split.valid),
        two_tower=TwoTower.load(home.work / "two_tower", data.items),
        index=Index.load(home.work / "index"),
        sequence=SequenceModel.load(home.work / "sequence", data.items),
        semantic=None if semantic is None else SemanticIds.load(semantic, data.items),
    )
    progress(0, 4)
    light = _train_light(data, retrieval, light_config)
    light.save(folder / "light")
    progress(1, 4)
    features = FeatureStore(home)
    inputs = Inputs(
        data=data,
        stats=series(data.plays, data.country, data.items, range(split.valid, split.test, MS_PER_DAY)),
        retrieve=_retrieve(retrieval, light),
        hydrate=_hydrate(retrieval),
        config=config,
        profiles=features.profiles(data, split.valid, split.test),
    )
    sessions = session_examples(inputs, load_saves(lake, data), split.valid, split.test)
    progress(2, 4)
    impressions = impression_examples(inputs, load_shown(lake, data, split.valid, split.test))
    progress(3, 4)
    report: dict[str, float] = {}
    ranker = train(
        concat([e for e in (sessions, impressions) if e is not None]), config, lambda _n, m: report.update(m)
    )
    ranker.save(folder / "ranking")
    item_stats(data.plays, data.country, data.items, split.test).save(folder / "stats")
    features.materialize(split.test)
    progress(4, 4)
    return report


def _retrieve(retrieval: Retrieval, light: LightRanker) -> Callable[[QueryBatch], Candidates]:
    """What the served home feed would rank and some more: the ranker should know what lies below the cut."""
    stages = surface.eligible(retrieval) + surface.light(light, HomeSettings(ranked=TRAINED_ON))
    sources = surface.sources(retrieval)
    return lambda batch: collect(sources, stages, replace(batch, memo={}))


def _hydrate(retrieval: Retrieval) -> Callable[[QueryBatch, Candidates], dict[str, Column]]:
    """The model scores that the ranker reads."""
    scorers = (ModelScorer(retrieval.two_tower), ModelScorer(retrieval.sequence))
    return lambda batch, candidates: {s.name: s.score(batch, candidates) for s in scorers}


def _train_light(data: Dataset, retrieval: Retrieval, config: LightConfig) -> LightRanker:
    """A logistic regression of "played in the session that follows" on what sources already wrote."""
    split = data.split
    (task,) = build_tasks(data, split.valid, split.test, names=("home",), cap=LIGHT_QUERIES)
    rng = np.random.default_rng(0)
    parts = [
        _light_rows(task, np.arange(at, min(at + BATCH, len(task))), retrieval, config, rng)
        for at in range(0, len(task), BATCH)
    ]
    x, played, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    return train_light(x, played, weight, config)


def _light_rows(
    task: Task,
    rows: NDArray[np.int64],
    retrieval: Retrieval,
    config: LightConfig,
    rng: np.random.Generator,
) -> tuple[NDArray[np.floating], NDArray[np.int8], NDArray[np.floating]]:
    """Features, labels and weights (1 / P(kept)) of some queries' played candidates and a sample of the others."""
    batch, targets = task.batch.take(rows), task.targets.take(rows)
    found = collect(surface.sources(retrieval), surface.eligible(retrieval), batch)
    played = np.isin(found.owner << 32 | found.ids, targets.owner << 32 | targets.tracks)
    rate = np.minimum(1.0, LIGHT_NEGATIVES / np.maximum(found.counts(), 1))[found.owner]
    keep = played | (rng.random(len(found)) < rate)
    weight = np.where(played, 1.0, 1 / rate)[keep]
    return light_features(batch, found.where(keep), config.columns), played[keep].astype(np.int8), weight
