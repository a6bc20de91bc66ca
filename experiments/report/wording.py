"""A metric's values, differences and intervals in words; an effect here is record.Effect as plain data.

change(effect, -0.0038)                              # -0.0038, or -0.38 pp of a proportion
between(change(effect, low), change(effect, high), low, high)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from experiments.report.numbers import amount, decimals_of, missing, percent

Json = Mapping[str, Any]
NO_LOOK = "no interval yet: the rule has not looked"


def plain(text: str) -> str:
    """A shown number without markup, for titles."""
    return str(Markup(text).striptags()) if isinstance(text, Markup) else text


def level(effect: Json, value: float | None, reason: str = "not known: no units yet") -> str:
    """A metric's value in one arm; a proportion as a percentage."""
    if effect["kind"] == "proportion":
        return percent(value, _points(effect["se"]), reason=reason)
    return amount(value, effect["se"], reason=reason)


def change(effect: Json, value: float | None, reason: str = NO_LOOK) -> str:
    """A difference in the metric's unit; of a proportion in percentage points."""
    if value is None:
        return missing(reason)
    if effect["kind"] == "proportion":
        return f"{amount(100 * value, 100 * (effect['se'] or 0), sign=True)} pp"
    return amount(value, effect["se"], sign=True)


def spread(effect: Json, value: float | None) -> str:
    """A size without a sign (an error, a loss) in the metric's unit, two digits."""
    if effect["kind"] == "proportion" and value is not None:
        return f"{amount(100 * value, 100 * value)} pp"
    return amount(value, value, reason="not known: no variance")


def _points(se: float | None) -> int | None:
    return decimals_of(100 * se) if se else None


def between(low_text: str, high_text: str, low: float | None, high: float | None) -> str:
    """An interval in words; one that is open on a side says so."""
    if low is None and high is None:
        return missing(NO_LOOK)
    if high is None:
        return f"above {low_text}"
    return f"below {high_text}" if low is None else f"{low_text} to {high_text}"


def ends(effect: Json, interval: Json) -> str:
    """An interval of a difference."""
    low, high = interval["low"], interval["high"]
    return plain(between(change(effect, low), change(effect, high), low, high))


def lift_ends(interval: Json) -> str:
    """An interval of a lift."""
    low, high = interval["low"], interval["high"]
    return between(percent(low, sign=True), percent(high, sign=True), low, high)


def loss(effect: Json, value: float | None) -> str:
    """An expected loss, in the metric's unit."""
    return missing("not known: no variance") if value is None else spread(effect, value)
