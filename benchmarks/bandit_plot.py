"""The picture of benchmarks.bandit_regret: regret as the steps go by, ours in colour and peers in grey.

python -m benchmarks.bandit_plot FILE.json draws it again from the figures of a run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bandit_worlds import STEPS
from benchmarks.peers.bandit_play import POINTS

COLORS = ("#4338ca", "#dc2626", "#059669", "#ca8a04")
PEERS = {"vw": "--", "mabwiser": "-.", "obp": ":"}


def plot(found: Mapping[str, Any], peers: Sequence[str], path: Path) -> None:
    """One panel a world: the four best of ours in colour, the best of each peer library in grey, random as a limit."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained", facecolor="white")
    worlds = list(found["uniform"])
    steps = np.linspace(0, STEPS - 1, POINTS).astype(int) + 1
    order = sorted(found["regret"], key=lambda m: _overall(found, m))
    ours = [m for m in order if m not in peers][: len(COLORS)]
    theirs = [m for name in PEERS for m in [m for m in order if m in peers and m.startswith(name)][:1]]
    for axes, world in zip(figure.subplots(1, len(worlds)), worlds, strict=True):
        for method in theirs:
            axes.plot(
                steps,
                found["curves"][method][world],
                PEERS[method.split()[0]],
                color="#667085",
                lw=1.4,
                label=method,
            )
        for method, color in zip(ours, COLORS, strict=False):
            axes.plot(steps, found["curves"][method][world], color=color, lw=1.5, label=method)
        top = max(float(found["curves"][m][world][-1]) for m in [*ours, *theirs])
        axes.plot([0, STEPS], [0, found["uniform"][world]], color="#d0d5dd", lw=1, label="at random")
        axes.set(title=world, xlabel="step", xlim=(0, STEPS), ylim=(0, 1.1 * top))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#eef0f3")
    figure.axes[0].set_ylabel(f"regret, mean of {found['seeds']} seeds")
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8
    )
    figure.savefig(path, dpi=140, metadata={"Software": None})


def _overall(found: Mapping[str, Any], method: str) -> float:
    return float(np.mean([np.mean(v) / found["uniform"][w] for w, v in found["regret"][method].items()]))


if __name__ == "__main__":
    file = Path(sys.argv[1])
    figures = json.loads(file.read_text())["figures"]
    plot(figures, [m for m in figures["regret"] if m.split()[0] in PEERS], file.with_suffix(".png"))
