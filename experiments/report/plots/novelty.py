"""The effect by days since a unit first met the test, with its trend: whether it wears off, or grows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from experiments.report.numbers import amount
from experiments.report.plots.canvas import Axis, Canvas, spanning, tick_texts, ticks


def novelty_plot(curve: Mapping[str, Any], kind: str = "") -> Markup:
    """Points with intervals and the trend of record.Curve as plain data; nothing without points."""
    points = [p for p in curve["points"] if p["effect"] is not None]
    if not points:
        return Markup("")
    ends = [p["interval"][side] for p in points for side in ("low", "high")]
    last = max(p["age"] for p in points)
    y = spanning([0.0, *ends, *(p["effect"] for p in points)], 200, turned=True)
    canvas = Canvas(Axis(-0.6, last + 0.6, 100), y)
    unit = 100.0 if kind == "proportion" else 1.0
    values = ticks(y.low, y.high, 5)
    canvas.grid(values, tick_texts(values, unit, " pp" if unit > 1 else ""))
    canvas.level(0.0, "zero", "no effect")
    ages = [v for v in ticks(-0.6, last + 0.6, 7) if v >= 0 and v == round(v)]
    canvas.days(ages, [f"day {v:.0f}" for v in ages])
    _trend(canvas, curve, points)
    for p in points:
        canvas.whisker(p["age"], p["interval"]["low"], p["interval"]["high"], "whisker")
        canvas.dot(p["age"], p["effect"], "dot")
        canvas.hover(p["age"], 1, _said(p, unit))
    return canvas.svg(f"Effect on {curve['metric']} by days since first exposure, {curve['arm']}.")


def _trend(canvas: Canvas, curve: Mapping[str, Any], points: list[Mapping[str, Any]]) -> None:
    """The line of the reported slope through the middle of the points."""
    slope = curve["slope"]["effect"]
    if slope is None:
        return
    age = sum(p["age"] for p in points) / len(points)
    effect = sum(p["effect"] for p in points) / len(points)
    ends = (points[0]["age"], points[-1]["age"])
    canvas.path([(end, effect + slope * (end - age)) for end in ends], "trend")


def _said(point: Mapping[str, Any], unit: float) -> str:
    def shown(value: float | None) -> str:
        return "open" if value is None else str(amount(value * unit, (point["se"] or 0) * unit, True))

    ends = point["interval"]
    return f"day {point['age']}: {shown(point['effect'])}, interval {shown(ends['low'])} to {shown(ends['high'])}"
