"""A simulated log with cold tracks in it, and the requests, targets and cohorts of benchmarks.semantic_ids."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recsys.dataset import Dataset
from recsys.evaluation.ragged import Ragged
from recsys.evaluation.tasks import Task, build_tasks
from recsys.plays import I64

Bools = NDArray[np.bool_]
HIDDEN_SHARE = 0.05
HEAD_SHARE = 0.8


@dataclass(frozen=True)
class World:
    """One window of one world."""

    data: Dataset  # without the hidden tracks' plays before the window
    task: Task  # home: one request a session
    plays: I64  # (n,) of each track before the validation window, which is where training ends
    hidden: Bools  # (n,) tracks whose past was taken away
    tail: Bools  # (n,) played tracks outside the head, the fewest tracks that have 80% of the training plays
    heard: Bools  # (q, n) what each listener had in the window of plays
    eligible: Bools  # (q, n) released and open in the listener's territory

    @property
    def cold(self) -> Bools:
        """(n,) tracks without plays in training."""
        cold: Bools = self.plays == 0
        return cold

    def cohorts(self) -> dict[str, Ragged]:
        """The targets that count in each column of the tables."""
        targets = self.task.targets
        new = ~self.heard[targets.owner, targets.tracks]
        cold, tail = self.cold[targets.tracks], self.tail[targets.tracks]
        hidden = self.hidden[targets.tracks]
        return {
            "all": targets,
            "new": targets.where(new),
            "tail": targets.where(new & tail),
            "hidden": targets.where(new & cold & hidden),
            "released": targets.where(new & cold & ~hidden),
        }


def hidden_world(data: Dataset, window: str, cap: int, share: float, seed: int = 0) -> World:
    """`window`: valid or test. The hidden tracks, a share of those with plays in training, are the same for both."""
    split, n = data.split, len(data.items)
    start, end = (split.valid, split.test) if window == "valid" else (split.test, split.end)
    known = data.plays.track >= 0
    played = np.bincount(data.plays.track[known & (data.plays.start < split.valid)], minlength=n)
    rng = np.random.default_rng(seed)
    hidden = np.zeros(n, bool)
    some = np.flatnonzero(played > 0)
    hidden[rng.choice(some, round(share * len(some)), replace=False)] = True
    gone = (data.plays.start < start) & known & hidden[np.maximum(data.plays.track, 0)]
    data = replace(data, plays=data.plays.where(~gone))
    plays = np.where(hidden, 0, played)
    (task,) = build_tasks(data, start, end, names=("home",), cap=cap, seed=seed)
    heard = np.zeros((len(task), n), bool)
    rows = task.batch.histories.track >= 0
    heard[task.batch.histories.owner[rows], task.batch.histories.track[rows]] = True
    eligible = task.eligible(np.arange(len(task)))
    return World(data, task, plays, hidden, (plays > 0) & ~_head(plays), heard, eligible)


def _head(plays: I64) -> Bools:
    order = np.argsort(-plays, kind="stable")
    before = np.cumsum(plays[order]) - plays[order]
    head = np.zeros(len(plays), bool)
    head[order[before < HEAD_SHARE * plays.sum()]] = True
    return head
