"""RecTools and RePlay on MovieLens-1M: each trains in its own environment, on the split that this side writes.

    make peers-models
    python -m benchmarks.peer_models --work var/peers [--only "RePlay SasRec, cross-entropy"] [--seed 0]
    python -m benchmarks.peer_models --work var/peers --keep      # only takes over what the runs have written so far

One after the other, one thread each. A run keeps its state after every epoch and goes on where it was stopped; it ends
at NDCG@10 .17 on the test item or after 7,200 CPU seconds of training (evaluation not counted). Its points become a
row of `benchmarks.models ml1m`, with the lists of its last epoch.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks import ml1m
from benchmarks.model_rows import FOLDER, Hits, Point, Run, save, single

ROOT = Path(__file__).parents[1]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")


@dataclass(frozen=True)
class Peer:
    """One way of training another library's model."""

    library: str  # its environment is .peers-LIBRARY
    options: tuple[str, ...] = ()


PEERS = {
    "RecTools SASRec, softmax": Peer("rectools"),
    "RecTools eSASRec, 256 sampled": Peer("rectools", ("--layers", "ligr", "--loss", "sampled_softmax")),
    "RePlay SasRec, cross-entropy": Peer("replay"),
}


def write_split(data: Path, path: Path) -> None:
    """The split as peers.meter.Split reads it: training without the last two items, what is known at test, targets."""
    split = ml1m.load(data)
    parts = {"train": split.histories(valid=True), "seen": split.histories()}
    arrays: dict[str, Any] = {f"{name}_offsets": part.offsets for name, part in parts.items()}
    arrays |= {f"{name}_items": part.tracks for name, part in parts.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, target=split.test, **arrays)


def run(name: str, seed: int, work: Path, python: Path) -> int:
    """Trains one peer until it is done; its exit status."""
    peer = PEERS[name]
    script = ROOT / "benchmarks" / "peers" / f"{peer.library}_ml1m.py"
    words = [str(python), str(script), "--split", str(work / "split.npz"), "--seed", str(seed)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | ONE_THREAD
    return subprocess.run(
        [*words, "--out", str(folder_of(name, seed, work)), *peer.options], env=environment, check=False
    ).returncode


def folder_of(name: str, seed: int, work: Path) -> Path:
    return work / f"{name.lower().replace(',', '').replace(' ', '-')}-seed-{seed}"


def keep(name: str, seed: int, work: Path, data: Path, rows: Path = FOLDER) -> Run | None:
    """Takes a run's points over as a row of the table; None where there are none yet."""
    folder = folder_of(name, seed, work)
    if not (folder / "points.json").exists():
        return None
    found = orjson.loads((folder / "points.json").read_bytes())
    points, last = found["points"], found["points"][-1]
    with np.load(folder / f"lists-{last['epoch']}.npz") as file:
        hits = Hits.of(file["top"].astype(np.int32), single(ml1m.load(data).test))
    curve = [Point(p["epoch"], p["cpu_s"], {m: v for m, v in p.items() if "@" in m}) for p in points]
    out = Run("ml1m", name, "peer", seed, found["settings"], last["cpu_s"], last["peak_mb"], curve=curve)
    save(out, hits, folder=rows)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work", type=Path, default=Path("var/peers"), help="where the runs keep their state"
    )
    parser.add_argument("--data", type=Path, default=ml1m.DATA)
    parser.add_argument(
        "--environments", type=Path, default=ROOT, help="folder of .peers-rectools and .peers-replay"
    )
    parser.add_argument("--only", choices=sorted(PEERS), help="one of them: " + "; ".join(PEERS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=Path, default=FOLDER)
    parser.add_argument("--keep", action="store_true", help="train nothing")
    given = parser.parse_args()
    if not (given.work / "split.npz").exists():
        write_split(given.data, given.work / "split.npz")
    failed = []
    for name in [given.only] if given.only else list(PEERS):
        python = given.environments / f".peers-{PEERS[name].library}" / "bin" / "python"
        if not given.keep and not python.exists():
            sys.exit(f"peer_models: {python} is not there: run `make peers-models` first")
        if not given.keep and run(name, given.seed, given.work, python):
            failed.append(name)
        kept = keep(name, given.seed, given.work, given.data, given.rows)
        print(name, "-" if kept is None else f"{kept.cpu_s:.0f} CPU s, {kept.curve[-1].metrics}", flush=True)
    if failed:
        sys.exit(f"peer_models: {', '.join(failed)} did not finish; the same command goes on")


if __name__ == "__main__":
    main()
