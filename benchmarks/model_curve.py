"""Quality against CPU seconds of training: curves of runs, seconds to a level, and the picture.

found = curves(load("ml1m")); levels(found); Path("curve.png").write_bytes(plot(found))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.model_rows import Run
from recsys.evaluation.drawing import INK, LINE, SOFT, figure, png

LEVELS = (0.10, 0.13, 0.15, 0.17)
METRIC = "ndcg@10"
_SECONDS = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000)
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


def plot(found: Sequence[Curve], lines: Mapping[str, float] | None = None) -> bytes:
    """The curves as PNG; seconds on a logarithmic axis, one colour a model, one line a seed.

    Args:
        lines: other models' NDCG@10 by name, drawn across.
    """
    drawn, axes = figure(7.4, 4.4)
    used = {"ours": 0, "peer": 0}
    for kind, model in dict.fromkeys((curve.kind, curve.model) for curve in found):
        colour = _COLOURS[kind][used[kind] % len(_COLOURS[kind])]
        used[kind] += 1
        style = "-" if kind == "ours" else "--"
        for i, curve in enumerate(c for c in found if c.model == model):
            label = model if i == 0 else None
            axes.plot(curve.cpu_s, curve.ndcg, style, color=colour, lw=1.5, marker="o", ms=2.5, label=label)
    left, right = min(c.cpu_s[0] for c in found), max(c.cpu_s[-1] for c in found)
    for level in LEVELS:
        axes.axhline(level, color=LINE, lw=0.8, zorder=0)
    for name, value in (lines or {}).items():
        axes.axhline(value, color=SOFT, lw=1, ls=":")
        axes.annotate(name, (left, value), color=SOFT, fontsize=8, va="bottom")
    axes.set_xscale("log")
    ticks = [s for s in _SECONDS if left / 2 <= s <= right * 2]
    axes.set_xticks(ticks, [f"{s:,}" for s in ticks])
    axes.set_xticks([], minor=True)
    axes.set_yticks([0, 0.05, *LEVELS], ["0", ".05", *(f"{level:.2f}"[1:] for level in LEVELS)])
    axes.set_ylim(0, max(LEVELS[-1], *(max(c.ndcg) for c in found)) + 0.015)
    axes.set_xlabel("CPU seconds of training", color=INK)
    axes.set_ylabel("NDCG@10 on the test item", color=INK)
    axes.legend(frameon=False, fontsize=8, labelcolor=SOFT, loc="lower right")
    return png(drawn)
