"""Quality against CPU seconds of training: curves of runs, seconds to a level, and the picture.

found = curves(load("ml1m")); levels(found); Path("curve.png").write_bytes(plot(found))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.model_rows import Run
from recsys.evaluation.drawing import INK, LINE, SOFT, figure, png

LEVELS = (0.10, 0.13, 0.15, 0.17)
METRIC = "ndcg@10"
_COLOURS = {"ours": ("#4338ca", "#7c3aed", "#0284c7", "#0f766e"), "peer": ("#db2777", "#ea580c", "#ca8a04")}


@dataclass(frozen=True)
class Curve:
    """NDCG@10 of one run on the test, by CPU seconds of training."""

    model: str
    kind: str
    seed: int
    cpu_s: list[float]
    ndcg: list[float]

    def reached(self, level: float) -> float | None:
        """CPU seconds of the first point at or above a level; None where there is none."""
        return next((s for s, value in zip(self.cpu_s, self.ndcg, strict=True) if value >= level), None)


def curves(runs: Sequence[Run]) -> list[Curve]:
    """Of the runs that were asked along training."""
    return [
        Curve(
            run.model,
            run.kind,
            run.seed,
            [p.cpu_s for p in run.curve],
            [p.metrics[METRIC] for p in run.curve],
        )
        for run in runs
        if run.curve
    ]


def levels(found: Sequence[Curve]) -> list[list[str]]:
    """One row a model: median over its seeds of the seconds to each level ("-": not by every seed), last point."""
    rows = []
    for model in dict.fromkeys(curve.model for curve in found):
        own = [curve for curve in found if curve.model == model]
        cells = []
        for level in LEVELS:
            seconds = [curve.reached(level) for curve in own]
            known = sorted(s for s in seconds if s is not None)
            cells.append(f"{known[len(known) // 2]:,.0f}" if len(known) == len(seconds) else "-")
        last = max(own, key=lambda curve: curve.cpu_s[-1])
        rows.append([model, *cells, f"{max(last.ndcg):.4f} of {last.cpu_s[-1]:,.0f} s"])
    return rows


def plot(found: Sequence[Curve]) -> bytes:
    """The curves as PNG; seconds on a logarithmic axis, one colour a model, one line a seed."""
    drawn, axes = figure(7.2, 4.2)
    models = list(dict.fromkeys((curve.kind, curve.model) for curve in found))
    used = {"ours": 0, "peer": 0}
    for kind, model in models:
        shades = _COLOURS[kind]
        colour = shades[used[kind] % len(shades)]
        used[kind] += 1
        for i, curve in enumerate(c for c in found if c.model == model):
            style = "-" if kind == "ours" else "--"
            axes.plot(curve.cpu_s, curve.ndcg, style, color=colour, lw=1.5, label=model if i == 0 else None)
    for level in LEVELS:
        axes.axhline(level, color=LINE, lw=0.8, zorder=0)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("CPU seconds of training", color=INK)
    axes.set_ylabel("NDCG@10 on the test item", color=INK)
    axes.legend(frameon=False, fontsize=8, labelcolor=SOFT, loc="upper left")
    return png(drawn)
