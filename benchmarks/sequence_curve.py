"""Quality of the sequence model against CPU seconds of training, beside sequential rules, on one home.

python -m benchmarks.sequence_curve --home var --budgets 60,150,600,3600 [--window valid] [--out FILE.json]

NDCG@10 on `next_track`. Training sees plays before the validation window, whichever window is measured; rules
are fitted on the same plays. Each budget is a run of its own.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from time import process_time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def ndcg(model: Any, tasks: Any) -> dict[str, float]:
    """Value and 95% bounds of NDCG@10."""
    from recsys.evaluation.evaluate import evaluate

    rows = evaluate({model.name: model}, tasks, ks=(10,))
    (row,) = [r for r in rows if r.metric == "ndcg" and r.cohort == "all"]
    return {"ndcg": row.value, "low": row.low, "high": row.high}


def main() -> None:
    from models.sequence.config import SequenceConfig
    from models.sequence.train import train
    from recsys.dataset import load
    from recsys.evaluation.baselines import BASELINES
    from recsys.evaluation.tasks import build_tasks
    from recsys.home import Home
    from recsys.lake import Lake

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", required=True)
    parser.add_argument("--budgets", default="60,150,600", help="seconds, separated by commas")
    parser.add_argument("--window", choices=("valid", "test"), default="valid")
    parser.add_argument("--cap", type=int, default=2000, help="queries")
    parser.add_argument("--settings", default="{}", help="SequenceConfig fields as JSON")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()

    data = load(Lake(Home.of(given.home).lake))
    split = data.split
    start, end = (split.valid, split.test) if given.window == "valid" else (split.test, split.end)
    tasks = build_tasks(data, start, end, names=("next_track",), cap=given.cap)
    rules = ndcg(BASELINES["rules"](data, split.valid), tasks)
    points = []
    for budget in map(float, given.budgets.split(",")):
        config = SequenceConfig(**{**json.loads(given.settings), "budget_s": budget})
        began = process_time()
        model = train(data, split.valid, config)
        spent = process_time() - began
        found = ndcg(model, tasks)
        points.append({"budget_s": budget, "cpu_s": round(spent, 1), **found})
        print(
            f"{budget:.0f} s, {spent:.0f} CPU s: {found['ndcg']:.4f}, {found['ndcg'] / rules['ndcg']:.2f} x rules"
        )
    out = given.out or Path(__file__).parent / "results" / "sequence_curve.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    curve: dict[str, Any] = {
        "task": "next_track",
        "metric": "ndcg@10",
        "window": given.window,
        "queries": len(tasks[0]),
        "rules": rules,
        "points": sorted(points, key=lambda point: point["cpu_s"]),
    }
    out.write_text(json.dumps(curve, indent=1) + "\n")
    plot(curve, out.with_suffix(".png"))
    print(out)


def plot(found: dict[str, Any], path: Path) -> None:
    """Quality with its interval against CPU seconds, sequential rules as a band."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained", facecolor="white")
    axes = figure.subplots()
    points, rules = found["points"], found["rules"]
    cpu, value = [p["cpu_s"] for p in points], [p["ndcg"] for p in points]
    spread = [[p["ndcg"] - p["low"] for p in points], [p["high"] - p["ndcg"] for p in points]]
    axes.errorbar(cpu, value, spread, fmt="o-", ms=5, color="#4338ca", label="sequence model, 95%")
    axes.axhline(rules["ndcg"], color="#db2777", lw=1.3, label="sequential rules")
    axes.axhspan(rules["low"], rules["high"], color="#db2777", alpha=0.12, lw=0)
    axes.set(xscale="log", xlabel="CPU seconds of training", ylabel=f"{found['task']}, NDCG@10")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e7ec")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    figure.savefig(path, dpi=140, metadata={"Software": None})


if __name__ == "__main__":
    main()
