"""Pictures of the evaluation table as PNG bytes: bars with intervals, quality by cohort, concentration of
exposure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recsys.evaluation.baselines import BASELINES
from recsys.evaluation.drawing import INK, LINE, SOFT, png
from recsys.evaluation.drawing import figure as new_figure
from recsys.evaluation.evaluate import Row

_OURS = {
    "two_tower": "#4338ca",
    "sequence": "#0891b2",
    "ranker": "#db2777",
    "served": "#ea580c",
    "long_term_taste": "#d4b35c",
}
_OTHERS = ("#65a30d", "#7c3aed", "#0f766e", "#b45309")
_GREYS = ("#475467", "#98a2b3", "#667085", "#b8c0cc", "#7a8699", "#c9b79c", "#9aa5a1")
_REST = "#98a2b3"
_MARKERS = "s^vDP*X<>"  # of baselines; the others are dots
_DASHES: tuple[Any, ...] = (
    "--",
    ":",
    "-.",
    (0, (6, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (1, 3)),
    (0, (8, 3, 2, 3)),
)


def colors(models: Sequence[str]) -> dict[str, str]:
    """Baselines in greys, the others in colours, the same in every picture."""
    out = {m: _GREYS[i % len(_GREYS)] for i, m in enumerate(BASELINES)} | _OURS
    others = sorted(m for m in models if m not in out)
    return out | {m: _OTHERS[i % len(_OTHERS)] for i, m in enumerate(others)}


def bars(rows: Sequence[Row], label: str) -> bytes:
    """One bar a model with its interval, best on top. `rows`: one row a model."""
    ordered = sorted(rows, key=lambda r: r.value)
    figure, axes = new_figure(6.6, 0.42 * len(ordered) + 1.0)
    shade = colors([r.model for r in rows])
    value = np.array([r.value for r in ordered])
    error = np.abs(np.array([[r.low, r.high] for r in ordered]).T - value)
    axes.barh(
        [r.model for r in ordered],
        value,
        xerr=error,
        color=[shade[r.model] if r.model not in BASELINES else _REST for r in ordered],
        height=0.66,
        error_kw={"ecolor": INK, "elinewidth": 1.1, "capsize": 2.5},
    )
    for place, row in enumerate(ordered):
        axes.annotate(
            f"{row.value:.3f}", (max(row.high, row.value), place), (5, 0), textcoords="offset points",
            va="center", fontsize=8.5, color=INK,
        )  # fmt: skip
    axes.set_xlim(min(0, *(r.low for r in ordered)), 1.13 * max(1e-9, *(r.high for r in ordered)))
    axes.grid(axis="x", color=LINE)
    axes.set_xlabel(label, color=SOFT, fontsize=9)
    return png(figure)


def by_cohort(rows: Sequence[Row], label: str) -> bytes:
    """One panel a task: cohorts along the axis, one marker a model with its interval."""
    tasks = list(dict.fromkeys(r.task for r in rows))
    models = list(dict.fromkeys(r.model for r in rows))
    shade = colors(models)
    figure, panels = new_figure(4.0 * len(tasks) + 1, 4.6, len(tasks))
    for axes, task in zip(np.atleast_1d(panels), tasks, strict=True):
        here = [r for r in rows if r.task == task]
        cohorts = list(dict.fromkeys(r.cohort for r in here))
        for place, model in enumerate(models):
            mine = [r for r in here if r.model == model]
            at = np.array([cohorts.index(r.cohort) for r in mine]) + (place - (len(models) - 1) / 2) * 0.075
            value = np.array([r.value for r in mine])
            error = np.abs(np.array([[r.low, r.high] for r in mine]).reshape(-1, 2).T - value)
            axes.errorbar(
                at, value, error, fmt=_marker(model), ms=5, color=shade[model], elinewidth=1, label=model
            )
        axes.set_xticks(range(len(cohorts)), [c.replace("_", "\n") for c in cohorts], fontsize=8)
        axes.set_ylim(bottom=0)
        axes.set_title(task, fontsize=10, color=INK, loc="left")
        axes.grid(axis="y", color=LINE)
    first = np.atleast_1d(panels)[0]
    first.set_ylabel(label, color=SOFT, fontsize=9)
    handles, names = first.get_legend_handles_labels()
    figure.legend(
        handles, names, ncols=min(6, len(models)), loc="outside lower center", frameon=False, fontsize=8.5
    )
    return png(figure)


def _marker(model: str) -> str:
    return _MARKERS[list(BASELINES).index(model) % len(_MARKERS)] if model in BASELINES else "o"


def concentration(curves: Mapping[str, Sequence[float]]) -> bytes:
    """Lorenz curves of exposure: the further below the diagonal, the fewer tracks get the slots."""
    figure, axes = new_figure(4.4, 4.0)
    shade = colors(list(curves))
    axes.plot([0, 1], [0, 1], color=LINE, lw=1.2)
    for model, curve in curves.items():
        own = model not in BASELINES
        axes.plot(
            np.linspace(0, 1, len(curve)), curve, color=shade[model], lw=1.9 if own else 1.1,
            ls="-" if own else _DASHES[list(BASELINES).index(model) % len(_DASHES)], label=model,
        )  # fmt: skip
    axes.set_xlabel("share of eligible tracks, least shown first", color=SOFT, fontsize=9)
    axes.set_ylabel("share of the slots", color=SOFT, fontsize=9)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    axes.grid(color=LINE)
    return png(figure)
