"""What the peers' scripts share: the split they read, CPU seconds without evaluation, test quality along training.

Runs inside a peer's own environment, so it imports numpy alone. The figures follow the definitions of
recsys.evaluation.metrics, and a test holds them equal.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEPTH = 20
ITEMS = 3416


QUIET = {
    "max_epochs": 10_000,
    "accelerator": "cpu",
    "devices": 1,
    "limit_val_batches": 0,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
"""Options of Lightning's trainer: nothing but training; when to stop is the meter's to say."""


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every peer's script has."""
    out = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    out.add_argument("--split", type=Path, required=True)
    out.add_argument("--out", type=Path, required=True, help="an unfinished run found there goes on")
    out.add_argument("--length", type=int, default=50)
    out.add_argument("--seed", type=int, default=0)
    out.add_argument("--until", type=float, default=0.17, help="stop at this NDCG@10")
    out.add_argument("--budget", type=float, default=7200, help="stop after these CPU seconds of training")
    return out


@dataclass(frozen=True)
class Split:
    """Ragged item numbers from 0; user j of `train` and `seen` is row j of `target`."""

    train: list[NDArray[np.int64]]  # without the last two items: what may train
    seen: list[NDArray[np.int64]]  # without the last item: what is known at test
    target: NDArray[np.int64]  # (users,)

    @classmethod
    def read(cls, path: Path) -> Split:
        with np.load(path) as file:
            cuts = {name: file[f"{name}_offsets"][1:-1] for name in ("train", "seen")}
            train, seen = (np.split(file[f"{name}_items"].astype(np.int64), cuts[name]) for name in cuts)
            return cls(train, seen, file["target"].astype(np.int64))


def best_unseen(scores: NDArray[np.floating], seen: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """(b, DEPTH) best items by scores (b, items), those in `seen` left out."""
    scores = scores.astype(np.float32, copy=True)
    for row, items in enumerate(seen):
        scores[row, items] = -np.inf
    top = np.argpartition(-scores, DEPTH, axis=1)[:, :DEPTH]
    order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
    return np.take_along_axis(top, order, axis=1).astype(np.int64)


def quality(top: NDArray[np.int64], target: NDArray[np.int64], k: int = 10) -> dict[str, float]:
    """Means of HR, NDCG and MRR at k of lists (users, at least k) with one target each."""
    hit = top[:, :k] == target[:, None]
    rank = np.where(hit.any(1), hit.argmax(1) + 1, 0)
    found = rank > 0
    gain = np.where(found, 1 / np.log2(np.maximum(rank, 1) + 1), 0.0)
    reciprocal = np.where(found, 1 / np.maximum(rank, 1), 0.0)
    return {
        f"hr@{k}": float(found.mean()),
        f"ndcg@{k}": float(gain.mean()),
        f"mrr@{k}": float(reciprocal.mean()),
    }


@dataclass
class Meter:
    """Counts CPU seconds of training and keeps one point an epoch in FOLDER/points.json, with the lists beside."""

    folder: Path
    settings: dict[str, Any]
    target: NDArray[np.int64]
    until_ndcg: float
    budget_s: float
    points: list[dict[str, Any]] = field(default_factory=list)
    used_s: float = 0.0
    mark: float = 0.0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "points.json"
        if file.exists():
            kept = json.loads(file.read_text())
            if kept["settings"] != self.settings:
                raise SystemExit(f"{self.folder} holds a run with other settings: give another folder")
            self.points, self.used_s = kept["points"], kept["points"][-1]["cpu_s"]

    @property
    def done(self) -> bool:
        last = self.points[-1] if self.points else None
        return last is not None and (last["ndcg@10"] >= self.until_ndcg or last["cpu_s"] >= self.budget_s)

    def start(self) -> None:
        self.mark = time.process_time()

    def stop(self) -> None:
        self.used_s += time.process_time() - self.mark

    def record(self, epoch: int, top: NDArray[np.int64]) -> None:
        """Adds a point: the quality of lists (users, DEPTH) after `epoch` epochs."""
        found = quality(top, self.target)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self.points.append({"epoch": epoch, "cpu_s": round(self.used_s, 2), "peak_mb": round(peak), **found})
        np.savez_compressed(self.folder / f"lists-{epoch}.npz", top=top.astype(np.int16))
        body = {"settings": self.settings, "points": self.points}
        beside = self.folder / "points.json.new"
        beside.write_text(json.dumps(body, indent=1))
        beside.replace(self.folder / "points.json")
        print(
            f"epoch {epoch}: {self.used_s:.0f} CPU s, NDCG@10 {found['ndcg@10']:.4f}, HR@10 {found['hr@10']:.4f}",
            flush=True,
        )
