"""One bandit on one recorded stream, step by step: the loop that ours and every peer go through. Numpy alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
POINTS = 40  # of the regret curve that is kept


class Stream(NamedTuple):
    """T steps: contexts (T, d) with a constant at the end, rewards (T, k) had each arm been chosen, their means."""

    contexts: F64
    rewards: F64
    expected: F64


class Player(Protocol):
    """A bandit that is asked one context at a time."""

    def select(self, x: F64) -> tuple[int, float]:
        """An arm and its probability (1 where the library does not say)."""
        ...

    def update(self, x: F64, arm: int, reward: float, probability: float) -> None: ...


Make = Callable[[dict[str, Any], int, int, int], Player]
"""(setting, dim, arms, seed) -> a player that knows nothing."""


def load(folder: Path, world: str, seed: int) -> Stream:
    with np.load(folder / f"{world}-{seed}.npz") as file:
        return Stream(file["contexts"], file["rewards"], file["expected"])


def play(player: Player, stream: Stream) -> dict[str, Any]:
    """Regret against the best arm of each step, and CPU seconds spent selecting and updating."""
    regret = np.empty(len(stream.contexts))
    selecting = updating = 0.0
    for t, x in enumerate(stream.contexts):
        began = time.process_time()
        arm, probability = player.select(x)
        chosen = time.process_time()
        player.update(x, arm, float(stream.rewards[t, arm]), probability)
        updating += time.process_time() - chosen
        selecting += chosen - began
        regret[t] = stream.expected[t].max() - stream.expected[t, arm]
    curve = regret.cumsum()[np.linspace(0, len(regret) - 1, POINTS).astype(int)]
    return {
        "regret": float(regret.sum()),
        "curve": np.round(curve, 3).tolist(),
        "select": selecting,
        "update": updating,
    }


def run_all(wanted: Iterable[list[Any]], makers: dict[str, Make], streams: Path, out: Path) -> None:
    """Plays every (method, setting, world, seed) that `out` does not hold yet; one JSON line each."""
    done = {json.dumps(json.loads(line)["run"]) for line in out.open()} if out.exists() else set()
    todo = [run for run in wanted if json.dumps(run) not in done]
    for i, run in enumerate(todo):
        method, setting, world, seed = run
        stream = load(streams, world, seed)
        player = makers[method](setting, stream.contexts.shape[1], stream.rewards.shape[1], seed)
        found = play(player, stream)
        with out.open("a") as file:
            file.write(json.dumps({"run": run, **found}) + "\n")
        if i % 20 == 0 or i + 1 == len(todo):
            print(f"{i + 1}/{len(todo)} {method} {world} {found['regret']:.0f}", flush=True)
