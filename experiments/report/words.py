"""Numbers as people say them: lifts in percent, small numbers with enough digits."""

from __future__ import annotations

import math

from experiments.analysis.result import Effect


def number(value: float) -> str:
    """Three significant digits, no exponent for what a metric usually is."""
    if not math.isfinite(value):
        return "unknown"
    digits = 2 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 8)}f}"


def percent(share: float) -> str:
    return f"{share:+.2%}" if abs(share) < 0.1 else f"{share:+.1%}"


def change(effect: Effect, estimate: float, low: float | None, high: float | None) -> str:
    """A difference with its interval, in percent of the control; in the metric's unit where the control is about 0."""
    size = abs(effect.control_value)
    relative = math.isfinite(effect.lift) and size > 0

    def told(value: float) -> str:
        return percent(value / size) if relative else f"{value:+.3g}"

    ends = [None if end is None else told(end) for end in (low, high)]
    if ends[0] is not None and ends[1] is not None:
        within = f" ({ends[0]} to {ends[1]})"
    elif ends[0] is not None:
        within = f" (at least {ends[0]})"
    elif ends[1] is not None:
        within = f" (at most {ends[1]})"
    else:
        within = ""
    return told(estimate) + within


def listed(names: list[str]) -> str:
    """a, b and c."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
