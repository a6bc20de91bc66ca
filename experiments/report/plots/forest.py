"""One interval a row, all rows on one axis: for a table's cells, which a phone stacks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median

from markupsafe import Markup

from experiments.report.plots.canvas import Axis, label, line, tick_texts, ticks

ROW = 26


def axis_of(bounds: Iterable[float | None], keep: Sequence[float | None] = ()) -> Axis:
    """An axis for rows of intervals: a row five times as wide as the middle one runs off it.

    Args:
        bounds: ends and estimates. `keep`: what must be inside, whatever its size.
    """
    finite = [v for v in bounds if v is not None and math.isfinite(v)]
    reach = 5 * median([abs(v) for v in finite]) if finite else 1.0
    kept = [max(-reach, min(reach, v)) for v in finite] + [v for v in keep if v is not None] + [0.0]
    low, high = min(kept), max(kept)
    air = 0.08 * (high - low) or 1.0
    return Axis(low - air, high + air, 100)


def bar(
    axis: Axis,
    value: float | None,
    low: float | None,
    high: float | None,
    kind: str,
    text: str,
    margin: float | None = None,
    reference: float | None = None,
) -> Markup:
    """One row: the interval with its estimate; an open end runs off, and shows an arrow.

    Args:
        kind: the class that colours it. `text`: what it says, on hover and to those who cannot see it.
        margin, reference: other lines, beside the one at zero.
    """
    middle = ROW / 2
    parts = [line(axis.at(0.0), 0, axis.at(0.0), ROW, "zero")]
    if margin is not None and axis.holds(margin):
        ends = sorted((axis.at(margin), 0.0 if margin < 0 else 100.0))
        zone = '<rect class="bad-zone" x="{:.2f}%" width="{:.2f}%" y="3" height="{}"/>'
        parts.append(Markup(zone).format(ends[0], ends[1] - ends[0], ROW - 6))
    for at, name in ((margin, "margin"), (reference, "reference")):
        if at is not None and axis.holds(at):
            parts.append(line(axis.at(at), 0, axis.at(at), ROW, name))
    if low is not None or high is not None:
        left, right = axis.clip(low, axis.low), axis.clip(high, axis.high)
        parts.append(line(left, middle, right, middle, "interval"))
        parts.append(_end(left, middle, axis.holds(low), -1))
        parts.append(_end(right, middle, axis.holds(high), 1))
    if value is not None and axis.holds(value):
        parts.append(
            Markup('<circle class="estimate" cx="{:.2f}%" cy="{:g}" r="5"/>').format(axis.at(value), middle)
        )
    return Markup(
        '<svg class="bar {}" role="img" aria-label="{}" height="{}"><title>{}</title>'
        '<rect class="hit" width="100%" height="100%"/>{}</svg>'
    ).format(kind, text, ROW, text, Markup("").join(parts))


def _end(at: float, middle: float, closed: bool, sign: int) -> Markup:
    shape = "M0 -4v8" if closed else f"M{-5 * sign} -4l{5 * sign} 4l{-5 * sign} 4"
    return Markup(
        '<svg x="{:.2f}%" y="{:g}" overflow="visible"><path class="interval" d="{}"/></svg>'
    ).format(at, middle, shape)


def scale(axis: Axis, unit: str = "%", factor: float = 100.0) -> Markup:
    """The labels of the common axis, as a row of their own."""
    values = ticks(axis.low, axis.high, 5)
    parts = [
        label(f"{axis.at(v):.2f}%", 13, text, "tick middle")
        for v, text in zip(values, tick_texts(values, factor, unit), strict=True)
    ]
    return Markup('<svg class="bar scale" aria-hidden="true" height="18">{}</svg>').format(
        Markup("").join(parts)
    )
