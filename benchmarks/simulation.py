"""Speed and memory of the simulator.

python -m benchmarks.simulation --profile demo --workers 2
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from dataclasses import asdict
from typing import Any

from benchmarks.results import table, write
from recsys.home import Home
from recsys.simulation import PROFILES, simulate


def measure(profile: str, workers: int, seed: int) -> dict[str, Any]:
    """One whole simulation into a temporary home; peak memory of this process and of its largest worker."""
    with tempfile.TemporaryDirectory() as folder:
        summary = simulate(
            PROFILES[profile].model_copy(update={"seed": seed}), Home.of(folder).make(), workers
        )
    mine = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {**asdict(summary), "workers": workers, "peak_mb": mine, "peak_worker_mb": worker}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", default="demo", choices=list(PROFILES))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    figures = measure(given.profile, given.workers, given.seed)
    names = ("plays", "seconds", "plays_per_second", "peak_mb", "peak_worker_mb", "digest")
    table(["", given.profile], [[name, figures[name]] for name in names])
    print(write(f"simulation-{given.profile}", figures))


if __name__ == "__main__":
    main()
