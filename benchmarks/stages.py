"""Where the time of one home request goes: CPU-ms by stage, in process, one thread.

python -m benchmarks.stages --home var
python -m benchmarks.stages --home var --learned thompson      # with a learned policy (docs/exploration.md)
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from bandits.linear import LinearModel
from benchmarks.results import table, write
from experiments.parameters import overlay
from recsys.home import Home
from recsys.schemas import Surface
from recsys.state_store import LocalStore
from recsys.types import Context, Query, UserState
from serving.decisions import to_event
from serving.learning.features import untaught
from serving.learning.settings import LearningSettings
from serving.learning.states import States, Taught, basis
from serving.loaded import LoadedRelease
from serving.recommender import Recommender, request_seed
from serving.registry import CHAMPION, Registry
from serving.settings import ServiceSettings


def measure(home: Home, requests: int, learned: str = "off") -> dict[str, Any]:
    """Mean CPU-ms of each stage, and percentiles of the whole in wall and CPU time.

    `learned`: rule of a learned policy, over the home's newest state, or one that has learned nothing.
    """
    import torch

    from recsys.state_tail import read_states

    torch.set_num_threads(1)
    release = LoadedRelease.load(Registry(home).get(CHAMPION).folder)
    settings = overlay(ServiceSettings(), {"home.learned.rule": learned})
    recommender = Recommender(release, settings, clock=time.thread_time)
    if learned != "off":
        recommender = recommender.after(_taught(home, release))
    store = LocalStore(home.state_db)
    users = read_states(store, store.keys(requests))
    now = recommender.release.manifest.until
    wall, cpu, stages = [], [], []
    for i, user in enumerate([*users[:20], *users]):
        query = _query(user, now + i)
        begin, spent = time.perf_counter(), time.thread_time()
        decision = recommender.answer(query)
        done = time.thread_time()
        event = to_event(decision)
        if i >= 20 and decision.rung == "full":
            wall.append((time.perf_counter() - begin) * 1000)
            cpu.append((time.thread_time() - spent) * 1000)
            stages.append({**decision.stages_ms, "pack decision": (time.thread_time() - done) * 1000})
        _ = event
    mean = {name: float(np.mean([s[name] for s in stages])) for name in stages[0]}
    total = float(np.mean(cpu))
    mean["rest"] = total - sum(mean.values())
    return {
        "requests": len(wall),
        "wall_p50": float(np.percentile(wall, 50)),
        "wall_p99": float(np.percentile(wall, 99)),
        "cpu_mean": total,
        "cpu_p99": float(np.percentile(cpu, 99)),
        "stages_cpu_ms": dict(sorted(mean.items(), key=lambda pair: -pair[1])),
    }


def _taught(home: Home, release: LoadedRelease) -> Taught:
    states = States(home)
    if newest := states.current():
        return states.load(newest, basis(release))
    return Taught(LinearModel(untaught(basis(release), LearningSettings().l2, 0.0)), "untaught")


def _query(user: UserState, now: int) -> Query:
    request_id = f"bench-{now}"
    return Query(request_id, Surface.HOME, now, request_seed(request_id), 10, user, Context())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path("var"))
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--learned", default="off", help="rule of a learned policy")
    given = parser.parse_args()
    figures = measure(Home.of(given.home), given.requests, given.learned)
    table(["stage", "CPU ms"], [[name, ms] for name, ms in figures["stages_cpu_ms"].items()])
    table(["", "ms"], [[name, figures[name]] for name in ("wall_p50", "wall_p99", "cpu_mean", "cpu_p99")])
    print(write("stages-home" if given.learned == "off" else f"stages-home-{given.learned}", figures))


if __name__ == "__main__":
    main()
