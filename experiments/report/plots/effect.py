"""A metric's effect as it stood day by day: what may be believed, the naive interval behind it, looks, zero, margin."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from markupsafe import Markup

from experiments.report.numbers import amount, count, day
from experiments.report.plots.canvas import Axis, Canvas, day_ticks, spanning, tick_texts, ticks

HIGH = 260
RUNNING = "running"


def effect_plot(
    trail: Sequence[Mapping[str, Any]],
    *,
    metric: str,
    kind: str = "",
    margin: float | None = None,
    control: float | None = None,
    end: str | None = None,
    next_look: str | None = None,
    height: int = HIGH,
) -> Markup:
    """The plot; nothing without points.

    Args:
        trail: record.Point as plain data, oldest first.
        kind: the metric's; a proportion is drawn in percentage points.
        margin: where "worse than the margin" begins, signed, in the metric's unit.
        control: the control's value, for the labels in percent at the right.
        end: the planned end, which the time axis reaches.
    """
    if not trail:
        return Markup("")
    x = _time(trail, end)
    canvas = Canvas(x, _effects(trail, margin, height))
    _scales(canvas, kind, control)
    _marks(canvas, trail, margin, end, next_look)
    _intervals(canvas, trail)
    unit = 100.0 if kind == "proportion" else 1.0
    for point in trail:
        canvas.hover(_number(point["day"]), 1, _said(point, unit))
    last = trail[-1]
    about = (
        f"Effect on {metric} by day. On {day(last['day'])} it is {amount(last['effect'], last['se'], True)}."
    )
    return canvas.svg(about)


def _number(text: str) -> int:
    return date.fromisoformat(text[:10]).toordinal()


def _time(trail: Sequence[Mapping[str, Any]], end: str | None) -> Axis:
    days = [_number(p["day"]) for p in trail]
    if end:
        days.append(
            _number(end) - 1
        )  # the planned end is a moment: the last day that counts is the one before it
    first, last = min(days), max(days)
    air = max(0.6, 0.025 * (last - first))
    return Axis(first - air, last + air, 100)


def _effects(trail: Sequence[Mapping[str, Any]], margin: float | None, height: int) -> Axis:
    """What the later days need: the first ones are wide, and would press all else flat."""
    early = len(trail) // 4
    settled = trail[len(trail) // 2 :]
    believed = [p for p in trail if _bounded(p)][-max(1, len(trail) // 3) :]
    values: list[float | None] = [0.0, margin, *(p["effect"] for p in trail[early:])]
    values += [p[side] for p in settled for side in ("naive_low", "naive_high")]
    values += [p[side] for p in believed[len(believed) // 3 :] for side in ("low", "high")]
    return spanning(values, height, turned=True)


def _looks(trail: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The planned looks, where there are only some: a rule that looks every day needs no marks."""
    looks = [p for p in trail if p["planned"]]
    return looks if 2 * len(looks) < max(len(trail), 6) else []


def _bounded(point: Mapping[str, Any]) -> bool:
    return point["low"] is not None or point["high"] is not None


def _scales(canvas: Canvas, kind: str, control: float | None) -> None:
    values = ticks(canvas.y.low, canvas.y.high)
    points = kind == "proportion"
    canvas.grid(values, tick_texts(values, 100 if points else 1, " pp" if points else ""))
    if control and not points:
        low, high = canvas.y.low / abs(control), canvas.y.high / abs(control)
        shares = ticks(low, high)
        for share, text in zip(shares, tick_texts(shares, 100, "%"), strict=True):
            y = canvas.y.at(share * abs(control))
            canvas.right.append(Markup('<text class="tick" x="0" y="{:.1f}">{}</text>').format(y + 4, text))
    whole = day_ticks(math.ceil(canvas.x.low), math.floor(canvas.x.high))
    canvas.days(whole, [day(date.fromordinal(v).isoformat(), year=False) for v in whole])


