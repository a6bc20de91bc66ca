"""Tuning a baseline on the validation window: coordinate descent over a grid that grows where the optimum
is on its edge.

found = tune_als(dataset); found.best, found.points
python -m benchmarks.tune_als --home H     # writes every point as JSON
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from recsys.dataset import Dataset
from recsys.evaluation.baselines import als, bpr
from recsys.evaluation.evaluate import Row, table, top_lists
from recsys.evaluation.protocol import Model
from recsys.evaluation.tasks import Task, build_tasks

Settings = TypeVar("Settings", bound=BaseModel)
Grid = Mapping[str, Sequence[float]]
Value = float | int
Progress = Callable[[str], None]  # gets a line a point

ALS_GRID: Grid = {
    "alpha": (1.0, 2.0, 4.0, 8.0, 16.0),
    "half_life_days": (1.75, 3.5, 7.0, 14.0),
    "regularization": (0.3, 1.0, 3.0, 10.0, 30.0),
    "embedding_dim": (128, 256, 512),
}
"""Searched in this order."""
BPR_GRID: Grid = {
    "embedding_dim": (32, 64),
    "learning_rate": (0.02, 0.05, 0.1),
    "regularization": (0.001, 0.01, 0.1),
    "half_life_days": (7.0, 14.0, 28.0),
}
_LARGEST = {"embedding_dim": 1024.0, "half_life_days": 1000.0, "learning_rate": 0.5}
_SWEEPS, _GROWTH = 3, 4


@dataclass(frozen=True)
class Point:
    """One trained setting and what it reached on the validation window (95% interval over listeners)."""

    settings: dict[str, Any]
    recall_100: float
    low: float
    high: float
    ndcg_10: float
    seconds: float


@dataclass(frozen=True)
class Tuned:
    """What a search found, with everything that it tried."""

    best: BaseModel
    points: list[Point]
    on_edge: list[str]  # dimensions whose best value is the smallest or largest tried

    def to_dict(self) -> dict[str, Any]:
        points = [asdict(p) for p in self.points]
        return {"best": self.best.model_dump(), "on_edge": self.on_edge, "points": points}


def tune_als(
    dataset: Dataset, grid: Grid = ALS_GRID, cap: int = 2000, progress: Progress | None = None
) -> Tuned:
    """Best Recall@100 on `home` over the validation window, trained on plays before it."""
    return _search(als.fit, als.AlsSettings(), dataset, grid, cap, progress)


def tune_bpr(
    dataset: Dataset, grid: Grid = BPR_GRID, cap: int = 2000, progress: Progress | None = None
) -> Tuned:
    """As tune_als."""
    return _search(bpr.fit, bpr.BprSettings(), dataset, grid, cap, progress)


def _search(
    fit: Callable[[Dataset, int, Settings], Model],
    start: Settings,
    dataset: Dataset,
    grid: Grid,
    cap: int,
    progress: Progress | None,
) -> Tuned:
    split = dataset.split
    (task,) = build_tasks(dataset, split.valid, split.test, names=("home",), cap=cap)
    tried: dict[Settings, Point] = {}

    def value(settings: Settings) -> float:
        if settings not in tried:
            begin = time.perf_counter()
            model = fit(dataset, split.valid, settings)
            tried[settings] = _point(model, task, settings, begin)
            if progress:
                progress(f"{settings!r} recall@100 {tried[settings].recall_100:.4f}")
        return tried[settings].recall_100

    axes = {name: list(values) for name, values in grid.items()}
    best = start.model_copy(update={name: axis[len(axis) // 2] for name, axis in axes.items()})
    for _ in range(_SWEEPS):
        before = best
        for name, axis in axes.items():
            best = _along(best, name, axis, value)
        if best == before:
            break
    edge = on_edge(best, axes)
    if edge:
        warnings.warn(
            f"the best point lies on the grid's edge in {', '.join(edge)}: widen the grid", stacklevel=2
        )
    return Tuned(best, list(tried.values()), edge)


def _along(best: Settings, name: str, axis: list[Value], value: Callable[[Settings], float]) -> Settings:
    """Best setting along one axis, which grows (in place) while its best value is on the edge."""
    for _ in range(_GROWTH):
        options = [best.model_copy(update={name: v}) for v in axis]
        place = max(range(len(axis)), key=lambda i: value(options[i]))
        best = options[place]
        beyond = grown(name, axis, place)
        if beyond is None:
            return best
        axis.insert(0 if place == 0 else len(axis), beyond)
    return best


def grown(name: str, axis: Sequence[Value], place: int) -> Value | None:
    """The next value beyond the edge at `place`, by the axis' own ratio; None inside the grid or at a
    limit."""
    if 0 < place < len(axis) - 1:
        return None
    inner = axis[1] if place == 0 else axis[-2]
    beyond = axis[place] * (axis[place] / inner)
    if beyond > _LARGEST.get(name, math.inf) or (isinstance(axis[place], int) and beyond < 4):
        return None
    return round(beyond) if isinstance(axis[place], int) else beyond


def on_edge(best: BaseModel, axes: Mapping[str, Sequence[Value]]) -> list[str]:
    """Dimensions of the grid whose best value is its smallest or largest."""
    return [name for name, axis in axes.items() if getattr(best, name) in (min(axis), max(axis))]


def _point(model: Model, task: Task, settings: BaseModel, begin: float) -> Point:
    rows = table(top_lists({"m": model}, task, 100), ks=(10, 100), bootstrap=200)
    found: dict[tuple[str, int], Row] = {(r.metric, r.k): r for r in rows if r.cohort == "all"}
    recall, ndcg = found["recall", 100], found["ndcg", 10]
    seconds = round(time.perf_counter() - begin, 2)
    return Point(settings.model_dump(), recall.value, recall.low, recall.high, ndcg.value, seconds)
