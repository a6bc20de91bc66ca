"""Cold start in a simulated world: tracks unseen in training, listeners with 0 to 5 plays.

    python -m benchmarks.cold_start --home H [--hide 0.1] [--window test] [--sequence 1] [--name cold-start]

Unseen tracks are of two kinds: NEW (came out less than 14 days before the models' cut or after it, and nobody had
played them before the cut) and HIDDEN (a random share of all tracks, whose plays are taken out of training and out of
every history). Queries are session starts of the window whose session holds such a track; Recall@100 of those tracks.
The pool is the full catalog that the listener may hear. "unplayed" rows are lists of tracks without training plays,
what a source of cold tracks would propose; baselines get both kinds of list. Content kNN's variant is chosen on the
validation window, for each kind of list. "every track" are all the tracks of a session: what new tracks cost the rest.
`--warm` adds a bound: models and histories that do know the plays of the hidden tracks, under the same lists.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, replace
from time import process_time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from benchmarks.cold_rankers import VARIANTS, Knn, Ranker, artists, cold_head, knn, newest
from benchmarks.results import table, write
from models.two_tower import TwoTower, TwoTowerConfig, cold
from models.two_tower.train import train
from recsys.dataset import Dataset, load
from recsys.evaluation.bootstrap import Resampler
from recsys.evaluation.tasks import Task, build_tasks
from recsys.home import Home
from recsys.items import MS_PER_DAY
from recsys.lake import Lake
from recsys.topk import largest_rows

K, NEW_DAYS, CHUNK = 100, 14, 128
BASELINES = ("newest first", "newest by played artists", "content kNN")


@dataclass(frozen=True)
class World:
    """A log, what of it was hidden, and the tracks that are cold for its models."""

    data: Dataset  # the log as it was: targets come from here
    known: Dataset  # without the hidden tracks' plays: models and histories come from here
    hidden: np.ndarray  # (n,) bool
    new: np.ndarray  # (n,) bool
    unplayed: np.ndarray  # (n,) bool: no play before the cut that the models know

    @classmethod
    def of(cls, data: Dataset, share: float, seed: int) -> World:
        hidden = np.random.default_rng(seed).random(len(data.items)) < share
        known = replace(data, plays=cold.without(data.plays, hidden))
        cut = data.split.valid
        before = known.plays.before(cut)
        heard = np.bincount(before.track[before.track >= 0], minlength=len(hidden)) > 0
        young = data.items.release_day > cut // MS_PER_DAY - NEW_DAYS
        return cls(data, known, hidden, young & ~heard & ~hidden, ~heard)

    def task(self, window: str, cap: int, hide: bool = True) -> Task:
        """Session starts; histories without the hidden tracks, or with them."""
        split = self.data.split
        start, end = (split.valid, split.test) if window == "valid" else (split.test, split.end)
        (task,) = build_tasks(self.data, start, end, names=("home",), cap=cap)
        if not hide:
            return task
        histories = cold.without(task.batch.histories, self.hidden)
        return replace(task, batch=replace(task.batch, histories=histories, memo={}))


def recalls(
    ranker: Ranker, task: Task, wanted: np.ndarray, pool: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the task with a wanted target, and Recall@K of those targets in lists from the pool."""
    targets = task.targets.where(wanted[task.targets.tracks])
    rows = np.flatnonzero(targets.counts > 0)
    out = np.zeros(len(rows))
    for low in range(0, len(rows), CHUNK):
        part = rows[low : low + CHUNK]
        scores = np.where(task.eligible(part) & pool, ranker(task.batch.take(part)), -np.inf)
        best = largest_rows(scores.astype(np.float32), K)
        shown = np.take_along_axis(scores, best, 1) > -np.inf
        for j, row in enumerate(part):
            out[low + j] = np.isin(targets.row(int(row)), best[j][shown[j]]).mean()
    return rows, out


def tuned(world: World, task: Task, pool: np.ndarray) -> Knn:
    """The content kNN that recalls most unseen tracks on validation."""
    wanted = world.new | world.hidden
    scores = [recalls(knn(world.data.items, v), task, wanted, pool)[1].mean() for v in VARIANTS]
    return VARIANTS[int(np.argmax(scores))]


