"""The picture of benchmarks.sequential: the bounds of each method, and false positives as the looks go by.

python -m benchmarks.sequential_plot FILE.json draws it again from the figures of a run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
STYLES = {
    "z at every look": ("#dc2626", "-"),
    "O'Brien-Fleming, 14 looks": ("#4338ca", "o-"),
    "Pocock, 14 looks": ("#0891b2", "o-"),
    "asymptotic sequence": ("#059669", "-"),
    "mSPRT": ("#ca8a04", "--"),
}


def plot(found: Mapping[str, Any], bounds: Mapping[str, tuple[F64, F64]], path: Path) -> None:
    """Left: |z| needed. Right: share of A/A tests that have shown a difference so far, with the 5% that was
    promised."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    rates = {name: np.asarray(found["false positives by look"][name]) for name in STYLES}
    heights = _apart({name: float(rate[-1]) for name, rate in rates.items()})
    for name, (color, line) in STYLES.items():
        left.plot(*bounds[name], line, color=color, lw=1.5, ms=4, label=name)
        rate, dashes = rates[name], "--" if line == "--" else "-"
        looks = np.arange(1, len(rate) + 1)
        right.plot(looks, rate, dashes, color=color, lw=1.6, drawstyle="steps-post")
        label = f" {name}  {rate[-1]:.1%}"
        right.text(looks[-1], heights[name], label, color=color, fontsize=8, va="center", clip_on=False)
    left.set(ylim=(1.5, 6), xlim=(0, 1), xlabel="fraction of the units", ylabel="|z| that stops the test")
    left.legend(frameon=False, fontsize=8)
    right.axhline(0.05, color="#98a2b3", lw=1, ls=":")
    right.set(
        xlim=(0, 100), ylim=(0.001, 0.6), yscale="log", xlabel="look", ylabel="A/A tests stopped so far"
    )
    right.set_yticks([0.001, 0.01, 0.05, 0.1, 0.4], ["0.1%", "1%", "5%", "10%", "40%"])
    right.minorticks_off()
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#eef0f3")
    right.set_title("no effect: promised 5%", fontsize=10)
    left.set_title("bounds", fontsize=10)
    figure.savefig(path, dpi=140, metadata={"Software": None})


def _apart(ends: Mapping[str, float]) -> dict[str, float]:
    """Heights for labels at the ends of the curves, on a log scale, that do not overlap."""
    out: dict[str, float] = {}
    below = 0.0
    for name, value in sorted(ends.items(), key=lambda item: item[1]):
        below = out[name] = max(value, below * 1.2)
    return out


if __name__ == "__main__":
    from benchmarks.sequential import boundaries

    file = Path(sys.argv[1])
    lines = {name: (b.information, b.upper) for name, b in boundaries().items()}
    plot(json.loads(file.read_text())["figures"], lines, file.with_suffix(".png"))
