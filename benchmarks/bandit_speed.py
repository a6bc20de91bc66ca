"""Updates and selections a second of every bandit, beside Vowpal Wabbit, MABWiser and Open Bandit Pipeline.

    python -m benchmarks.bandit_speed                                  # ours
    python -m benchmarks.bandit_speed --peers .peers/bin/python        # `make peers` builds that environment

One at a time: 10 arms, 9 features, a selection and an update by turns. By batch: 10,000 rows in one call (ours; the
peers' batches mean other things). Slates: 50 slots filled from 320 candidates of 65 features, posterior draws included.
CPU time, best of `--tries`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bandits.bandit import Bandit
from bandits.bootstrap import BootstrapModel, BootstrapSettings
from bandits.linear import LinearModel, LinearSettings
from bandits.logistic import LogisticModel, LogisticSettings
from bandits.neural_linear import NeuralLinear, NeuralLinearSettings
from bandits.rules import Greedy, InverseGap, Model, Optimistic, PlackettLuce, Rule, Thompson
from benchmarks.bandit_worlds import ARMS, DIM, record
from benchmarks.peers.bandit_play import Stream, play
from benchmarks.results import FOLDER, table, write
from recsys.slate import Problem, Rules, Shelf, fill

PEERS = "benchmarks.peers.bandit_players"
ROWS, STEPS, POOL, SLOTS, WIDE = 10_000, 400, 320, 50, 65
Make = Callable[[int, int], tuple[Model, Rule]]


def policies() -> dict[str, Make]:
    """(dim, arms) -> model and rule, by name."""

    def linear(rule: Rule) -> Make:
        return lambda dim, arms: (LinearModel(LinearSettings(dim=dim, arms=arms)), rule)

    def forgetting(dim: int, arms: int) -> tuple[Model, Rule]:
        return LinearModel(LinearSettings(dim=dim, arms=arms, half_life=600)), Thompson()

    def logistic(dim: int, arms: int) -> tuple[Model, Rule]:
        return LogisticModel(LogisticSettings(dim=dim, arms=arms)), Thompson()

    def neural(dim: int, arms: int) -> tuple[Model, Rule]:
        return NeuralLinear(NeuralLinearSettings(dim=dim, arms=arms)), Thompson()

    def bootstrap(dim: int, arms: int) -> tuple[Model, Rule]:
        return BootstrapModel(BootstrapSettings(dim=dim, arms=arms)), Thompson()

    return {
        "linear epsilon-greedy": linear(Greedy(0.1)),
        "linear softmax": linear(PlackettLuce(0.1)),
        "linear squarecb": linear(InverseGap(400.0)),
        "linear ucb": linear(Optimistic(0.3)),
        "linear thompson": linear(Thompson()),
        "linear thompson, forgetting": forgetting,
        "logistic thompson": logistic,
        "neural-linear thompson": neural,
        "bootstrap": bootstrap,
    }


class Stepwise:
    """A bandit of ours, one context at a time."""

    def __init__(self, model: Model, rule: Rule) -> None:
        self._bandit, self._seed = Bandit(model, rule), 0

    def select(self, x: Any) -> tuple[int, float]:
        self._seed += 1
        chosen = self._bandit.select(x, self._seed)
        return int(chosen.arms[0]), float(chosen.propensities[0])

    def update(self, x: Any, arm: int, reward: float, probability: float) -> None:  # noqa: ARG002
        self._bandit.partial_fit(x, [arm], [reward])


def seconds(call: Callable[[], Any], tries: int) -> float:
    """Least CPU time of several calls."""
    found = []
    for _ in range(tries):
        began = time.process_time()
        call()
        found.append(time.process_time() - began)
    return min(found)


def measured(make: Make, stream: Stream, tries: int) -> dict[str, float]:
    """Selections and updates a second, one at a time and by batch, and slates a second."""
    dim = stream.contexts.shape[1]
    rng = np.random.default_rng(0)
    steps = [play(Stepwise(*make(dim, ARMS)), stream) for _ in range(tries)]
    x, arms, y = rng.normal(size=(ROWS, dim)), rng.integers(0, ARMS, ROWS), rng.integers(0, 2, ROWS)
    batch = Bandit(*make(dim, ARMS)).partial_fit(x[:100], arms[:100], y[:100])
    wide = Bandit(*make(WIDE, 1))
    pool = rng.normal(size=(POOL, WIDE))
    wide.partial_fit(pool, np.zeros(POOL, int), rng.integers(0, 2, POOL))
    n = len(stream.contexts)
    return {
        "select": n / min(s["select"] for s in steps),
        "update": n / min(s["update"] for s in steps),
        "select by batch": ROWS / seconds(lambda: batch.select(x, 1), tries),
        "update by batch": ROWS / seconds(lambda: batch.partial_fit(x, arms, y), tries),
        "slates": 1 / seconds(lambda: slate(wide, pool), tries),
    }


def slate(bandit: Bandit[Any], pool: Any) -> None:
    """One request: utilities, posterior draws, and 50 slots with their propensities."""
    utility, policy = bandit.slots(pool, 7)
    shelf = Shelf("only", SLOTS, np.ones(POOL, bool))
    fill(Problem(np.arange(POOL), utility, np.arange(POOL) // 2, (shelf,), Rules(2, 4)), policy, 7)


def theirs(python: str, folder: Path, seed: int, tries: int) -> dict[str, dict[str, float]]:
    """The peers' first settings on the same steps, in their interpreter."""
    told = json.loads(_run([python, "-W", "ignore", "-m", PEERS]))
    out: dict[str, dict[str, float]] = {}
    for attempt in range(tries):
        wanted, games = folder / "wanted.json", folder / f"{attempt}.jsonl"
        wanted.write_text(json.dumps([[m, grid[0], "logistic", seed] for m, grid in told["grids"].items()]))
        _run([python, "-W", "ignore", "-m", PEERS, str(wanted), str(folder), str(games)])
        for line in map(json.loads, games.open()):
            known = out.setdefault(line["run"][0], {"select": 0.0, "update": 0.0})
            for part in known:
                known[part] = max(known[part], STEPS / line[part])
    return out


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command, cwd=Path(__file__).resolve().parents[1], stdout=subprocess.PIPE, check=False
    )
    if done.returncode:
        sys.exit("bandit_speed: the peers' interpreter failed: is it the environment of `make peers`?")
    return done.stdout.decode()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(".peers/bin/python")
    parser.add_argument("--peers", default=str(default) if default.exists() else None)
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = record(folder, "logistic", 1)
        stream = Stream(*(part[:STEPS] for part in whole))
        np.savez(folder / "logistic-1.npz", **stream._asdict())
        found = {method: measured(make, stream, given.tries) for method, make in policies().items()}
        peers = theirs(given.peers, folder, 1, given.tries) if given.peers else {}
    head = ["select", "update", "select by batch", "update by batch", "slates"]
    rows = [[m, *(f"{f[h]:,.0f}" if h in f else "" for h in head)] for m, f in {**found, **peers}.items()]
    table(["a second", *head], rows)
    print(
        write("bandit-speed", {"dim": DIM + 1, "arms": ARMS, "ours": found, "peers": peers}, given.out).name
    )


if __name__ == "__main__":
    main()
