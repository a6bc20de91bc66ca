"""The power curve of benchmarks/live_ab.py: planned, and what was shipped, beside true effects of both kinds."""

from __future__ import annotations

from typing import Any

import numpy as np

from recsys.evaluation.drawing import INK, LINE, SOFT, figure

BLUE, ORANGE = "#2563eb", "#d97706"


def drawn(found: dict[str, Any]) -> Any:
    """Left: the share that was shipped by true effect; right: the mixed world's effect and all-on less all-off."""
    picture, (left, right) = figure(9.2, 3.6, columns=2)
    cells = found["cells"]
    level = cells[0]["truth"] / cells[0]["truth_relative"]
    effect = np.array([c["truth"] for c in cells]) / level
    curve = np.array(found["curve"])
    left.plot(curve[:, 0] / level, curve[:, 1], color=SOFT, lw=1.5, label="planned")
    share = np.array([c["shipped"] / c["tests"] for c in cells])
    ends = np.array([c["ship_interval"] for c in cells])
    reach = np.clip([share - ends[:, 0], ends[:, 1] - share], 0, None)
    left.errorbar(effect, share, yerr=reach, fmt="o", color=BLUE, ms=5, lw=1, label="shipped, 95% interval")
    left.axvline(0, color=LINE, lw=1)
    left.set_title("Share of tests that ship, by true lift", loc="left", color=INK, fontsize=10)
    left.legend(frameon=False, fontsize=8, loc="upper left")
    order = np.arange(len(cells))
    for key, name, colour, shift in (
        ("truth", "mixed world", BLUE, -0.12),
        ("all_on_off", "all on less all off", ORANGE, 0.12),
    ):
        value = np.array([c[key] for c in cells]) / level
        error = 1.96 * np.array([c[f"{key}_se"] for c in cells]) / level
        right.errorbar(order + shift, value, yerr=error, fmt="o", color=colour, ms=4, lw=1, label=name)
    right.axhline(0, color=LINE, lw=1)
    right.set_xticks(order, [f"{c['share']:g}" for c in cells])
    right.set_title("True lift, by share of chart slots (control .5)", loc="left", color=INK, fontsize=10)
    right.legend(frameon=False, fontsize=8, loc="upper left")
    for one in (left, right):
        one.grid(axis="y", color=LINE, lw=0.6)
    left.xaxis.set_major_formatter("{x:+.0%}")
    left.yaxis.set_major_formatter("{x:.0%}")
    right.yaxis.set_major_formatter("{x:+.0%}")
    return picture
