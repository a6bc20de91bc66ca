"""The reference of a release: what its own home feed ranks for real moments, for drift to be measured against.

    write_reference(folder, release, data, queries)

The moments are session starts of the evaluation window: as traffic will be, they come after everything that the
parts have seen. Nothing is learned from them: only histograms of inputs and scores are kept, no labels.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ranking.config import OBJECTIVES
from recsys.dataset import Dataset
from recsys.errors import NotReady
from recsys.evaluation.tasks import build_tasks
from recsys.pipeline import collect
from recsys.types import QueryBatch
from serving.loaded import LoadedRelease
from serving.settings import HomeSettings
from serving.surfaces import home as surface
from serving.watch.reference import Reference, of_rows, thinned

logger = logging.getLogger(__name__)
BATCH = 32
SCORES = ("utility", *(f"p_{o}" for o in OBJECTIVES), "two_tower", "sequence", "light")
"""Score columns that are watched."""


def write_reference(folder: Path, release: LoadedRelease, data: Dataset, queries: int) -> None:
    """Writes `reference.json` beside the parts of a release; a log that ends too early gives none."""
    split = data.split
    try:
        (task,) = build_tasks(data, split.test, split.end, names=("home",), cap=queries, seed=1)
    except NotReady as error:
        logger.warning("no reference for drift: %s", error)
        return
    reference_of(release, task.batch).save(folder)


def reference_of(release: LoadedRelease, batch: QueryBatch) -> Reference:
    """The reference from some moments: rows as the first rung hands them to its selector."""
    settings = HomeSettings()
    sources = surface.sources(release)
    stages = surface.eligible(release) + surface.light(release.light, settings) + surface.heavy(release)
    pairs: list[NDArray[np.floating]] = []
    scores: dict[str, list[NDArray[np.floating]]] = {name: [] for name in SCORES}
    for at in range(0, len(batch), BATCH):
        rows = np.arange(at, min(at + BATCH, len(batch)))
        found = collect(sources, stages, batch.take(rows))
        for j in range(len(rows)):
            own = found.of(j)
            kept = thinned(len(own))
            pairs.append(np.asarray(own.columns["pair"][kept], np.float32))
            for name in SCORES:
                scores[name].append(np.asarray(own.columns[name][kept], np.float64))
    joined = {name: np.concatenate(parts) for name, parts in scores.items()}
    names = release.ranker.names[:-1]  # the last one, the surface, is filled in by the ranker itself
    return of_rows(names, np.concatenate(pairs)[:, :-1], joined, len(batch))
