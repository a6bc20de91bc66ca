"""Tunes the factor baselines (ALS, and BPR with --model bpr) on a home's validation window; every point
goes to JSON.

python -m benchmarks.tune_als --home var [--model als] [--cap 2000] [--out benchmarks/results/tune_als.json]

The result is pinned in recsys/evaluation/pinned.py, which the demo reads.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main() -> None:
    from recsys.dataset import load
    from recsys.evaluation.tune import tune_als, tune_bpr
    from recsys.home import Home
    from recsys.lake import Lake

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", required=True)
    parser.add_argument("--model", choices=("als", "bpr"), default="als")
    parser.add_argument("--cap", type=int, default=2000, help="validation queries")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()

    dataset = load(Lake(Home.of(given.home).lake))
    tune = tune_als if given.model == "als" else tune_bpr
    found = tune(dataset, cap=given.cap, progress=print)
    out = given.out or Path(__file__).parent / "results" / f"tune_{given.model}.json"
    facts = {
        "model": given.model,
        "task": "home",
        "metric": "recall@100",
        "window": "validation",
        "listeners": len(dataset.plays),
        "tracks": len(dataset.items),
        "plays": dataset.plays.rows,
        "queries": given.cap,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(facts | found.to_dict(), indent=1) + "\n")
    edge = ", ".join(found.on_edge) or "none"
    print(f"best of {len(found.points)} points: {found.best.model_dump()}; on the edge: {edge}")
    print(out)


if __name__ == "__main__":
    main()
