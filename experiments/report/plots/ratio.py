"""Whether the arms got their shares, day by day: shares less the planned ones, and the p-value to be watched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from markupsafe import Markup

from experiments.report.numbers import count, day, p_value, percent
from experiments.report.plots.canvas import Axis, Canvas, day_ticks, spanning, tick_texts, ticks

HIGH = 190
LEAST_P = 1e-8


def share_plot(ratio: Mapping[str, Any], arms: Sequence[str]) -> Markup:
    """Each arm's share so far less its planned one; at the right the limits that hold at all days together."""
    days = ratio["days"]
    if not days:
        return Markup("")
    off = [[_off(d["counts"], ratio["planned"], i) for i in range(len(arms))] for d in days]
    ends = [_less(ratio[side][i], ratio["planned"][i]) for side in ("low", "high") for i in range(len(arms))]
    settled = [value for row in off[len(off) // 3 :] for value in row]
    canvas = Canvas(_time(days, air=0.9), spanning([0.0, *ends, *settled], HIGH, turned=True))
    values = ticks(canvas.y.low, canvas.y.high, 5)
    canvas.grid(values, tick_texts(values, 100, " pp"))
    canvas.level(0.0, "zero", "as planned")
    _calendar(canvas, days)
    xs = [_number(d["day"]) for d in days]
    for i in range(len(arms)):
        canvas.path(
            [(x, _held(row[i], canvas.y)) for x, row in zip(xs, off, strict=True)], f"line arm{i % 6}"
        )
        canvas.dot(xs[-1], off[-1][i], f"dot arm{i % 6}", 3)
        at = canvas.x.high - (canvas.x.high - xs[-1]) * (i + 1) / (len(arms) + 1)
        canvas.whisker(at, ends[i], ends[i + len(arms)], f"whisker arm{i % 6}")
    for x, d in zip(xs, days, strict=True):
        canvas.hover(x, 1, _said(d, arms, ratio["planned"]))
    return canvas.svg("Share of units by arm, less the planned share, by day.")


def alarm_plot(ratio: Mapping[str, Any]) -> Markup:
    """The sequential p-value by day on a logarithmic axis, with the level at which it raises the alarm."""
    days = [d for d in ratio["days"] if d["p"] is not None]
    if not days:
        return Markup("")
    logs = [math.log10(max(d["p"], LEAST_P)) for d in days]
    bottom = math.log10(ratio["alpha"])
    canvas = Canvas(_time(days), Axis(min(bottom, *logs) - 0.5, 0.25, 110, turned=True))
    powers = list(range(0, math.floor(canvas.y.low), -2 if canvas.y.low < -4 else -1))
    texts = [
        "1" if k == 0 else f"{10.0**k:.{-k}f}".removeprefix("0") if k > -5 else f"10⁻{_raised(-k)}"
        for k in powers
    ]
    canvas.grid(powers, texts)
    canvas.level(bottom, "margin", f"alarm below {ratio['alpha']:g}", above=False)
    _calendar(canvas, days)
    canvas.path([(_number(d["day"]), v) for d, v in zip(days, logs, strict=True)], "effect")
    for d, value in zip(days, logs, strict=True):
        if d is days[-1] or d["day"] == ratio["first"]:
            canvas.dot(_number(d["day"]), value, "dot")
        canvas.hover(_number(d["day"]), 1, f"{day(d['day'])}: p {p_value(d['p'])}")
    return canvas.svg("Sequential p-value of a sample-ratio mismatch, by day.")


def _number(text: str) -> int:
    return date.fromisoformat(text[:10]).toordinal()


def _time(days: Sequence[Mapping[str, Any]], air: float = 0.0) -> Axis:
    first, last = _number(days[0]["day"]), _number(days[-1]["day"])
    span = max(1, last - first)
    return Axis(first - 0.03 * span, last + (0.03 + 0.12 * air) * span, 100)


def _calendar(canvas: Canvas, days: Sequence[Mapping[str, Any]]) -> None:
    whole = day_ticks(_number(days[0]["day"]), _number(days[-1]["day"]))
    canvas.days(whole, [day(date.fromordinal(v).isoformat(), year=False) for v in whole])


def _off(counts: Sequence[int], planned: Sequence[float], arm: int) -> float:
    return counts[arm] / (sum(counts) or 1) - planned[arm]


def _less(value: float | None, planned: float) -> float | None:
    return None if value is None else value - planned


def _held(value: float, axis: Axis) -> float:
    reach = axis.high - axis.low
    return min(max(value, axis.low - reach), axis.high + reach)


def _said(at: Mapping[str, Any], arms: Sequence[str], planned: Sequence[float]) -> str:
    total = sum(at["counts"]) or 1
    rows = [
        f"{arm}: {count(n)} ({percent(n / total, 2)}, planned {percent(w, 2)})"
        for arm, n, w in zip(arms, at["counts"], planned, strict=True)
    ]
    return "\n".join([day(at["day"]), *rows, f"p {p_value(at['p'])}"])


def _raised(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
