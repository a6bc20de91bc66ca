"""Pictures of an evaluation as PNG bytes: the overlap of two policies, and estimates with their intervals."""

from __future__ import annotations

import numpy as np

from bandits.ope.report import Estimate, Report
from recsys.evaluation.drawing import INK, LINE, SOFT, png
from recsys.evaluation.drawing import figure as new_figure

_OWN, _BASE = "#4338ca", "#98a2b3"


def overlap(report: Report, estimator: str = "ips") -> bytes:
    """Left, how weights are spread; right, how much of the whole weight the heaviest decisions carry.

    On the right the diagonal is the logging policy itself: every decision speaks alike.
    """
    found = report.of(estimator)
    weight = np.zeros(0) if found.terms is None else found.terms.weight
    figure, (left, right) = new_figure(8.4, 3.2, 2)
    positive = weight[weight > 0]
    if len(positive):
        edges = np.geomspace(max(positive.min(), 1e-4), positive.max() * 1.001, 40)
        left.hist(np.maximum(positive, edges[0]), edges, color=_OWN, alpha=0.85)
        left.set_xscale("log")
        heaviest = np.sort(weight)[::-1]
        share = np.append(0.0, heaviest.cumsum() / heaviest.sum())
        right.plot(np.linspace(0, 1, len(share)), share, color=_OWN, lw=1.8)
    left.axvline(1, color=INK, lw=1, ls=":")
    left.set_xlabel("weight of a decision (dotted: 1)", color=SOFT, fontsize=9)
    left.set_title(_words(found), fontsize=9.5, color=INK, loc="left")
    right.plot([0, 1], [0, 1], color=LINE, lw=1.2)
    right.set_xlabel("share of decisions, heaviest first", color=SOFT, fontsize=9)
    right.set_title("share of the whole weight", fontsize=9.5, color=INK, loc="left")
    for axes in (left, right):
        axes.grid(color=LINE)
    return png(figure)


def forest(report: Report, method: str = "asymptotic") -> bytes:
    """One line an estimator with its interval, and the logging policy's own value as a band; refused ones are said."""
    shown = [e for e in report.estimates if method in e.intervals]
    figure, axes = new_figure(6.6, 0.42 * len(report.estimates) + 1.2)
    axes.axvspan(*report.logging_interval, color=_BASE, alpha=0.18)
    axes.axvline(report.logging, color=_BASE, lw=1.2, label="logging policy")
    for place, e in enumerate(reversed(report.estimates)):
        if e in shown:
            low, high = e.intervals[method]
            axes.plot([low, high], [place, place], color=_OWN, lw=2)
            axes.plot([e.value], [place], "o", color=_OWN, ms=5)
        else:
            axes.annotate(
                "refused", (report.logging, place), color=SOFT, fontsize=8, va="center", ha="center"
            )
    axes.set_yticks(range(len(report.estimates)), [e.estimator for e in reversed(report.estimates)])
    axes.set_ylim(-0.7, len(report.estimates) - 0.3)
    axes.set_xlabel(f"value of {report.target}, {report.confidence:.0%} {method}", color=SOFT, fontsize=9)
    axes.grid(axis="x", color=LINE)
    axes.legend(frameon=False, fontsize=8)
    return png(figure)


def _words(found: Estimate) -> str:
    if found.overlap is None:
        return "no weights"
    o = found.overlap
    return f"{o.decisions} decisions count as {o.effective:.0f}"