def _marks(
    canvas: Canvas,
    trail: Sequence[Mapping[str, Any]],
    margin: float | None,
    end: str | None,
    next_look: str | None,
) -> None:
    canvas.level(0.0, "zero", "no effect", above=(margin or -1.0) < 0 and canvas.y.at(0.0) > 55, right=True)
    if margin is not None:
        canvas.level(margin, "margin", "margin: beyond it is too bad", above=margin > 0, right=True)
    for point in _looks(trail):
        canvas.upright(_number(point["day"]), "look")
    crossed = next((p for p in trail if p["outcome"] != RUNNING), None)
    if crossed is not None:
        canvas.upright(
            _number(crossed["day"]), "crossed", f"{crossed['outcome']}, {day(crossed['day'], False)}"
        )
    last = _number(trail[-1]["day"])
    if next_look and _number(next_look) > last:
        canvas.upright(_number(next_look), "next", f"next look {day(next_look, False)}", 1)
    if end and _number(end) - 1 > last and (not next_look or _number(next_look) < _number(end) - 1):
        canvas.upright(_number(end) - 1, "next", "planned end", 2)


def _intervals(canvas: Canvas, trail: Sequence[Mapping[str, Any]]) -> None:
    drawn = [p for p in trail if p["effect"] is not None]
    xs = [_number(p["day"]) for p in drawn]
    _band(canvas, [p for p in drawn if p["naive_low"] is not None and p["naive_high"] is not None], "naive")
    bounded = [p for p in drawn if _bounded(p)]
    if 2 * len(bounded) > len(drawn) > 1:
        _band(canvas, bounded, "believed")
    canvas.path([(x, p["effect"]) for x, p in zip(xs, drawn, strict=True)], "effect")
    if 2 * len(bounded) <= len(drawn) or len(drawn) == 1:
        for p in bounded:
            canvas.whisker(_number(p["day"]), p["low"], p["high"], "whisker")
    for x, p in zip(xs, drawn, strict=True):
        crossed = p["outcome"] != RUNNING and p is next(q for q in drawn if q["outcome"] != RUNNING)
        if p in _looks(drawn) or p is drawn[-1] or crossed:
            canvas.dot(x, p["effect"], "dot" + (" ring" if crossed else ""), 5 if crossed else 4)


def _band(canvas: Canvas, points: Sequence[Mapping[str, Any]], kind: str) -> None:
    """A filled area between the limits, with its edges; an open side reaches to the area's edge."""
    if len(points) == 1 and kind == "naive":
        p = points[0]
        canvas.whisker(_number(p["day"]), p["naive_low"], p["naive_high"], "naive whisker")
    if len(points) < 2:
        return
    reach = 4 * (canvas.y.high - canvas.y.low)
    keys = ("naive_low", "naive_high") if kind == "naive" else ("low", "high")
    open_ends = (canvas.y.low - reach, canvas.y.high + reach)
    sides = [
        [(_number(p["day"]), _inside(p[key], open_end, reach, canvas.y)) for p in points]
        for key, open_end in zip(keys, open_ends, strict=True)
    ]
    canvas.path([*sides[0], *reversed(sides[1])], f"{kind} band", closed=True)
    for side in sides:
        canvas.path(side, f"{kind} edge")


def _inside(value: float | None, open_end: float, reach: float, axis: Axis) -> float:
    """Far outside is as good as the edge, and keeps the numbers of the drawing small."""
    return open_end if value is None else min(max(value, axis.low - reach), axis.high + reach)


def _said(point: Mapping[str, Any], unit: float) -> str:
    def shown(value: float | None, none: str = "open") -> str:
        se = None if point["se"] is None else point["se"] * unit
        return none if value is None else str(amount(value * unit, se, True))

    lines = [
        f"{day(point['day'])}{', planned look' if point['planned'] else ''}",
        f"effect {shown(point['effect'], 'not known')}, {count(point['units'])} units",
    ]
    if _bounded(point):
        lines.append(f"may be believed: {shown(point['low'])} to {shown(point['high'])}")
    lines.append(f"one look only: {shown(point['naive_low'])} to {shown(point['naive_high'])}")
    if point["z"] is not None:
        bound = "" if point["bound"] is None else f", bound {point['bound']:.2f}"
        lines.append(f"z {point['z']:.2f}{bound}".replace("-", "−"))
    if point["outcome"] != RUNNING:
        lines.append(f"the rule said: {point['outcome']}")
    return "\n".join(lines)
