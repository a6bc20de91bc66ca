"""Regret of our bandits beside Vowpal Wabbit, MABWiser and Open Bandit Pipeline, on the same recorded streams.

    make peers                                                   # .peers, with the libraries beside ours
    python -m benchmarks.bandit_regret --peers .peers/bin/python --work DIR
    python -m benchmarks.bandit_regret --work DIR                # ours alone

Four worlds (benchmarks/bandit_worlds.py). Every method has four settings; on separate seeds it gets the one with the
least regret relative to drawing at random, averaged over the worlds, and plays all worlds with it. A run that is cut
off goes on where it was: every game is a line in DIR. Writes JSON and PNG under benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bandit_players import GRIDS, makers
from benchmarks.bandit_plot import plot
from benchmarks.bandit_worlds import WORLDS, record, uniform_regret
from benchmarks.peers.bandit_play import load, run_all
from benchmarks.results import FOLDER, table, write

ROOT = Path(__file__).resolve().parents[1]
PEERS = "benchmarks.peers.bandit_players"
TUNING = 10_000  # first seed of the settings' choice
Runs = dict[str, dict[str, Any]]
Grids = dict[str, list[dict[str, Any]]]


def key(method: str, setting: dict[str, Any], world: str, seed: int) -> str:
    return json.dumps([method, setting, world, seed])


class Table:
    """Who plays, where, and what is known so far."""

    def __init__(self, work: Path, python: str | None, tuning: int, seeds: int) -> None:
        self.work, self.python = work, python
        self.tuning = range(TUNING, TUNING + tuning)
        self.seeds = range(seeds)
        self.streams = work / "streams"
        self.streams.mkdir(parents=True, exist_ok=True)
        self.versions: dict[str, str] = {}
        self.peers: Grids = {}
        if python:
            told = json.loads(self._peer([]))
            self.peers, self.versions = told["grids"], told["versions"]
        self.uniform = self._record()

    def _record(self) -> dict[str, float]:
        unit: dict[str, list[float]] = {world: [] for world in WORLDS}
        for world in WORLDS:
            for seed in (*self.tuning, *self.seeds):
                known = (self.streams / f"{world}-{seed}.npz").exists()
                stream = load(self.streams, world, seed) if known else record(self.streams, world, seed)
                unit[world].append(uniform_regret(stream))
        return {world: float(np.mean(values)) for world, values in unit.items()}

    def _peer(self, arguments: list[str], capture: bool = True) -> str:
        command = [self.python or "", "-W", "ignore", "-m", PEERS, *arguments]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE if capture else None, check=False)
        if done.returncode:
            sys.exit(f"bandit_regret: {' '.join(command[:4])} failed: is it the environment of `make peers`?")
        return done.stdout.decode() if capture else ""

    def play(self, wanted: list[list[Any]]) -> Runs:
        """Plays what is missing; returns every game known."""
        ours = [run for run in wanted if run[0] in GRIDS]
        run_all(ours, makers(), self.streams, self.work / "ours.jsonl")
        theirs = [run for run in wanted if run[0] in self.peers]
        if theirs:
            file = self.work / "wanted.json"
            file.write_text(json.dumps(theirs))
            self._peer([str(file), str(self.streams), str(self.work / "peers.jsonl")], capture=False)
        lines = [line for name in ("ours", "peers") for line in _lines(self.work / f"{name}.jsonl")]
        return {json.dumps(line["run"]): line for line in lines}


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.open()] if file.exists() else []


def chosen(games: Table) -> tuple[dict[str, dict[str, Any]], str]:
    """The setting of each method and the first of ours, from the tuning seeds alone."""
    grids = {**GRIDS, **games.peers}
    wanted = [
        [method, setting, world, seed]
        for method, grid in grids.items()
        for setting in grid
        for world in WORLDS
        for seed in games.tuning
    ]
    runs = games.play(wanted)

    def cost(method: str, setting: dict[str, Any]) -> float:
        return float(
            np.mean(
                [
                    runs[key(method, setting, world, seed)]["regret"] / games.uniform[world]
                    for world in WORLDS
                    for seed in games.tuning
                ]
            )
        )

    settings = {m: grid[int(np.argmin([cost(m, s) for s in grid]))] for m, grid in grids.items()}
    return settings, min(GRIDS, key=lambda m: cost(m, settings[m]))


def figures(games: Table, settings: dict[str, dict[str, Any]], one: str) -> dict[str, Any]:
    """Regret by method and world over the test seeds, and our best beside the best peer of each world."""
    runs: Runs = {}
    for part in np.array_split(
        np.array(games.seeds), -(-len(games.seeds) // 10)
    ):  # what is cut off has whole seeds
        runs = games.play(
            [[m, s, world, int(seed)] for m, s in settings.items() for world in WORLDS for seed in part]
        )
    regret = {
        method: {
            world: [runs[key(method, setting, world, seed)]["regret"] for seed in games.seeds]
            for world in WORLDS
        }
        for method, setting in settings.items()
    }
    curves = {
        method: {
            world: np.mean([runs[key(method, s, world, seed)]["curve"] for seed in games.seeds], axis=0)
            for world in WORLDS
        }
        for method, s in settings.items()
    }
    return {
        "seeds": len(games.seeds),
        "tuning seeds": len(games.tuning),
        "versions of peers": games.versions,
        "uniform": games.uniform,
        "settings": settings,
        "grids": {**GRIDS, **games.peers},
        "regret": regret,
        "curves": curves,
        "beside": beside(games, regret, one) if games.peers else {},
    }


def overall(games: Table, regret: dict[str, dict[str, list[float]]], method: str) -> float:
    """Regret relative to drawing at random, mean over the worlds."""
    return float(np.mean([np.mean(regret[method][w]) / games.uniform[w] for w in WORLDS]))


def beside(games: Table, regret: dict[str, dict[str, list[float]]], one: str) -> dict[str, dict[str, Any]]:
    """Ours less the best peer of each world, paired over seeds, with 95% intervals (t): our best there, and the
    one of ours that did best on the tuning seeds."""
    from scipy.stats import t

    out: dict[str, dict[str, Any]] = {}
    for world in WORLDS:
        peer = min(games.peers, key=lambda m: float(np.mean(regret[m][world])))
        best = min(GRIDS, key=lambda m: float(np.mean(regret[m][world])))
        for name, method in (("best there", best), ("chosen beforehand", one)):
            gap = np.array(regret[method][world]) - np.array(regret[peer][world])
            half = float(t.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / np.sqrt(len(gap)))
            out.setdefault(world, {"peer": peer})[name] = {
                "ours": method,
                "difference": float(gap.mean()),
                "low": float(gap.mean() - half),
                "high": float(gap.mean() + half),
            }
    return out


def show(games: Table, found: dict[str, Any]) -> None:
    regret = found["regret"]
    rows = []
    for method in sorted(regret, key=lambda m: overall(games, regret, m)):
        cells = [
            f"{np.mean(v):.0f} ± {1.96 * np.std(v, ddof=1) / np.sqrt(len(v)):.0f}"
            for v in (regret[method][world] for world in WORLDS)
        ]
        who = "" if method in games.peers else "ours"
        rows.append(
            [
                who,
                method,
                *cells,
                f"{overall(games, regret, method):.3f}",
            ]
        )
    rows.append(["", "at random", *(f"{games.uniform[w]:.0f}" for w in WORLDS), "1.000"])
    table(["", "method", *WORLDS, "of random"], rows)
    for method, setting in found["settings"].items():
        print(f"{method}: {json.dumps(setting)}")
    if found["beside"]:
        table(
            ["world", "best peer", "ours", "difference", "95%"],
            [
                [
                    world,
                    at["peer"],
                    f"{name}: {f['ours']}",
                    f"{f['difference']:+.1f}",
                    f"{f['low']:+.1f} .. {f['high']:+.1f}",
                ]
                for world, at in found["beside"].items()
                for name, f in at.items()
                if name != "peer"
            ],
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", help="a python that has the peers; without: ours alone")
    parser.add_argument("--work", type=Path, help="folder of the games; default: a fresh one")
    parser.add_argument("--tuning", type=int, default=2, help="seeds on which settings are chosen")
    parser.add_argument("--seeds", type=int, default=20, help="seeds that count")
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp(prefix="bandit-regret-"))
    print(f"games in {work}: a run that is cut off goes on with --work", flush=True)
    games = Table(work, given.peers, given.tuning, given.seeds)
    found = figures(games, *chosen(games))
    show(games, found)
    path = write("bandit-regret", found, given.out)
    plot(found, list(games.peers), path.with_suffix(".png"))
    print(path.name)


if __name__ == "__main__":
    main()
