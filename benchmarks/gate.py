"""The release gate's operating characteristic: how often challengers of known true value are promoted.

    python -m benchmarks.gate fast --work /tmp/gate            # goes on where it was cut off; one JSON line a run
    python -m benchmarks.gate releases --work /tmp/gate --home var    # gross faults through real releases
    python -m benchmarks.gate report --work /tmp/gate          # table, JSON and picture into benchmarks/results

Challengers are heads over linear features (gate_policies.py) with so much noise that their true value is -15%, -5%,
0 and +5% of the champion's; the noise is found on some lucks of the listeners, the value printed is measured on
others, paired by page, with its error. The 0% challenger has as much noise as the champion, of another seed: the two
are worth the same by construction, and show different pages. `A/A` is the champion against itself: one life of the
listeners, split anew each time.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from benchmarks.gate_fast import NOISE, Setting, Week, one, resplit, setting, values
from benchmarks.gate_policies import Head
from recsys.evaluation.bootstrap import Resampler
from serving.cli.common import progress_bar
from serving.gating.settings import GateSettings

TARGETS = {"+5%": 0.05, "0%": 0.0, "-5%": -0.05, "-15%": -0.15}
LEVELS = (0.0, 0.75, 1.5, 2.25, 3.0, 4.0)
SEARCHED, MEASURED = range(101, 103), range(201, 207)
"""Lucks on which noise is found, and on which the value is measured."""
SETTINGS = GateSettings.model_validate({"canary": {"most_days": 10}})
EQUAL_RUNS, RUNS, SPLITS = 60, 20, 300


def heads(given: Setting, work: Path) -> tuple[dict[str, Head], dict[str, Any]]:
    """Challengers by name, and what each is truly worth; kept in `truth.json`."""
    path = work / "truth.json"
    if path.exists():
        body = orjson.loads(path.read_bytes())
        return _heads(given, body["noise"]), body["truth"]
    curve = []
    with progress_bar("true value by noise") as update:
        for i, level in enumerate(LEVELS):
            curve.append(_worth(values(given, Head("", given.champion.weights, level, 7), SEARCHED)))
            update(i + 1, len(LEVELS))
    base = float(np.interp(NOISE, LEVELS, curve))
    wanted = {name: base * (1 + gain) for name, gain in TARGETS.items()}
    noise = {name: float(np.interp(-value, [-v for v in curve], LEVELS)) for name, value in wanted.items()}
    noise["0%"] = NOISE
    made, truth = _heads(given, noise), {}
    champion = values(given, given.champion, MEASURED)
    with progress_bar("true value of the challengers") as update:
        for i, (name, head) in enumerate(made.items()):
            truth[name] = _relative(values(given, head, MEASURED), champion)
            update(i + 1, len(made))
    body = {
        "noise": noise,
        "truth": truth,
        "curve": dict(zip(map(str, LEVELS), curve, strict=True)),
        "champion": _worth(champion),
        "pages": len(champion),
    }
    path.write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2))
    return made, truth


def _heads(given: Setting, noise: dict[str, float]) -> dict[str, Head]:
    weights = given.champion.weights
    made = {name: Head(name, weights, level, 20 + i) for i, (name, level) in enumerate(noise.items())}
    return made | {fault.name: fault for fault in given.faults}


def _worth(pages: pl.DataFrame) -> float:
    return float(pages["gain"].to_numpy().sum() / pages["room"].to_numpy().sum())


def _relative(pages: pl.DataFrame, champion: pl.DataFrame) -> dict[str, float]:
    """Of the challenger's true value to the champion's, less 1; the interval resamples listeners, pages are paired."""
    both = pages.join(champion, on=["luck", "key"], suffix="_champion")
    draw = Resampler.of(both["listener"].to_numpy())
    gap = (both["gain"] - both["gain_champion"]).to_numpy()
    found = draw.ratio(gap, both["gain_champion"].to_numpy())
    return {
        "relative": found.value,
        "low": found.low,
        "high": found.high,
        "true_value": _worth(pages),
        "pages": len(both),
    }


def fast(work: Path) -> None:
    """All runs on fast listeners that are not in `runs.jsonl` yet."""
    work.mkdir(parents=True, exist_ok=True)
    given = setting()
    made, _ = heads(given, work)
    path = work / "runs.jsonl"
    done = {(row["challenger"], row["seed"]) for row in read(path)}
    total = RUNS * len(made) + EQUAL_RUNS - RUNS
    with progress_bar("runs") as update, path.open("ab") as lines:
        update(len(done), total)
        for seed in range(EQUAL_RUNS):
            wanted = [h for n, h in made.items() if (n == "0%" or seed < RUNS) and (n, seed) not in done]
            if not wanted:
                continue
            week = Week.of(given, seed, tuple(wanted))
            for head in wanted:
                lines.write(orjson.dumps(one(week, head, seed, SETTINGS)) + b"\n")
                lines.flush()
                done.add((head.name, seed))
                update(len(done), total)
    _splits(given, work)


def _splits(given: Setting, work: Path) -> None:
    """The champion against itself, split anew many times."""
    path = work / "splits.jsonl"
    done = {row["seed"] for row in read(path)}
    with progress_bar("A/A splits") as update, path.open("ab") as lines:
        for life in range(3):
            wanted = [seed for seed in range(life, SPLITS, 3) if seed not in done]
            if not wanted:
                continue
            for row in resplit(given, 301 + life, wanted, SETTINGS):
                lines.write(orjson.dumps(row) + b"\n")
                lines.flush()
                done.add(row["seed"])
                update(len(done), SPLITS)


def read(path: Path) -> list[dict[str, Any]]:
    """The finished runs; a line that a kill cut short is passed over."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    out = []
    for line in lines:
        try:
            out.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            continue
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["fast", "releases", "report"])
    parser.add_argument(
        "--work", type=Path, required=True, help="folder of the runs; a killed benchmark goes on there"
    )
    parser.add_argument(
        "--home", type=Path, default=Path("var"), help="for `releases`: simulated, with a champion"
    )
    parser.add_argument("--runs", type=int, default=20, help="for `releases`: of each fault")
    given = parser.parse_args()
    if given.what == "fast":
        fast(given.work)
    elif given.what == "releases":
        from benchmarks.gate_releases import releases

        releases(given.home, given.work, given.runs)
    else:
        from benchmarks.gate_report import report

        report(given.work)


if __name__ == "__main__":
    main()
