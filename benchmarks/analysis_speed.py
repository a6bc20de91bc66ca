"""How long an analysis takes: `python -m benchmarks.analysis_speed [--rows 10000000] [--confidence PYTHON]`.

One frame of listener-days with 20 metric columns (float32), 20 days of each listener, half of them before the start.
Ours: every metric adjusted for its own earlier values (14 means, 5 ratios, 1 proportion); and the same unadjusted. With
--confidence (a python that has spotify-confidence), that library on the same frame: pandas sums per listener and arm,
which it wants as input, then one t-test a metric; it adjusts for nothing and has no ratio metrics. About 4 GB.
"""

from __future__ import annotations

import os

os.environ.setdefault("POLARS_MAX_THREADS", "2")

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import orjson
import polars as pl

from benchmarks.results import FOLDER, table, write
from experiments.analysis.analyse import analyse
from experiments.analysis.design import Design, Metric
from recsys.ids import public_id

DAYS, COLUMNS = 20, 20
FIRST = date(2026, 5, 1)
START = date(2026, 5, 11)


def arrays(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Listener number, arm, day number and metric columns m0..m19; column 19 is 0 or 1, all are alike in a listener."""
    rng = np.random.default_rng(seed)
    listeners = rows // DAYS
    out: dict[str, np.ndarray] = {
        "listener": np.repeat(np.arange(listeners, dtype=np.int32), DAYS),
        "arm": np.repeat(rng.integers(0, 2, listeners, dtype=np.int8), DAYS),
        "day": np.tile(np.arange(DAYS, dtype=np.int32), listeners),
    }
    taste = np.repeat(rng.gamma(2, 1, listeners).astype(np.float32), DAYS)
    for i in range(COLUMNS - 1):
        out[f"m{i}"] = taste * rng.standard_exponential(len(taste), np.float32)
    out[f"m{COLUMNS - 1}"] = (rng.random(len(taste), np.float32) < 0.03 * taste).astype(np.float32)
    return out


def frame(columns: dict[str, np.ndarray], strings: bool) -> pl.DataFrame:
    """The same as polars has it; listener ids as numbers, or as the 22 characters of a public id."""
    out = pl.DataFrame(columns).with_columns(
        (pl.lit(FIRST) + pl.duration(days=pl.col("day"))).cast(pl.Date).alias("day"),
        pl.col("arm").replace_strict(
            {0: "control", 1: "treatment"}, return_dtype=pl.Enum(["control", "treatment"])
        ),
    )
    if strings:
        ids = pl.Series([public_id("bench", str(i)) for i in range(out.height // DAYS)])
        out = out.with_columns(ids.gather(out["listener"]).alias("listener"))
    return out


def design(adjusted: bool) -> Design:
    means = [Metric(name=f"m{i}") for i in range(14)]
    ratios = [
        Metric(name=f"m{i} per m{i - 5}", kind="ratio", numerator=f"m{i}", denominator=f"m{i - 5}")
        for i in range(14, 19)
    ]
    share = Metric(name="m19", kind="proportion")
    return Design(
        metrics=(*means, *ratios, share),
        control="control",
        treatments=("treatment",),
        unit="listener",
        start=START,
        adjustment="interacted" if adjusted else "none",
    )


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peer(python: str, columns: dict[str, np.ndarray]) -> dict[str, float]:
    """spotify-confidence's times, from its own interpreter on the same numbers."""
    with tempfile.TemporaryDirectory() as folder:
        for name, values in columns.items():
            np.save(Path(folder) / f"{name}.npy", values)
        script = Path(__file__).parent / "peers" / "confidence_speed.py"
        done = subprocess.run(
            [python, "-W", "ignore", str(script), folder, str((START - FIRST).days)],
            capture_output=True,
            check=False,
        )
    if done.returncode:
        sys.exit(f"analysis_speed: {done.stderr.decode().strip().splitlines()[-1]}")
    found: dict[str, float] = orjson.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--confidence", help="a python that has spotify-confidence")
    parser.add_argument("--strings", action="store_true", help="measure string ids too")
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    columns = arrays(given.rows)
    figures: dict[str, float] = {"rows": given.rows, "metrics": COLUMNS, "threads": pl.thread_pool_size()}
    for strings in (False, True)[: 2 if given.strings else 1]:
        data, ids = frame(columns, strings), "string ids" if strings else "integer ids"
        figures[f"ours, adjusted, {ids} (s)"] = seconds(lambda data=data: analyse(data, design(True)))  # type: ignore[misc]
        figures[f"ours, unadjusted, {ids} (s)"] = seconds(lambda data=data: analyse(data, design(False)))  # type: ignore[misc]
    figures["ours, peak memory with the frame (GB)"] = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    )
    del data
    if given.confidence:
        figures |= {f"spotify-confidence, {k}": v for k, v in peer(given.confidence, columns).items()}
    table(["", "value"], [[name, value] for name, value in figures.items()])
    print(write("analysis-speed", figures, given.out))


if __name__ == "__main__":
    main()
