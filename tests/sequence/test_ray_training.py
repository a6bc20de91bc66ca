"""Training on real Ray workers: what one process trains, also when a worker is killed on the way."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest
from scipy.special import log_softmax

from models.sequence.config import SequenceConfig
from models.sequence.model import SequenceModel
from models.sequence.train import train
from recsys.dataset import load
from recsys.errors import NotReady
from recsys.evaluation.tasks import build_tasks
from recsys.home import Home
from recsys.lake import Lake
from serving.ray_training import train_on_ray

# Dropout is drawn by each worker for its own plays: without it the sums alone differ.
CONFIG = SequenceConfig(
    steps=600,
    mixing_steps=20,
    dropout=0.0,
    id_dropout=0.0,
    embedding_dim=32,
    batch_size=16,
    checkpoint_steps=20,
    num_threads=1,
    precision="float32",
    workers=2,
)


def training_workers() -> list[psutil.Process]:
    """Ray Train's processes that this one's cluster runs."""
    family = psutil.Process().children(recursive=True)
    return [process for process in family if "RayTrainWorker" in " ".join(process.cmdline())]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_workers_on_ray_train_what_one_process_trains_though_one_of_them_is_killed(
    tiny_root: Path, tmp_path: Path
) -> None:
    lake = Lake(Home.of(tiny_root).lake)
    data = load(lake)
    before: list[int] = []
    after: list[int] = []
    killed: list[int] = []
    kept = tmp_path / "model.ray" / "sequence" / "checkpoint_manager_snapshot.json"

    def follow(done: int, _total: int) -> None:
        (after if killed else before).append(done)
        if not killed and done >= 200 and kept.exists() and "checkpoint_2" in kept.read_text():
            victim = training_workers()[-1]
            victim.send_signal(signal.SIGKILL)
            killed.append(victim.pid)

    train_on_ray(lake, data.versions, data.split.valid, CONFIG, tmp_path / "model", follow)
    assert killed, f"it was over before a worker could be killed: {before}"
    assert after
    assert min(after) >= 60, f"it began anew, not from a checkpoint: {before}, then {after}"
    assert not (tmp_path / "model.ray").exists()

    together = SequenceModel.load(tmp_path / "model", data.items)
    alone = train(data, data.split.valid, CONFIG)
    (task,) = build_tasks(data, data.split.valid, data.split.test, names=("next_track",), cap=200)
    ours, theirs = (log_softmax(m.score(task.batch).astype(np.float64), axis=1) for m in (together, alone))
    # Where a gradient is rounding alone, AdamW makes a step of it: a few tracks' scores may differ, not the ranking.
    assert np.quantile(np.abs(ours - theirs), 0.999) < 1e-2
    best = np.argsort(-ours, axis=1)[:, :10]
    shared = [len(set(a) & set(b)) for a, b in zip(best, np.argsort(-theirs, axis=1)[:, :10], strict=True)]
    assert np.mean(shared) > 9.9


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_whose_data_cannot_train_ends_with_one_line(tiny_root: Path, tmp_path: Path) -> None:
    home = Home.of(shutil.copytree(tiny_root, tmp_path / "home"))
    lake = Lake(home.lake)
    with pytest.raises(NotReady, match="no plays to train on before the split"):
        train_on_ray(lake, lake.versions(), 0, CONFIG, tmp_path / "model")


def test_a_lake_without_events_is_refused_before_ray_starts(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="run `recsys simulate`"):
        train_on_ray(Lake(tmp_path / "lake"), {}, 0, CONFIG, tmp_path / "model")
    assert "RAY_ADDRESS" in os.environ or not training_workers()
