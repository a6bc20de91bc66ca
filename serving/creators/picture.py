"""The creators' side as a picture: shares by tier, concentration through time, territories.

png_bytes = picture(creators(home))
"""

from __future__ import annotations

import numpy as np

from recsys.evaluation.creators import Group
from recsys.evaluation.drawing import INK, LINE, SOFT, figure, png
from serving.creators.report import Creators

_SLOTS, _PLAYS, _TOP, _REACHED = "#4338ca", "#c7ccd6", "#ea580c", "#0891b2"
_MOST = 12


def picture(found: Creators) -> bytes:
    """PNG."""
    drawn, (left, middle, right) = figure(12.6, 3.9, columns=3)
    _bars(left, found.tiers, "share of slots by tier (grey: of plays before)")
    day = np.arange(len(found.days))
    for name, color in (("gini", _SLOTS), ("top_share", _TOP), ("reached", _REACHED)):
        middle.plot(
            day,
            found.days[name].to_numpy(),
            marker="o",
            ms=3,
            lw=1.6,
            color=color,
            label=name.replace("_", " "),
        )
    labels = [f"{each:%d %b}" for each in found.days["day"]]
    step = max(len(day) // 6, 1)
    middle.set_xticks(day[::step], labels[::step])
    middle.set_ylim(0, 1.02)
    middle.set_title("artists, all slots so far", fontsize=9.5, color=INK, loc="left")
    middle.legend(frameon=False, fontsize=8)
    middle.grid(color=LINE, axis="y")
    _bars(right, found.territories[:_MOST], "share of slots by territory")
    return png(drawn)


def _bars(axes: object, rows: list[Group], title: str) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    at = np.arange(len(rows))[::-1]
    before = np.array([row.plays_before for row in rows])
    if np.isfinite(before).all():
        axes.barh(at, before, height=0.75, color=_PLAYS)
    value = np.array([row.slots.value for row in rows])
    spread = np.abs(np.array([[row.slots.low, row.slots.high] for row in rows]).T - value)
    axes.barh(at, value, height=0.4, color=_SLOTS, xerr=spread, error_kw={"lw": 1, "ecolor": SOFT})
    axes.set_yticks(at, [row.name for row in rows])
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
    axes.set_title(title, fontsize=9.5, color=INK, loc="left")
    axes.grid(color=LINE, axis="x")
