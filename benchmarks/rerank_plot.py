"""The picture of benchmarks.rerank: what diversity costs in true value, MMR beside DPP.

python -m benchmarks.rerank_plot FILE.json draws it again from the figures of a run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

COLORS = {"mmr": "#db2777", "dpp": "#4338ca", "calibration": "#059669"}
AXES = {
    "distance": "mean pairwise 1 − cosine (two-tower vectors)",
    "taxonomy": "mean pairwise distance by artist and genre",
}


def plot(rows: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """True value, as the paired difference to no re-ranking, against two measures of diversity."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.4, 4.2), layout="constrained", facecolor="white")
    for axes, (measure, label) in zip(figure.subplots(1, 2, sharey=True), AXES.items(), strict=True):
        for kind, color in COLORS.items():
            _curve(
                axes,
                [rows["none"], *(r for n, r in rows.items() if n.startswith(f"{kind} ") and "+" not in n)],
                measure,
                kind,
                color,
            )
        axes.set(xlim=(None, 0.72), ylim=(-0.05, 0.012))  # the far end of MMR lies outside
        axes.axhline(0, color="#98a2b3", lw=1)
        axes.set_xlabel(label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e4e7ec")
        axes.legend(frameon=False, fontsize=9, loc="lower left")
    figure.axes[0].set_ylabel("true value, difference to no re-ranking")
    figure.savefig(path, dpi=140, metadata={"Software": None})


def _curve(axes: Any, points: list[Mapping[str, float]], measure: str, kind: str, color: str) -> None:
    x, y = [p[measure] for p in points], [p["difference"] for p in points]
    spread = [[p["difference"] - p["low"] for p in points], [p["high"] - p["difference"] for p in points]]
    axes.errorbar(x, y, spread, fmt="o-", ms=4, lw=1.4, color=color, ecolor=color, elinewidth=0.7, label=kind)


if __name__ == "__main__":
    file = Path(sys.argv[1])
    plot(json.loads(file.read_text())["figures"]["rows"], file.with_suffix(".png"))
