"""A real pair of policies: Bernoulli-TS judged on the logs of uniform random: `python -m benchmarks.open_bandit`.

Open Bandit (Saito, Aihara, Matsutani & Narita 2021): 10,000 impressions of each of two policies in three campaigns, in
../shared/data. Bernoulli-TS has no stated distribution: its share of each item at each position stands for it, taken
from its own logs. What it earned there is the on-policy value, itself an estimate. The sample has no user ids:
impressions are the units, so intervals are too narrow by as much as users repeat.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bandits.ope.evaluate import evaluate
from bandits.ope.frame import Target
from bandits.ope.report import Report
from benchmarks.results import FOLDER, table, write

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CAMPAIGNS = ("all", "men", "women")


@dataclass(frozen=True)
class Judged:
    """One campaign: the evaluation from random logs, and what the target policy earned on its own."""

    report: Report
    on_policy: float
    on_policy_error: float  # binomial


def judge(folder: Path, campaign: str) -> Judged:
    """Evaluates Bernoulli-TS of one campaign on the random policy's logs."""
    rows = pl.read_parquet(folder / "open_bandit_small.parquet").filter(pl.col("campaign") == campaign)
    about = pl.read_parquet(folder / "open_bandit_items.parquet").filter(pl.col("campaign") == campaign)
    rows = rows.with_columns(slot_of=pl.col("position") - pl.col("position").min())
    random, other = (rows.filter(pl.col("policy") == name) for name in ("random", "bts"))
    items = int(rows["item_id"].max()) + 1  # type: ignore[arg-type]
    counts = np.zeros((3, items))
    np.add.at(counts, (other["slot_of"].to_numpy(), other["item_id"].to_numpy()), 1)
    share = counts / counts.sum(axis=1, keepdims=True)
    at, item = random["slot_of"].to_numpy(), random["item_id"].to_numpy()
    frame = pl.DataFrame(
        {
            "request_id": np.arange(len(random)),
            "listener": np.arange(len(random)),
            "item": item,
            "propensity": random["propensity_score"],
            "reward": random["click"],
            "eligible": np.tile(np.arange(items), (len(random), 1)),
            "logging": np.full((len(random), items), 1 / items),
        }
    )
    target = Target("Bernoulli-TS (by item shares)", share[at, item], pl.Series(share[at]))
    affinity = about.sort("item_id")["item_feature_0"].to_numpy()

    def features(chosen_rows: Any, chosen: Any) -> Any:
        return np.column_stack([affinity[chosen], np.eye(3)[at[chosen_rows]][:, 1:]])

    clicks = float(other["click"].mean())  # type: ignore[arg-type]
    report = evaluate(
        frame, target, ["ips", "snips", "dm", "dr", "switch_dr", "dr_shrunk"], features=features,
        bounds={"ips": (0.0, float(share.max() * items))},
    )  # fmt: skip
    return Judged(report, clicks, float(np.sqrt(clicks * (1 - clicks) / len(other))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    figures: dict[str, Any] = {}
    rows = []
    for campaign in CAMPAIGNS:
        found = judge(given.data, campaign)
        figures[campaign] = found.report.to_dict() | {
            "on_policy": found.on_policy, "on_policy_error": found.on_policy_error,
        }  # fmt: skip
        for e in found.report.estimates:
            assert e.overlap is not None
            low, high = e.intervals.get("bootstrap", (np.nan, np.nan))
            inside = "yes" if low <= found.on_policy <= high else "no"
            rows.append(
                [campaign, e.estimator, f"{e.value:.5f}", f"{low:.5f} .. {high:.5f}", f"{found.on_policy:.5f}", inside,
                 f"{e.overlap.effective:.0f}"]
            )  # fmt: skip
            for line in [e.refused] if e.refused else e.warnings:
                print(f"{campaign}, {e.estimator}: {line}")
    table(["campaign", "estimator", "value", "bootstrap 95%", "on-policy", "inside", "effective"], rows)
    print(write("open-bandit", figures, given.out))


if __name__ == "__main__":
    main()
