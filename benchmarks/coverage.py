"""How often 95% intervals hold the truth: `python -m benchmarks.coverage [--runs 10000]`, a minute or two.

Every world of benchmarks.coverage_worlds is drawn `runs` times (1,000 units per arm). `error / spread` is the mean
stated standard error over the standard deviation of the estimates: 1 where errors are right. Rows marked * show what
goes wrong without the method of the row above.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.coverage_worlds import RHO, WORLDS
from benchmarks.results import FOLDER, table, write

COUNTER_EXAMPLES = {
    "lift on a baseline near 0, delta",
    "ratio, rows taken as independent",
    "the same, clusters ignored",
    "capped mean, caps per arm",
}


def measure(world: str, runs: int, seed: int = 0) -> dict[str, dict[str, float]]:
    """Per interval of a world: share covered with its Monte Carlo error, stated against actual error."""
    rng = np.random.default_rng([seed, sorted(WORLDS).index(world)])
    drawn = [WORLDS[world](rng) for _ in range(runs)]
    out = {}
    for name in drawn[0]:
        covered = float(np.mean([row[name].covered for row in drawn]))
        effects, errors = (np.array([getattr(row[name], part) for row in drawn]) for part in ("effect", "se"))
        out[name] = {
            "coverage": covered,
            "monte_carlo_error": float(np.sqrt(covered * (1 - covered) / runs)),
            "error_over_spread": float(np.mean(errors) / np.std(effects)),
            "spread": float(np.std(effects)),
        }
    return out


def gain(figures: dict[str, dict[str, float]]) -> dict[str, float]:
    """What one covariate of correlation RHO took off the variance of the estimates, against RHO squared."""
    plain = figures["mean, same draws unadjusted"]["spread"]
    adjusted = figures["mean, CUPED (slope per arm)"]["spread"]
    return {"variance_cut": 1 - (adjusted / plain) ** 2, "rho_squared": RHO**2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    for world in WORLDS:
        figures |= measure(world, given.runs, given.seed)
        print(f"{world} done", flush=True)
    table(
        ["interval", "covers", "± (1 sd)", "error / spread"],
        [
            [
                name + (" *" if name in COUNTER_EXAMPLES else ""),
                f"{row['coverage']:.4f}",
                f"{row['monte_carlo_error']:.4f}",
                row["error_over_spread"],
            ]
            for name, row in figures.items()
        ],
    )
    cut = gain(figures)
    print(f"CUPED cut the variance by {cut['variance_cut']:.3f}; rho squared is {cut['rho_squared']:.3f}")
    print(
        write(
            "coverage",
            {"runs": given.runs, "seed": given.seed, "intervals": figures, "cuped": cut},
            given.out,
        )
    )


if __name__ == "__main__":
    main()
