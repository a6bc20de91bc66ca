"""Every model on every task: rows {"model", "task", "cohort", "metric", "k", "value", "low", "high"}.

rows = evaluate(models, tasks, ks=(10, 100))
Scores are computed and dropped a few queries at a time; only top lists stay in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.dataset import Dataset
from recsys.evaluation import metrics
from recsys.evaluation.bootstrap import Interval, Resampler, jackknife
from recsys.evaluation.protocol import Model
from recsys.evaluation.tasks import Cohort, Task
from recsys.plays import I32, I64

KS = (10, 100)
_BLOCK = 16_000_000  # scores held at once, at most (float32)


@dataclass(frozen=True)
class Row:
    """One figure of the table, with its 95% interval over listeners."""

    model: str
    task: str
    cohort: str
    metric: str
    k: int
    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class TopLists:
    """What the models answered to a task's queries."""

    task: Task
    lists: dict[str, I32]  # model -> (q, K) track numbers, -1 padded
    eligible: NDArray[np.bool_]  # (n_items,) eligible for at least one query


def evaluate(
    models: Mapping[str, Model],
    tasks: Sequence[Task],
    ks: Sequence[int] = KS,
    *,
    plays_per_track: I64 | None = None,
    bootstrap: int = 500,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    keep: Callable[[TopLists], None] | None = None,
) -> list[Row]:
    """All metrics of all models. `plays_per_track` (before the window) gives the novelty rows, absent
    without it.

    `progress(done, total)` is called as blocks of queries are scored; `keep` gets each task's top lists (for
    concentration curves).
    """
    total = sum(len(task) for task in tasks) * len(models)
    rows: list[Row] = []
    done = 0
    for task in tasks:
        step = partial(_shifted, progress, done, total)
        top = top_lists(models, task, max(ks), seed=seed, progress=step)
        rows += table(top, ks, plays_per_track=plays_per_track, bootstrap=bootstrap, seed=seed)
        done += len(task) * len(models)
        if keep:
            keep(top)
    return rows


def _shifted(progress: Callable[[int, int], None] | None, done: int, total: int, here: int) -> None:
    if progress:
        progress(done + here, total)


def counts_before(dataset: Dataset, until_ms: int) -> I64:
    """(n_items,) plays of each track that started before a time."""
    track = dataset.plays.before(until_ms).track
    return np.bincount(track[track >= 0], minlength=len(dataset.items))


def top_lists(
    models: Mapping[str, Model],
    task: Task,
    k: int,
    *,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> TopLists:
    """Scores every eligible track for every query, block by block."""
    n = len(task.items)
    block = max(1, min(256, _BLOCK // max(1, n)))
    lists = {name: np.full((len(task), min(k, n)), -1, np.int32) for name in models}
    any_eligible = np.zeros(n, bool)
    for low in range(0, len(task), block):
        rows = np.arange(low, min(low + block, len(task)))
        eligible, batch = task.eligible(rows), task.batch.take(rows)
        any_eligible |= eligible.any(0)
        for place, (name, model) in enumerate(models.items()):
            scores = np.where(eligible, model.score(batch), np.float32(-np.inf))
            lists[name][rows] = metrics.top_k(scores, k, rows, seed)
            if progress:
                progress(low * len(models) + len(rows) * (place + 1))
    return TopLists(task, lists, any_eligible)


def table(
    top: TopLists,
    ks: Sequence[int] = KS,
    *,
    plays_per_track: I64 | None = None,
    bootstrap: int = 500,
    seed: int = 0,
) -> list[Row]:
    """Rows of one task. Figures of all lists together (coverage, gini) are given for the cohort `all`."""
    draw = Resampler.of(top.task.listener, bootstrap, seed)
    rows: list[Row] = []
    for model, lists in top.lists.items():
        for name, cohort in top.task.cohorts.items():
            row = partial(_row, model, top.task.name, name)
            for metric, k, values in _per_query(lists, cohort, top.task, ks, plays_per_track):
                rows.append(row(metric, k, draw.mean(values, cohort.rows)))
        rows += _of_all_lists(model, lists, top, ks, seed)
    return rows


def _row(model: str, task: str, cohort: str, metric: str, k: int, interval: Interval) -> Row:
    return Row(model, task, cohort, metric, k, interval.value, interval.low, interval.high)


def _per_query(
    lists: I32, cohort: Cohort, task: Task, ks: Sequence[int], plays_per_track: I64 | None
) -> list[tuple[str, int, NDArray[np.float64]]]:
    """(metric, k, value of each query of the cohort)."""
    top, targets = lists[cohort.rows], cohort.targets
    hit = metrics.hits(top, targets)
    out = []
    for k in ks:
        out.append(("recall", k, metrics.recall(hit, targets, k)))
        out.append(("ndcg", k, metrics.ndcg(hit, targets, k)))
        out.append(("mrr", k, metrics.mrr(hit, k)))
        if plays_per_track is not None:
            out.append(("novelty", k, metrics.novelty(top, plays_per_track, k)))
    k = min(ks)
    out.append(("diversity", k, metrics.diversity(top, task.items, k)))
    return out


def _of_all_lists(model: str, lists: I32, top: TopLists, ks: Sequence[int], seed: int) -> list[Row]:
    rows = []
    for k in ks:
        for metric, figure in (("coverage", metrics.coverage), ("gini", metrics.gini)):
            of = partial(_exposure_figure, figure, lists, top.eligible, k)
            interval = jackknife(of, top.task.listener, seed=seed)
            rows.append(_row(model, top.task.name, "all", metric, k, interval))
    return rows


def _exposure_figure(
    figure: Callable[[I64, NDArray[np.bool_]], float],
    lists: I32,
    eligible: NDArray[np.bool_],
    k: int,
    queries: NDArray[np.bool_],
) -> float:
    """Coverage or Gini of the lists of some queries."""
    return figure(metrics.exposures(lists[queries], len(eligible), k), eligible)


__all__ = ["KS", "Row", "TopLists", "counts_before", "evaluate", "table", "top_lists"]
