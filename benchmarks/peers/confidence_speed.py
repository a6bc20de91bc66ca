"""spotify-confidence over a folder of columns: `python confidence_speed.py FOLDER START`; prints seconds as JSON."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from spotify_confidence import StudentsTTest


def peak() -> float:
    """Peak resident memory in GB, of this program alone (getrusage would count the parent's before exec)."""
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM"))
    return int(line.split()[1]) / 1e6


def main() -> None:
    folder, start = Path(sys.argv[1]), int(sys.argv[2])
    data = pd.DataFrame({path.stem: np.load(path) for path in sorted(folder.glob("*.npy"))}, copy=False)
    metrics = [name for name in data.columns if name.startswith("m")]
    began = time.perf_counter()
    units = data[data["day"] >= start].groupby(["listener", "arm"], sort=False)[metrics].sum().astype(float)
    arms = units.groupby("arm")
    sums, squares, n = arms.sum(), (units**2).groupby("arm").sum(), arms.size()
    summed = time.perf_counter()
    for name in metrics:
        rows = pd.DataFrame({"arm": n.index, "sum": sums[name], "squares": squares[name], "n": n})
        test = StudentsTTest(
            rows.reset_index(drop=True), "sum", "squares", "n", categorical_group_columns="arm"
        )
        test.difference(0, 1)
    ended = time.perf_counter()
    out = {
        "sums by pandas (s)": summed - began,
        "tests (s)": ended - summed,
        "total, unadjusted (s)": ended - began,
        "peak memory with the frame (GB)": peak(),
    }
    print(json.dumps(out))


if __name__ == "__main__":
    main()
