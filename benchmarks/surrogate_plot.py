"""The picture of benchmarks/surrogate.py: the first week of each policy beside what came, and tau by days seen."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsys.evaluation.drawing import INK, LINE, SOFT, figure, png

COLORS = {"surrogate": "#4338ca", "streams": "#ea580c", "home streams": "#0891b2"}


def picture(figures: dict[str, Any]) -> bytes:
    drawn, (left, middle, right) = figure(13.5, 4.4, columns=3)
    rows = figures["windows"]["7"]["policies"]["rows"]
    true = np.array([row["return_days"] for row in rows])
    error = 1.96 * np.array([row["se"] for row in rows])
    for axes, key, label in (
        (left, "told", "foretold from the first week, days"),
        (middle, "streams", "streams in the first week"),
    ):
        x = np.array([row[key] for row in rows])
        color = COLORS["surrogate" if key == "told" else "streams"]
        axes.errorbar(x, true, yerr=error, fmt="o", color=color, ms=4.5, lw=1.2)
        for nth, place in enumerate(
            np.argsort(-true, kind="stable")
        ):  # by turns right and left of the points
            right_of = nth % 2 == 0
            axes.annotate(
                rows[place]["policy"],
                (x[place], true[place]),
                xytext=(6 if right_of else -6, 0),
                ha="left" if right_of else "right",
                va="center",
                textcoords="offset points",
                fontsize=6.5,
                color=SOFT,
            )
        axes.set_xlabel(label + ", a listener", fontsize=9, color=SOFT)
        axes.grid(color=LINE)
        axes.margins(0.3, 0.1)
    left.set_ylabel("true days with a session, days 8-28", fontsize=9, color=SOFT)
    left.set_title("the surrogate", fontsize=10, color=INK, loc="left")
    middle.set_title("immediate streams", fontsize=10, color=INK, loc="left")
    windows = list(figures["windows"])
    for i, (name, color) in enumerate(COLORS.items()):
        found = [figures["windows"][w]["agreement"][name] for w in windows]
        value = np.array([f["value"] for f in found])
        spread = np.abs(np.array([[f["low"], f["high"]] for f in found]).T - value)
        at = np.arange(len(windows)) + 0.12 * (i - 1)
        right.errorbar(at, value, yerr=spread, fmt="o-", color=color, ms=4.5, lw=1.3, label=name)
    right.set_xticks(range(len(windows)), windows)
    right.set_xlabel("days seen", fontsize=9, color=SOFT)
    right.set_title("Kendall's tau with the rest of the month, 95%", fontsize=10, color=INK, loc="left")
    right.legend(frameon=False, fontsize=8, loc="lower right")
    right.grid(color=LINE)
    return png(drawn)
