"""Training on from yesterday's two-tower weights against training from scratch, week after week of one log.

    python -m benchmarks.incremental --home H [--weeks 3] [--every 7] [--arms "scratch;incremental"] [--work FOLDER]

The last `--weeks` weeks before the log's end are the weeks measured. At each week's start every arm makes its model of
the plays so far, and is asked for the sessions of that week (home task: Recall@100, NDCG@10). Drift is the share of a
query's 100 best tracks that the same arm's model of the week before would not have listed. CPU seconds are the
process's (user and system) of training alone; an incremental arm that steps every `--every` days pays for each step.
Models and rows are kept in `--work`, and what is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from benchmarks.results import table, write
from models.two_tower import TwoTower, TwoTowerConfig
from models.two_tower.incremental import Moments
from models.two_tower.train import train
from recsys.dataset import Dataset, load
from recsys.evaluation import metrics
from recsys.evaluation.bootstrap import Resampler
from recsys.evaluation.evaluate import top_lists
from recsys.evaluation.tasks import Task, build_tasks
from recsys.files import write_whole
from recsys.home import Home
from recsys.items import MS_PER_DAY
from recsys.lake import Lake

K, WEEK = 100, 7 * MS_PER_DAY


@dataclass
class Arm:
    """One way of having a model at each week's start."""

    name: str
    step: Callable[[Dataset, int, TwoTower | None, Moments | None], TwoTower]
    every_days: int  # how often it trains; 0: once a week, whole
    moments: Moments | None = None
    spent: float = 0.0  # CPU seconds since the last week's start
    last: TwoTower | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)

    def advance(self, data: Dataset, until: int) -> TwoTower:
        """Its model as of `until`."""
        times = [until]
        if self.every_days and self.last is not None:
            stride = self.every_days * MS_PER_DAY
            times = [*range(self.last.until_ms + stride, until, stride), until]
        began = process_time()
        for time in times:
            self.last = self.step(data, time, self.last, self.moments)
        self.spent = process_time() - began
        assert self.last is not None
        return self.last


def arms(config: TwoTowerConfig, every: int, wanted: list[str]) -> list[Arm]:
    """All arms begin with the same model, trained from scratch before the first week."""

    def scratch(data: Dataset, until: int, _last: TwoTower | None, _kept: Moments | None) -> TwoTower:
        return train(data, until, config)

    def going_on(changes: dict[str, Any]) -> Callable[..., TwoTower]:
        own = config.model_copy(update=changes)

        def step(data: Dataset, until: int, last: TwoTower | None, kept: Moments | None) -> TwoTower:
            if last is None:
                return train(data, until, own, keep=kept)
            return train(data, until, own, start=last, keep=kept)

        return step

    def stale(data: Dataset, until: int, last: TwoTower | None, _kept: Moments | None) -> TwoTower:
        return last or train(data, until, config)

    every_arm = [
        Arm("scratch", scratch, 0),
        Arm("incremental", going_on({}), every),
        Arm("incremental, no replay", going_on({"replay": 0.0}), every),
        Arm("incremental, optimizer kept", going_on({}), every, {}),
        Arm("not retrained", stale, 0),
    ]
    return [arm for arm in every_arm if not wanted or arm.name in wanted]


def measure(data: Dataset, arm: Arm, starts: list[int], cap: int, work: Path) -> list[dict[str, Any]]:
    """Rows of one arm, one a week; kept in `work`."""
    before: TwoTower | None = None
    for week, start in enumerate(starts):
        folder = work / arm.name.replace(", ", "-").replace(" ", "-") / str(week)
        done = folder / "row.json"
        if done.exists() and arm.moments is None:
            arm.last = TwoTower.load(folder, data.items)
            arm.rows.append(json.loads(done.read_text()))
        else:
            model = _first(data, start, work, arm) if week == 0 else arm.advance(data, start)
            (task,) = build_tasks(data, start, start + WEEK, names=("home",), cap=cap)
            row = {
                "arm": arm.name,
                "week": week,
                "cpu_s": round(arm.spent, 1),
                **quality(model, before, task),
            }
            model.save(folder)
            write_whole(done, json.dumps(row).encode())
            arm.rows.append(row)
            print(row, flush=True)
        before = arm.last
    return arm.rows


def _first(data: Dataset, start: int, work: Path, arm: Arm) -> TwoTower:
    """The model that all arms begin with; made once, and once more where the optimizer's state is wanted."""
    folder = work / "first"
    if arm.moments is None and (folder / "manifest.json").exists():
        arm.last = TwoTower.load(folder, data.items)
        arm.spent = float((folder.parent / "first.cpu").read_text())
        return arm.last
    model = arm.advance(data, start)
    model.save(folder)
    (folder.parent / "first.cpu").write_text(str(arm.spent))
    return model


def quality(model: TwoTower, before: TwoTower | None, task: Task) -> dict[str, Any]:
    """Recall@100 and NDCG@10 with intervals over listeners, and drift against last week's model."""
    models = {"now": model} | ({} if before is None else {"before": before})
    lists = top_lists(models, task, K).lists
    hit = metrics.hits(lists["now"], task.targets)
    draw = Resampler.of(task.listener)
    recall = draw.mean(metrics.recall(hit, task.targets, K))
    ndcg = draw.mean(metrics.ndcg(hit, task.targets, 10))
    out: dict[str, Any] = {
        "queries": len(task),
        "recall@100": recall.value,
        "recall_interval": [recall.low, recall.high],
        "ndcg@10": ndcg.value,
        "ndcg_interval": [ndcg.low, ndcg.high],
    }
    if before is not None:
        pairs = zip(lists["now"], lists["before"], strict=True)
        out["drift"] = float(np.mean([1 - np.isin(a[a >= 0], b).mean() for a, b in pairs]))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", required=True)
    parser.add_argument("--weeks", type=int, default=3)
    parser.add_argument("--every", type=int, default=7, help="days between incremental steps")
    parser.add_argument("--arms", default="", help="names, separated by semicolons; all without")
    parser.add_argument("--settings", type=json.loads, default={}, help="TwoTowerConfig fields as JSON")
    parser.add_argument("--cap", type=int, default=2000, help="queries a week")
    parser.add_argument("--work", type=Path, required=True, help="where models and rows are kept")
    parser.add_argument("--name", default="incremental")
    given = parser.parse_args()
    data = load(Lake(Home.of(given.home).lake))
    config = TwoTowerConfig(**given.settings)
    starts = [data.split.end - WEEK * (given.weeks - week) for week in range(given.weeks)]
    given.work.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    wanted = [name for name in given.arms.split(";") if name]
    for arm in arms(config, given.every, wanted):
        rows += measure(data, arm, starts, given.cap, given.work)
    head = ["arm", "week", "cpu_s", "queries", "recall@100", "ndcg@10", "drift"]
    table(head, [[row.get(name, "-") for name in head] for row in rows])
    print(write(given.name, {"rows": rows, "every_days": given.every, "settings": config.model_dump()}))


if __name__ == "__main__":
    main()
