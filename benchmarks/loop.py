"""Policies in the closed loop over several seeds: what the last days are worth, and what divides the policies.

    python -m benchmarks.loop --home var --days 14 --seeds 5 --policy frozen --policy popularity --policy greedy

Every seed is another luck of the same listeners; within a seed all policies share it. A run that was cut off goes on:
the folder `loops/NAME` of the home keeps every finished day. Differences in true value and in the other figures of the
last three days are paired by seed; their intervals are Student's over seeds.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.results import FOLDER, table, write
from recsys.home import Home
from recsys.simulation.live import LiveSettings, Values
from serving.cli.common import progress_bar
from serving.loop.compare import LAST_DAYS, PANELS, last, picture
from serving.loop.run import LoopSettings, run


def measure(home: Home, policies: list[str], seeds: int, settings: LoopSettings, name: str) -> dict[str, Any]:
    """All runs; by policy, a list of its days by seed."""
    days: dict[str, list[list[dict[str, Any]]]] = {policy: [] for policy in policies}
    finals: dict[str, list[dict[str, float | None]]] = {policy: [] for policy in policies}
    for seed in range(seeds):
        for policy in policies:
            folder = home.root / "loops" / name / f"{policy.replace(':', '_')}-{seed}"
            with progress_bar(f"{policy}, seed {seed}") as update:
                body = run(home, policy, settings.model_copy(update={"seed": seed}), folder, update)
            days[policy].append(body["days"])
            finals[policy].append(last(body["days"]) | {"true_value": final_value(folder)})
    return {"days": days, "last": finals, "differences": differences(finals)}


def final_value(folder: Path) -> float | None:
    """True value over all measured pages of the last days, a ratio of means."""
    values = pl.read_parquet(folder / "values.parquet")
    final = values.filter(pl.col("day") > pl.col("day").max() - LAST_DAYS)
    if final.is_empty():
        return None
    return Values(**{f.name: final[f.name].to_numpy() for f in fields(Values)}).true_value


def differences(finals: dict[str, list[dict[str, float | None]]]) -> list[dict[str, Any]]:
    """Each figure of the first policy less that of every other, by seed; mean and 95% interval over seeds."""
    first, *others = finals
    rows = []
    for other in others:
        for figure, _ in PANELS:
            pairs = [(a[figure], b[figure]) for a, b in zip(finals[first], finals[other], strict=True)]
            gaps = np.array([a - b for a, b in pairs if a is not None and b is not None])
            if len(gaps):
                rows.append({"figure": figure, "policy": first, "over": other, **interval(gaps)})
    return rows


def interval(gaps: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float | int | None]:
    """Mean and Student's 95% interval; none from a single seed."""
    from scipy.stats import t

    mean, n = float(gaps.mean()), len(gaps)
    if n < 2:
        return {"value": mean, "low": None, "high": None, "seeds": n}
    half = float(t.ppf(0.975, n - 1) * gaps.std(ddof=1) / np.sqrt(n))
    return {"value": mean, "low": mean - half, "high": mean + half, "seeds": n}


def averaged(days: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Mean of each figure over seeds, day by day, for the picture."""
    out = []
    for same in zip(*days, strict=True):
        row: dict[str, Any] = {}
        for figure, _ in PANELS:
            values = [day[figure] for day in same if day[figure] is not None]
            row[figure] = float(np.mean(values)) if values else None
        out.append(row)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path("var"), help="simulated, with a promoted release")
    parser.add_argument("--policy", action="append", help="the first is compared with each other")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--listeners", type=int, default=None, help="absent: all of the home")
    parser.add_argument("--measured", type=int, default=150)
    parser.add_argument("--retrain-every", type=int, default=1)
    parser.add_argument("--profile", default="demo", help="settings of what is retrained")
    parser.add_argument("--name", default="bench")
    given = parser.parse_args()
    settings = LoopSettings(
        days=given.days,
        listeners=given.listeners,
        retrain_every=given.retrain_every,
        profile=given.profile,
        live=LiveSettings(measured=given.measured),
    )
    policies = given.policy or ["frozen", "greedy", "popularity", "random"]
    figures = measure(Home.of(given.home), policies, given.seeds, settings, given.name)
    rows = [
        [label, *(np.mean([f for f in (s[key] for s in figures["last"][p]) if f is not None] or [np.nan])
                  for p in policies)]
        for key, label in PANELS
    ]  # fmt: skip
    table([f"mean of the last {LAST_DAYS} days, {given.seeds} seeds", *policies], rows)
    for row in figures["differences"]:
        if row["figure"] == "true_value":
            print(f"true value, {row['policy']} over {row['over']}: {row['value']:+.3f} "
                  f"[{row['low']}, {row['high']}]")  # fmt: skip
    path = write("loop", figures)
    FOLDER.joinpath(path.stem + ".png").write_bytes(
        picture({policy: averaged(days) for policy, days in figures["days"].items()})
    )
    print(path)


if __name__ == "__main__":
    main()