def tracks_table(
    world: World, models: dict[str, Ranker], head: cold.ColdHead, window: str, cap: int, warm: Ranker | None
) -> dict[str, Any]:
    """Recall of every ranker, kind of list and kind of track; ratios of ours to the best baseline."""
    task, valid = world.task(window, cap), world.task("valid", cap)
    everything, items = np.ones(len(world.new), bool), world.data.items
    out: dict[str, Any] = {"window": window, "rows": [], "ratios": [], "knn": {}}
    kinds = {"new": world.new, "hidden": world.hidden, "all unseen": world.new | world.hidden}
    for pool_name, pool in (("full catalog", everything), ("unplayed", world.unplayed)):
        if pool is everything:
            found = {name: recalls(ranker, task, everything, pool) for name, ranker in models.items()}
            out["rows"] += [_row(pool_name, "every track", name, *pair, task) for name, pair in found.items()]
        chosen = tuned(world, valid, pool)
        out["knn"][pool_name] = str(chosen)
        rankers = {
            BASELINES[0]: newest(items),
            BASELINES[1]: artists(items),
            BASELINES[2]: knn(items, chosen),
            **models,
            "cold head": cold_head(head, pool),
        }
        for kind, wanted in kinds.items():
            found = {name: recalls(ranker, task, wanted, pool) for name, ranker in rankers.items()}
            out["rows"] += [_row(pool_name, kind, name, *pair, task) for name, pair in found.items()]
            out["ratios"] += _ratios(pool_name, kind, found, task)
        if warm is not None:
            pair = recalls(warm, world.task(window, cap, hide=False), world.hidden, pool)
            out["rows"].append(_row(pool_name, "hidden", "two_tower that knows them", *pair, task))
    return out


def _row(pool: str, kind: str, name: str, rows: np.ndarray, values: np.ndarray, task: Task) -> dict[str, Any]:
    interval = Resampler.of(task.listener[rows]).mean(values)
    return {
        "list": pool,
        "tracks": kind,
        "ranker": name,
        "queries": len(rows),
        "recall": interval.value,
        "low": interval.low,
        "high": interval.high,
    }


def _ratios(pool: str, kind: str, found: dict[str, Any], task: Task) -> list[dict[str, Any]]:
    """Ours over the best of the three baselines, paired over listeners."""
    best = max(BASELINES, key=lambda name: float(found[name][1].mean()))
    rows, below = found[best]
    out = []
    for name, (_, above) in found.items():
        if name not in BASELINES and below.mean() > 0:
            ratio = Resampler.of(task.listener[rows]).ratio(above, below)
            out.append(
                {
                    "list": pool,
                    "tracks": kind,
                    "ranker": name,
                    "over": best,
                    "ratio": ratio.value,
                    "low": ratio.low,
                    "high": ratio.high,
                }
            )
    return out


def measure(given: argparse.Namespace) -> dict[str, Any]:
    from benchmarks.cold_listeners import by_plays

    data = load(Lake(Home.of(given.home).lake))
    world = World.of(data, given.hide, given.seed)
    began = process_time()
    config = TwoTowerConfig(**given.settings)
    tower: TwoTower = train(world.known, data.split.valid, config)
    trained = process_time()
    head = cold.fit(tower, world.known, data.split.valid, given.seed)
    cpu = {"two_tower": round(trained - began, 1), "cold head": round(process_time() - trained, 1)}
    models: dict[str, Ranker] = {"two_tower": tower.score}
    if given.sequence is not None:
        models["sequence"] = _sequence(world, given.sequence, cpu)
    warm = train(data, data.split.valid, config).score if given.warm else None
    figures = tracks_table(world, models, head, given.window, given.cap, warm)
    figures["listeners"] = by_plays(world.known, tower, given.window)
    return {**figures, "cpu_s": cpu, "settings": config.model_dump(), "hide": given.hide, "seed": given.seed}


def _sequence(world: World, epochs: int, cpu: dict[str, float]) -> Ranker:
    from models.sequence.config import SequenceConfig
    from models.sequence.train import train as train_sequence

    began = process_time()
    config = SequenceConfig(epochs=epochs, num_threads=1)
    model = train_sequence(world.known, world.data.split.valid, config)
    cpu["sequence"] = round(process_time() - began, 1)
    return model.score


def show(figures: dict[str, Any]) -> None:
    head = ["list", "tracks", "ranker", "queries", "recall", "low", "high"]
    table(head, [[row[name] for name in head] for row in figures["rows"]])
    head = ["list", "tracks", "ranker", "over", "ratio", "low", "high"]
    table(head, [[row[name] for name in head] for row in figures["ratios"]])
    head = ["plays", "ranker", "queries", "recall", "low", "high"]
    table(head, [[row[name] for name in head] for row in figures["listeners"]])
    print("content kNN:", figures["knn"])


def main() -> None:
    import json

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", required=True)
    parser.add_argument("--hide", type=float, default=0.1, help="share of tracks hidden from training")
    parser.add_argument("--window", choices=("valid", "test"), default="test")
    parser.add_argument("--sequence", type=int, help="epochs of the sequence model; without: left out")
    parser.add_argument("--warm", action="store_true", help="also a model that knows the hidden tracks")
    parser.add_argument("--settings", type=json.loads, default={}, help="TwoTowerConfig fields as JSON")
    parser.add_argument("--cap", type=int, default=2000, help="session starts looked at")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="cold-start")
    given = parser.parse_args()
    figures = measure(given)
    show(figures)
    print(write(given.name, figures))


if __name__ == "__main__":
    main()
