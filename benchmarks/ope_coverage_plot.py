"""The picture of benchmarks/ope_coverage.py: coverage of every estimator in every world."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from recsys.evaluation.drawing import INK, LINE, SOFT

_OWN, _GREY = "#4338ca", "#98a2b3"


def draw(figures: dict[str, dict[str, dict[str, Any]]]) -> bytes:
    """One panel a world: coverage of the 95% interval (asymptotic) and of the one that takes decisions as independent.

    Filled: the estimator's assumptions hold; open: they do not; a cross: refused, what would have been said.
    """
    from matplotlib.figure import Figure

    columns = 3
    lines = -(-len(figures) // columns)
    figure = Figure(figsize=(13, 2.7 * lines), layout="constrained", facecolor="white")
    panels = figure.subplots(lines, columns, squeeze=False)
    for axes in panels.ravel()[len(figures) :]:
        axes.set_visible(False)
    for axes, (world, by_estimator) in zip(panels.ravel(), figures.items(), strict=False):
        names = list(reversed(by_estimator))
        axes.axvspan(0.93, 0.97, color=_OWN, alpha=0.1)
        for place, name in enumerate(names):
            _mark(axes, place, by_estimator[name])
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_title(world, fontsize=9.5, color=INK, loc="left")
        axes.grid(axis="x", color=LINE)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0, labelsize=8, colors=INK)
    figure.supxlabel(
        "share of runs whose 95% interval holds the truth: filled, assumptions hold; open, they do not; cross, "
        "refused; small grey, decisions taken as independent",
        fontsize=9,
        color=SOFT,
    )
    out = BytesIO()
    figure.savefig(out, format="png", dpi=130, metadata={"Software": None})
    return out.getvalue()


def _mark(axes: Any, place: int, body: dict[str, Any]) -> None:
    if "told_of" not in body:
        axes.annotate("refused", (0.02, place), fontsize=8, color=SOFT, va="center")
        return
    axes.plot([body["decisions"]["covered"]], [place], "o", ms=3, color=_GREY)
    if body["told_of"] == "refused":
        axes.plot([body["asymptotic"]["covered"]], [place], "x", ms=6, color=SOFT)
        return
    fill = _OWN if body["holds"] else "white"
    axes.plot([body["asymptotic"]["covered"]], [place], "o", ms=6.5, mec=_OWN, mfc=fill)
