"""The same data through other libraries: GrowthBook's engine, spotify-confidence, statsmodels.

    python3.11 -m venv .gbstats && .gbstats/bin/pip install gbstats==0.8.0
    python3.11 -m venv .confidence && .confidence/bin/pip install spotify-confidence==4.1.0 statsmodels==0.15.0
    python -m benchmarks.agreement --gbstats .gbstats/bin/python --confidence .confidence/bin/python

Prints the greatest relative difference per library and writes data, versions and their figures to
tests/experiments/peers.json, which tests compare with ours. What they do otherwise ("oddities") is recorded too.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.agreement_ours import ours
from benchmarks.results import table

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "tests" / "experiments" / "peers.json"
PEERS = {"gbstats": "gbstats", "spotify-confidence": "confidence", "statsmodels": "statsmodels"}


def data(seed: int = 4) -> dict[str, Any]:
    """Two arms of listeners and one series of periods, rounded so that a file holds exactly what was analysed.

    y outcome, s skips, d plays, b whether saved, x1 and x2 covariates, k group of rows.
    """
    rng = np.random.default_rng(seed)
    arms = []
    for treated, n in ((0, 160), (1, 150)):
        x1, x2 = rng.normal(5, 2, n), rng.gamma(2, 1, n)
        d = 1 + rng.poisson(4 + np.abs(x1))
        arm = {
            "y": np.round(4 + x1 + 0.5 * x2 + rng.gamma(2, 1, n) + 0.6 * treated, 3),
            "s": rng.binomial(d, 0.3 - 0.03 * treated),
            "d": d,
            "b": rng.binomial(1, 0.08 + 0.05 * treated, n),
            "x1": np.round(x1, 3),
            "x2": np.round(x2, 3),
            "k": np.arange(n) // 5 + 100 * treated,
        }
        arms.append({name: values.tolist() for name, values in arm.items()})
    on = np.repeat(rng.integers(0, 2, 40), 2)
    error = np.convolve(rng.normal(size=82), [0.3, 0.5, 1.0], "valid")
    return {"arms": arms, "series": {"value": np.round(3 + on + error, 3).tolist(), "treated": on.tolist()}}


def run_peer(python: str, script: str, body: bytes) -> dict[str, Any]:
    """A peer's figures, from its own interpreter."""
    path = ROOT / "benchmarks" / "peers" / f"{script}_figures.py"
    done = subprocess.run([python, "-W", "ignore", str(path)], input=body, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"agreement: {path.name} failed: {done.stderr.decode().strip().splitlines()[-1]}")
    found: dict[str, Any] = orjson.loads(done.stdout)
    return found


def difference(name: str, theirs: float, figures: dict[str, float]) -> float:
    """Of one figure, relative to its size."""
    return abs(figures[name] - theirs) / max(abs(theirs), 1e-9)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gbstats", required=True, help="a python that has gbstats")
    parser.add_argument(
        "--confidence", required=True, help="a python that has spotify-confidence and statsmodels"
    )
    parser.add_argument("--out", type=Path, default=REFERENCE)
    given = parser.parse_args()
    sample = data()
    figures = ours(sample)
    peers = {
        name: run_peer(given.gbstats if name == "gbstats" else given.confidence, script, orjson.dumps(sample))
        for name, script in PEERS.items()
    }
    rows = []
    for name, found in peers.items():
        gaps = {k: difference(k, v, figures) for k, v in found["figures"].items()}
        worst = max(gaps, key=lambda k: gaps[k])
        rows.append([name, found["versions"][name], len(gaps), f"{gaps[worst]:.1e}", worst])
    table(["library", "version", "figures", "greatest relative difference", "in"], rows)
    for name, found in peers.items():
        for what, value in found["oddities"].items():
            print(f"{name}: {what}: {value:.4g}")
    given.out.write_bytes(orjson.dumps({"data": sample, "peers": peers}) + b"\n")
    print(given.out)


if __name__ == "__main__":
    main()
