"""Numbers and times as people read them; the templates' filters. A missing number is an en dash that says why.

amount(0.31237, se=0.0021)        # 0.3124: two digits of its error
percent(0.0213, sign=True)        # +2.1%
"""

from __future__ import annotations

import math
import re
from datetime import date, datetime

from markupsafe import Markup, escape

MISSING = "not known: the data do not say"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def missing(reason: str = MISSING) -> Markup:
    """An en dash with its reason."""
    return Markup('<span class="missing" title="{0}">–<span class="unseen"> ({0})</span></span>').format(
        reason
    )


def fixed(value: float, decimals: int, sign: bool = False) -> str:
    """With thousands separators and a true minus; what rounds to zero has no sign."""
    text = f"{abs(value):,.{decimals}f}"
    if not any(c in "123456789" for c in text):
        return text
    return ("−" if value < 0 else "+" if sign else "") + text


def decimals_of(se: float | None, value: float | None = None) -> int:
    """Decimals that show two digits of an error; without one, four digits of the value."""
    if se is not None and se > 0:
        return min(max(0, 1 - math.floor(math.log10(se))), 10)
    if value:
        return min(max(0, 3 - math.floor(math.log10(abs(value)))), 10)
    return 0


def amount(value: float | None, se: float | None = None, sign: bool = False, reason: str = MISSING) -> str:
    """A number in its own unit."""
    return missing(reason) if value is None else fixed(value, decimals_of(se, value), sign)


def percent(
    value: float | None, decimals: int | None = None, sign: bool = False, reason: str = MISSING
) -> str:
    """A share as a percentage: one decimal, or two digits of a small one."""
    if value is None:
        return missing(reason)
    return f"{fixed(100 * value, _places(value) if decimals is None else decimals, sign)}%"


def _places(value: float) -> int:
    size = abs(100 * value)
    return 1 if size >= 1 or size < 1e-9 else min(1 - math.floor(math.log10(size)), 6)


def chance(value: float | None, reason: str = MISSING) -> str:
    """A probability for people: never quite 0% or 100%."""
    if value is None:
        return missing(reason)
    return "> 99.9%" if value > 0.999 else "< 0.1%" if value < 0.001 else f"{100 * value:.1f}%"


def p_value(value: float | None, reason: str = "nothing to test: no variance, or no look yet") -> str:
    """A p-value as statisticians write it: .032, < .0001."""
    if value is None:
        return missing(reason)
    if value < 0.0001:
        return "< .0001"
    text = f"{value:.4f}" if value < 0.001 else f"{value:.3f}"
    return text.removeprefix("0")


def p_is(value: float | None) -> str:
    """With its name: p = .032, p < .0001."""
    text = p_value(value)
    return text if isinstance(text, Markup) else f"p {'' if text.startswith('<') else '= '}{text}"


def count(value: int | float | None, reason: str = MISSING) -> str:
    return missing(reason) if value is None else f"{value:,.0f}"


def day(text: str | None, year: bool = True) -> str:
    """`2026-12-01...` as 1 Dec 2026; what is no date stays as it is."""
    if not text:
        return missing("no date is set")
    try:
        found = date.fromisoformat(text[:10])
    except ValueError:
        return text
    return f"{found.day} {MONTHS[found.month - 1]}" + (f" {found.year}" if year else "")


def when(text: str | None) -> str:
    """A time as 1 Dec 2026, 08:00 UTC; a bare date as one."""
    if not text or len(text) <= 10:
        return day(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{day(text)}, {at:%H:%M} UTC"


def words(name: str) -> str:
    """`do_not_ship` as `do not ship`."""
    return name.replace("_", " ")


def count_of(n: int | float | None, noun: str) -> str:
    """`1 day`, `2 days`."""
    return f"{count(n)} {noun}{'' if n == 1 else 's'}"


def sentence(text: str) -> str:
    """Ends with a full stop; its beginning stays, for it may be a metric's name."""
    text = text.strip()
    return text + ("" if re.search(r"[.!?…]$", text) else ".") if text else ""


def breaks(text: str) -> Markup:
    """A text whose long names may go on in the next line after each underscore, and not in the middle of a word."""
    return Markup(escape(text).replace("_", Markup("_<wbr>")))


FILTERS = {
    "breaks": breaks,
    "amount": amount,
    "percent": percent,
    "chance": chance,
    "p": p_value,
    "p_is": p_is,
    "count": count,
    "count_of": count_of,
    "day": day,
    "when": when,
    "words": words,
    "sentence": sentence,
}
