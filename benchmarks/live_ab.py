"""A/B tests on live listeners: how often the report is right, beside what is true of the mixed world.

    python -m benchmarks.live_ab --work /tmp/live-ab            # about half an hour of one core; resumes

Listeners of one warm population are assigned by the product's own hashing, each arm is served by its policy in one
world, exposures and events become the log that the product's report reads, and the report's own rule stops each test:
group sequential, 14 days, looks after days 7, 10 and 14. Policies differ in the share of slots that show the chart's
track in place of a linear policy's; ten shares make ten effects. What is true is the estimand of the mixed world
(reward a listener-day since exposure, new less old) over replicates with other luck and other assignments; beside it
what all-on less all-off gives. Planned is the power that the product's planner promised from the weeks before.
Then the guardrail: tests whose new policy harms, read every day; and as many in which both arms are the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from scipy.stats import binom

from benchmarks.live_ab_plot import drawn
from benchmarks.live_ab_worlds import (
    DAYS,
    SHARE,
    Warm,
    all_off,
    config,
    course,
    experiment_of,
    guarded,
    look_days,
    planned,
    truth,
)
from benchmarks.results import exact_interval, write
from experiments.planning import Planned
from experiments.sequential.bounds import Design, bounds
from experiments.sequential.brownian import exits
from experiments.sequential.operating import drift_for
from experiments.sequential.spending import Spending
from recsys.evaluation.drawing import png
from serving.cli.common import progress_bar

SHARES = (0.64, 0.57, 0.5, 0.475, 0.455, 0.435, 0.41, 0.38, 0.35, 0.29)
"""Of the new policy's slots that show the chart; the control has .5. Chosen on luck that no test has."""
Item = tuple[str, Callable[[], dict[str, Any]]]


def items(warm: Warm, tests: int, seeds: int, guards: int, mde: float) -> Iterator[Item]:
    """Everything that is to be lived, by a name of its own; tests of all effects take turns."""
    for seed in range(seeds):
        yield f"off {seed}", partial(all_off, warm, seed)
        for share in SHARES:
            yield f"truth {share} {seed}", partial(truth, warm, share, seed)
    for n in range(max(tests, guards)):
        if n < guards:
            yield f"guard True {n}", partial(guarded, warm, True, n, mde)
        for i, share in enumerate(SHARES if n < tests else ()):
            number = n * len(SHARES) + i
            yield f"test {share} {n}", partial(course, warm, share, number, mde)
    for n in range(guards):
        yield f"guard False {n}", partial(guarded, warm, False, n, mde)


