"""The offline stage: both releases rank the same held-out sessions, which neither has seen.

check(home, champion, challenger, OfflineSettings(), seed=0)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recsys.dataset import load
from recsys.errors import NotReady
from recsys.evaluation import metrics
from recsys.evaluation.bootstrap import paired_difference
from recsys.evaluation.evaluate import top_lists
from recsys.evaluation.protocol import Model
from recsys.evaluation.tasks import Task, build_tasks
from recsys.home import Home
from recsys.lake import Lake
from recsys.types import QueryBatch
from serving.gating.margins import ruled
from serving.gating.record import Check
from serving.gating.settings import OfflineSettings
from serving.loaded import LoadedRelease
from serving.offline import RankedHome, Scores
from serving.settings import HomeSettings

RULE = "offline.{metric}"
Floats = NDArray[np.float64]


def check(
    home: Home, champion: LoadedRelease, challenger: LoadedRelease, settings: OfflineSettings, seed: int
) -> Check:
    """The paired difference on session starts after the newest event that either release has seen."""
    rule = RULE.format(metric=settings.metric)
    if champion.items.countries != challenger.items.countries:
        return Check(rule, "unclear", "the releases number countries differently: no query fits both")
    try:
        task = held_out(home, champion, challenger, settings, seed)
    except NotReady as error:
        return Check(rule, "unclear", f"nothing is held out: {error}")
    if len(task) < settings.least:
        return Check(rule, "unclear", f"{len(task)} sessions are held out, fewer than {settings.least}")
    ours, theirs = (_model(r, champion) for r in (champion, challenger))
    a, b = (per_query(model, task, settings) for model in (ours, theirs))
    found = paired_difference(b, a, task.listener, seed)
    name = f"{settings.metric}@{settings.k} of {len(task)} held-out sessions"
    made = ruled(rule, name, float(a.mean()), found.value, found.low, found.high, settings.margin)
    return replace(made, numbers={**made.numbers, "queries": len(task), "challenger": float(b.mean())})


def held_out(
    home: Home, champion: LoadedRelease, challenger: LoadedRelease, settings: OfflineSettings, seed: int
) -> Task:
    """Home pages at session starts, in the champion's numbers; raises NotReady where the log ends too early."""
    lake, was = Lake(home.lake), champion.manifest.data
    now = lake.versions()
    # Tracks as the champion numbers them; events as they are by now.
    versions = {
        table: was.get(table, version) if table != "events" else version for table, version in now.items()
    }
    data = load(lake, versions=versions)
    if data.items.track_ids != champion.items.track_ids:
        raise NotReady("the lake does not give back the champion's catalog")
    begin = max(champion.manifest.until, challenger.manifest.until)
    end = int(data.plays.start.max(initial=0)) + 1
    if begin >= end:
        raise NotReady("the log ends before the newest event that a release has seen")
    (task,) = build_tasks(data, begin, end, names=("home",), cap=settings.queries, seed=seed)
    return task


def per_query(model: Model, task: Task, settings: OfflineSettings) -> Floats:
    """(q,) the metric of each query."""
    top = top_lists({"model": model}, task, settings.k).lists["model"]
    hit = metrics.hits(top, task.targets)
    of: dict[str, Callable[[], Floats]] = {
        "ndcg": lambda: metrics.ndcg(hit, task.targets, settings.k),
        "recall": lambda: metrics.recall(hit, task.targets, settings.k),
        "mrr": lambda: metrics.mrr(hit, settings.k),
    }
    return of[settings.metric]()


def _model(release: LoadedRelease, champion: LoadedRelease) -> Model:
    ranked = RankedHome(release, HomeSettings())
    if release.items.track_ids == champion.items.track_ids:
        return ranked
    return Renumbered(ranked, release.items.numbers(champion.items.track_ids).astype(np.int64))


@dataclass(frozen=True)
class Renumbered:
    """A model that numbers tracks otherwise; those that it does not know score -inf."""

    model: Model
    to_own: NDArray[np.int64]
    name: str = "renumbered"

    def score(self, batch: QueryBatch) -> Scores:
        plays = batch.histories
        track = np.where(plays.track >= 0, self.to_own[plays.track], -1).astype(np.int32)
        own = self.model.score(replace(batch, histories=replace(plays, track=track), memo={}))
        out = np.full((len(batch), len(self.to_own)), -np.inf, np.float32)
        known = self.to_own >= 0
        out[:, known] = own[:, self.to_own[known]]
        return out
