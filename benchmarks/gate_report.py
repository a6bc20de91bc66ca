"""Table, JSON and picture of the gate's runs, as many as are done: `python -m benchmarks.gate report --work FOLDER`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.gate import SETTINGS, read
from benchmarks.gate_fast import PROFILE
from benchmarks.results import FOLDER, exact_interval, table, write
from recsys.evaluation.drawing import INK, LINE, SOFT, figure, png
from recsys.files import write_whole

ORDER: tuple[str, ...] = ("+5%", "0%", "-5%", "-15%", "sign flip", "stale features", "half-trained")


def report(work: Path) -> None:
    """Reads what is finished, prints it, and writes it beside the other results."""
    truth = orjson.loads((work / "truth.json").read_bytes())
    runs, splits, real = (read(work / f"{name}.jsonl") for name in ("runs", "splits", "releases"))
    worth_path = work / "release_truth.json"
    worth = orjson.loads(worth_path.read_bytes()) if worth_path.exists() else {}
    body = {
        "alpha": SETTINGS.alpha,
        "settings": SETTINGS.model_dump(mode="json"),
        "profile": PROFILE.model_dump(mode="json"),
        "truth": truth,
        "fast": [summary(name, [r for r in runs if r["challenger"] == name]) for name in ORDER],
        "splits": summary("A/A", splits),
        "release_truth": worth,
        "releases": [
            summary(name, [r for r in real if r["challenger"] == name])
            for name in dict.fromkeys(r["challenger"] for r in real)
        ],
    }
    _print("fast listeners", [*body["fast"], body["splits"]], truth["truth"])
    _print("real releases", body["releases"], _relative(worth))
    path = write("gate", body)
    write_whole(FOLDER / f"{datetime.now(UTC):%Y-%m-%d}-gate.png", picture(body))
    print(path)


def summary(name: str, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Promotions with the exact binomial interval (Clopper & Pearson 1934), where runs ended, after how many days."""
    n, k = len(runs), sum(run["promoted"] for run in runs)
    low, high = exact_interval(k, n)
    stages = Counter(run.get("stage", "wide") for run in runs)
    return {
        "challenger": name,
        "runs": n,
        "promoted": k,
        "rate": k / n if n else None,
        "low": low,
        "high": high,
        "stages": dict(stages),
        "rules": dict(Counter(run["rule"] for run in runs).most_common()),
        "past_canary": sum(run.get("stage", "wide") == "wide" for run in runs),
        "days": float(np.mean([run["days"] for run in runs])) if n else None,
    }


def _relative(worth: dict[str, Any]) -> dict[str, Any]:
    base = worth.get("champion", {}).get("value")
    return {name: {"relative": one["value"] / base - 1} for name, one in worth.items()} if base else {}


def _print(title: str, rows: Sequence[dict[str, Any]], truth: dict[str, Any]) -> None:
    head = [
        title,
        "true value",
        "runs",
        "promoted",
        "rate",
        "95%",
        "off-policy",
        "canary",
        "wide",
        "other",
        "days",
    ]
    out = []
    for row in rows:
        known = truth.get(row["challenger"])
        own = row["stages"]
        other = sum(n for s, n in own.items() if s not in ("off_policy", "canary", "wide"))
        out.append(
            [
                row["challenger"],
                "" if known is None else f"{known['relative']:+.1%}",
                row["runs"],
                row["promoted"],
                "" if row["rate"] is None else f"{row['rate']:.1%}",
                f"{row['low']:.1%}-{row['high']:.1%}",
                own.get("off_policy", 0),
                own.get("canary", 0),
                own.get("wide", 0),
                other,
                "" if row["days"] is None else f"{row['days']:.1f}",
            ]
        )
    table(head, out)


def picture(body: dict[str, Any]) -> bytes:
    """Promotion rate by true value, and where runs ended."""
    drawn, (left, right) = figure(10.5, 3.9, columns=2)
    rows = {row["challenger"]: row for row in body["fast"] if row["runs"]}
    steps = [name for name in ORDER[:4] if name in rows]
    x = [100 * body["truth"]["truth"][name]["relative"] for name in steps]
    y = [100 * rows[name]["rate"] for name in steps]
    reach = [
        [100 * (rows[n]["rate"] - rows[n]["low"]) for n in steps],
        [100 * (rows[n]["high"] - rows[n]["rate"]) for n in steps],
    ]
    left.axhline(100 * body["alpha"], color="#b42318", lw=1, ls="--")
    left.text(min(x), 100 * body["alpha"] + 1.5, f"alpha {body['alpha']:.0%}", color="#b42318", fontsize=8)
    left.errorbar(x, y, yerr=reach, color=INK, marker="o", capsize=3, lw=1.4)
    split = body["splits"]
    if split["runs"]:
        more = [[100 * (split["rate"] - split["low"])], [100 * (split["high"] - split["rate"])]]
        left.errorbar([0.5], [100 * split["rate"]], yerr=more, color="#4338ca", marker="s", capsize=3)
        left.text(0.9, 100 * split["rate"] + 2, "A/A", color="#4338ca", fontsize=8)
    left.set_ylim(0, 105)
    left.grid(color=LINE, axis="y")
    left.set_xlabel("true value over the champion's, %", fontsize=9, color=SOFT)
    left.set_title("promoted, % of runs (95% binomial)", fontsize=10, color=INK, loc="left")
    _ends(right, rows)
    return png(drawn)


def _ends(axes: Any, rows: dict[str, Any]) -> None:
    names = [name for name in ORDER if name in rows][::-1]
    colors = {"off_policy": "#0891b2", "canary": "#ea580c", "wide": "#98a2b3", "promoted": "#4338ca"}
    for i, name in enumerate(names):
        row, at = rows[name], 0.0
        parts = {s: row["stages"].get(s, 0) for s in ("off_policy", "canary", "wide")}
        parts["wide"] -= row["promoted"]
        parts["promoted"] = row["promoted"]
        for part, count in parts.items():
            axes.barh(i, 100 * count / row["runs"], left=at, color=colors[part], height=0.6)
            at += 100 * count / row["runs"]
    axes.set_yticks(range(len(names)), [f"{name} ({rows[name]['runs']})" for name in names], fontsize=8)
    for part, color in colors.items():
        axes.barh(-2, 0, color=color, label=part.replace("_", "-"))
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="upper left", bbox_to_anchor=(-0.02, -0.08))
    axes.set_title("where runs ended, %", fontsize=10, color=INK, loc="left")