def lived(path: Path, todo: list[Item], more: bool) -> tuple[dict[str, dict[str, Any]], float]:
    """All items by name, those of an earlier run included (without `more` only those), and the CPU seconds that they
    took."""
    found: dict[str, dict[str, Any]] = {}
    if path.exists():
        rows = [orjson.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
        found = {row["name"]: row for row in rows}
    with progress_bar("worlds") as progress, path.open("ab") as out:
        for i, (name, make) in enumerate(todo):
            if more and name not in found:
                begin = time.process_time()
                found[name] = {**make(), "name": name, "cpu_s": time.process_time() - begin}
                out.write(orjson.dumps(found[name]) + b"\n")
                out.flush()
            progress(i + 1, len(todo))
    names = {name for name, _ in todo}
    kept = {name: row for name, row in found.items() if name in names}
    return kept, sum(row["cpu_s"] for row in kept.values())


def ship_chance(found: Planned, looks: list[int], effect: float, se: float | None = None) -> float:
    """The chance that the rule says "better", if the effect is constant: by the standard error that the planner
    expects at the end, or another."""
    design, shares = Design(Spending("obrien_fleming"), 0.05), [day / DAYS for day in looks]
    reach = drift_for(design, shares, found.needs[0].power)
    detectable = next(d.effect for d in found.detectable if d.days == DAYS)
    limits = bounds(design, shares)
    out = exits(limits.information, limits.lower, limits.upper, effect / (se or detectable / reach))
    return float(out.upper.sum())


def cell(share: float, rows: dict[str, dict[str, Any]], found: Planned, looks: list[int]) -> dict[str, Any]:
    """One effect size: the truth, what was planned, and what the tests said."""
    replicates = [row for name, row in rows.items() if name.startswith(f"truth {share} ")]
    tests = [row for name, row in rows.items() if name.startswith(f"test {share} ")]
    off = {row["seed"]: np.array(row["off"]) for name, row in rows.items() if name.startswith("off ")}
    mixed = np.array([np.array(r["new"]) - r["old"] for r in replicates])
    whole = np.array([np.array(r["on"]) - off[r["seed"]] for r in replicates])
    level = float(np.mean([r["old"][-1] for r in replicates]))
    effect, shipped = float(mixed[:, -1].mean()), sum(t["decision"] == "ship" for t in tests)
    se = float(np.median([t["se"] for t in tests if t["days"] == DAYS] or [np.nan]))
    right = shipped if share < SHARE else len(tests) - shipped
    chance = ship_chance(found, looks, effect)
    now = chance if share < SHARE else 1 - chance
    inside = [t["low"] <= mixed[:, looks.index(t["days"])].mean() <= t["high"] for t in tests]
    return {
        "share": share,
        "truth": effect,
        "truth_se": _se(mixed[:, -1]),
        "truth_relative": effect / level,
        "truth_by_look": mixed.mean(axis=0).tolist(),
        "level_by_look": np.mean([r["old"] for r in replicates], axis=0).tolist(),
        "all_on_off": float(whole[:, -1].mean()),
        "all_on_off_se": _se(whole[:, -1]),
        "interference": float((mixed - whole)[:, -1].mean()),
        "interference_se": _se((mixed - whole)[:, -1]),
        "tests": len(tests),
        "shipped": shipped,
        "ship_interval": exact_interval(shipped, len(tests)),
        "planned_ship": chance,
        "planned_ship_measured_error": ship_chance(found, looks, effect, se) if se > 0 else None,
        "median_se_at_end": se,
        "right": right,
        "planned_right": now,
        "right_expected_between": [int(x) for x in binom.interval(0.95, len(tests), now)],
        "covered": int(np.sum(inside)),
        "days": float(np.mean([t["days"] for t in tests])),
        "refused_as_worse": sum("shown to be worse" in t["sentence"] for t in tests),
        "other": sum(t["decision"] not in ("ship", "do_not_ship") for t in tests),
    }


def _se(values: np.ndarray) -> float:
    return float(np.std(values, ddof=1) / len(values) ** 0.5)


def pooled(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """All tests together: right verdicts beside what was planned, whose number is Poisson-binomial."""
    p = np.array([c["planned_right"] for c in cells])
    n = np.array([c["tests"] for c in cells])
    total, sd = float(p @ n), float(np.sqrt((p * (1 - p)) @ n))
    right, covered = sum(c["right"] for c in cells), sum(c["covered"] for c in cells)
    return {
        "tests": int(n.sum()),
        "right": right,
        "right_interval": exact_interval(right, int(n.sum())),
        "planned": total / float(n.sum()),
        "expected_between": [total - 1.96 * sd, total + 1.96 * sd],
        "cells_inside": sum(
            c["right_expected_between"][0] <= c["right"] <= c["right_expected_between"][1] for c in cells
        ),
        "covered": covered,
        "coverage_interval": exact_interval(covered, int(n.sum())),
    }


def guardrails(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Tests with a guardrail that were ended by it: with harm, and without."""
    out = {}
    for harm in (True, False):
        some = [row for name, row in rows.items() if name.startswith(f"guard {harm} ")]
        ended = [row for row in some if row["breached"]]
        out["harm" if harm else "none"] = {
            "tests": len(some),
            "breached": len(ended),
            "interval": exact_interval(len(ended), len(some)) if some else None,
            "days": sorted(row["days"] for row in ended),
            "sentence": ended[0]["sentence"] if ended else None,
        }
    return out


def figures(warm: Warm, rows: dict[str, dict[str, Any]], cpu: float) -> dict[str, Any]:
    past, found = planned(warm)
    looks = look_days(warm)
    cells = [cell(share, rows, found, looks) for share in SHARES]
    grid = np.linspace(min(c["truth"] for c in cells) * 1.1, max(c["truth"] for c in cells) * 1.1, 121)
    return {
        "listeners": len(warm.world.listeners),
        "rule": experiment_of(config(warm.start, "rule")).question.rule_words,  # type: ignore[union-attr]
        "looks_after_days": looks,
        "baseline": {k: v.model_dump() for k, v in past.baselines.items()},
        "detectable": next(vars(d) for d in found.detectable if d.days == DAYS),
        "cells": cells,
        "all": pooled(cells),
        "guardrail": guardrails(rows),
        "curve": [[float(x), ship_chance(found, looks, float(x))] for x in grid],
        "cpu_s": cpu,
    }


def markdown(cells: list[dict[str, Any]]) -> list[str]:
    """The table of the docs."""
    head = (
        "| chart slots | true effect (lift) | all on − all off | bias | planned to ship | shipped (95%) "
        "| right, expected | truth inside | days |"
    )
    rows = [head, "|---" * 9 + "|"]
    for c in cells:
        low, high = c["ship_interval"]
        least, most = c["right_expected_between"]
        parts = (
            f"{c['share']:g}",
            f"{c['truth']:+.4f} ± {c['truth_se']:.4f} ({c['truth_relative']:+.0%})",
            f"{c['all_on_off']:+.4f} ± {c['all_on_off_se']:.4f}",
            f"{c['interference']:+.4f} ± {c['interference_se']:.4f}",
            f"{c['planned_ship']:.0%}",
            f"{c['shipped']}/{c['tests']} ({low:.0%} to {high:.0%})",
            f"{c['right']}, {least} to {most}",
            f"{c['covered']}/{c['tests']}",
            f"{c['days']:.1f}",
        )
        rows.append("| " + " | ".join(parts) + " |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of what was lived; resumes there")
    parser.add_argument("--listeners", type=int, default=2000)
    parser.add_argument("--tests", type=int, default=24, help="of each effect")
    parser.add_argument("--seeds", type=int, default=5, help="replicates for the truth")
    parser.add_argument("--guards", type=int, default=20, help="tests with a guardrail, of each kind")
    parser.add_argument("--so-far", action="store_true", help="live nothing more: figures of what there is")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    begin = time.process_time()
    warm = Warm.made(given.listeners)
    mde = next(d.relative for d in planned(warm)[1].detectable if d.days == DAYS)
    assert mde is not None
    todo = list(items(warm, given.tests, given.seeds, given.guards, round(mde, 3)))
    warmed = time.process_time() - begin
    rows, cpu = lived(given.work / f"worlds-{given.listeners}.jsonl", todo, not given.so_far)
    found = figures(warm, rows, cpu + warmed)
    print("\n".join(markdown(found["cells"])))
    print(found["all"], found["guardrail"], sep="\n")
    path = write("live-ab", found)
    path.with_suffix(".png").write_bytes(png(drawn(found)))
    print(path)


if __name__ == "__main__":
    main()
