"""What every plot is drawn with: axes, round ticks, and an area as wide as the page.

x is in percent of the width, y in pixels, so that text keeps its size on a phone. Paths cannot be in percent: they
stand in an inner drawing of 1000 units that is stretched, with strokes that are not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from experiments.report.numbers import fixed

INNER = 1000
FOOT = 24
"""Pixels below the area, for the labels of the x axis."""


@dataclass(frozen=True)
class Axis:
    """Values from low to high, placed on 0..size; `turned`: high values at 0, as y grows downwards."""

    low: float
    high: float
    size: float
    turned: bool = False

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.size * (1 - share if self.turned else share)

    def clip(self, value: float | None, open_end: float) -> float:
        """The place of a value, held inside; of None, the place of an end that is open."""
        inside = open_end if value is None else min(max(value, self.low), self.high)
        return self.at(inside)

    def holds(self, value: float | None) -> bool:
        return value is not None and self.low <= value <= self.high


def spanning(values: Iterable[float | None], size: float, turned: bool = False, pad: float = 0.07) -> Axis:
    """An axis that holds all finite values, with some air."""
    kept = [v for v in values if v is not None and math.isfinite(v)] or [0.0]
    low, high = min(kept), max(kept)
    air = (high - low) * pad or abs(high) * 0.1 or 1.0
    return Axis(low - air, high + air, size, turned)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between two ends: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def day_ticks(first: int, last: int, most: int = 6) -> list[int]:
    """Days from the first on, in steps of days or weeks that people count in."""
    span = last - first
    step = next((s for s in (1, 2, 7, 14, 28, 56, 91, 182) if span / s < most), 364)
    return list(range(first, last + 1, step))


def tick_texts(values: Sequence[float], scale: float = 1.0, unit: str = "", sign: bool = True) -> list[str]:
    """Tick labels with as many decimals as their step needs."""
    step = abs(values[1] - values[0]) * scale if len(values) > 1 else abs(values[0]) * scale or 1.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [fixed(v * scale, decimals, sign) + unit for v in values]


@dataclass
class Canvas:
    """Collects the parts of one plot; `svg` puts them together."""

    x: Axis  # size 100
    y: Axis  # size in pixels, turned
    under: list[Markup] = field(default_factory=list)  # grid, reference lines
    paths: list[Markup] = field(default_factory=list)  # in the stretched inner drawing
    over: list[Markup] = field(default_factory=list)  # points, whiskers, labels
    left: list[Markup] = field(default_factory=list)  # labels beside the area
    right: list[Markup] = field(default_factory=list)

    def grid(self, values: Sequence[float], texts: Sequence[str]) -> None:
        for value, text in zip(values, texts, strict=True):
            y = self.y.at(value)
            self.under.append(line(0, y, 100, y, "grid"))
            self.left.append(label("100%", y + 4, text, "tick end"))

    def days(self, values: Sequence[float], texts: Sequence[str]) -> None:
        for value, text in zip(values, texts, strict=True):
            x = self.x.at(value)
            place = "start" if x < 6 else "end" if x > 94 else "middle"
            self.over.append(label(f"{x:.2f}%", self.y.size + 17, text, f"tick {place}"))

    def level(self, value: float, kind: str, text: str = "", above: bool = True, right: bool = False) -> None:
        """A line across, with words at one end."""
        y = self.y.at(value)
        self.under.append(line(0, y, 100, y, kind))
        if text:
            x, place = ("99.4%", " end") if right else ("0.6%", "")
            self.over.append(label(x, y - 5 if above else y + 14, text, f"note {kind}-note{place}"))

    def upright(self, value: float, kind: str, text: str = "", row: int = 0) -> None:
        """A line upwards, with words beside its top, in the first row of words or below it."""
        x = self.x.at(value)
        self.under.append(line(x, 0, x, self.y.size, kind))
        if text:
            place = "end" if x > 55 else "start"
            shift = "-4" if place == "end" else "4"
            self.over.append(label(f"{x:.2f}%", 12 + 15 * row, text, f"note {kind}-note {place}", dx=shift))

    def path(self, points: Sequence[tuple[float, float]], kind: str, closed: bool = False) -> None:
        """A line through (x, y) values; `closed` fills it."""
        step = INNER / 100
        at = " ".join(f"{self.x.at(x) * step:.1f},{self.y.at(y):.1f}" for x, y in points)
        shape = "polygon" if closed else "polyline"
        self.paths.append(Markup('<{0} class="{1}" points="{2}"/>').format(Markup(shape), kind, at))

    def whisker(self, x: float, low: float | None, high: float | None, kind: str) -> None:
        """An upright interval; an end that is open, or outside, runs off the area without a cap."""
        bottom, top = self.y.clip(low, self.y.low), self.y.clip(high, self.y.high)
        at = self.x.at(x)
        self.over.append(line(at, bottom, at, top, kind))
        for value, y in ((low, bottom), (high, top)):
            if self.y.holds(value):
                self.over.append(cap(at, y, kind))

    def dot(self, x: float, y: float, kind: str, radius: float = 4.0) -> None:
        if self.y.holds(y):
            at = (self.x.at(x), self.y.at(y))
            self.over.append(
                Markup('<circle class="{}" cx="{:.2f}%" cy="{:.1f}" r="{:g}"/>').format(kind, *at, radius)
            )

    def hover(self, x: float, width: float, text: str) -> None:
        """A column that says something to who points at it; width in the unit of x."""
        left = max(0.0, self.x.at(x - width / 2))
        right = min(100.0, self.x.at(x + width / 2))
        self.over.append(
            Markup(
                '<rect class="hit" x="{:.2f}%" y="0" width="{:.2f}%" height="{:g}"><title>{}</title></rect>'
            ).format(left, right - left, self.y.size, text)
        )

    def svg(self, about: str) -> Markup:
        """The plot; `about` is what it says, for those who cannot see it."""
        high = self.y.size
        inner = Markup(
            '<svg class="paths" width="100%" height="{0:g}" viewBox="0 0 {1} {0:g}" preserveAspectRatio="none">'
            "{2}</svg>"
        ).format(high, INNER, Markup("").join(self.paths))
        parts = Markup("").join([*self.under, inner, *self.over])
        area = Markup('<svg class="area" role="img" aria-label="{}" height="{:g}">{}</svg>').format(
            about, high + FOOT, parts
        )
        return Markup('<div class="plot">{}{}{}</div>').format(
            _beside(self.left, high, "left"), area, _beside(self.right, high, "right")
        )


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A straight line; x in percent, y in pixels."""
    return Markup('<line class="{}" x1="{:.2f}%" y1="{:.1f}" x2="{:.2f}%" y2="{:.1f}"/>').format(
        kind, x1, y1, x2, y2
    )


def cap(x: float, y: float, kind: str) -> Markup:
    """The short bar at an interval's end: 8 pixels, whatever the width of the page."""
    return Markup(
        '<svg x="{:.2f}%" y="{:.1f}" overflow="visible"><path class="{}" d="M-4 0h8"/></svg>'
    ).format(x, y, kind)


def label(x: str, y: float, text: str, kind: str, dx: str = "0") -> Markup:
    return Markup('<text class="{}" x="{}" y="{:.1f}" dx="{}">{}</text>').format(kind, x, y, dx, text)


def _beside(parts: Sequence[Markup], height: float, side: str) -> Markup:
    if not parts:
        return Markup("")
    return Markup('<svg class="beside {}" aria-hidden="true" height="{:g}">{}</svg>').format(
        side, height + FOOT, Markup("").join(parts)
    )
