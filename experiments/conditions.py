"""GrowthBook's condition language: MongoDB-like questions about attributes, for targeting.

matches({"country": {"$in": ["SE", "NO"]}, "plays": {"$gt": 10}}, {"country": "SE", "plays": 12})   # True

Semantics are those of GrowthBook's JavaScript SDK (docs.growthbook.io/lib/build-your-own), JavaScript's loose
comparison of numbers and numeric strings included. A condition that cannot be understood matches nobody here;
`experiments.targeting` refuses it when a config is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from experiments.versions import padded

Groups = Mapping[str, list[Any]]
NOTHING: Groups = {}


def matches(condition: Mapping[str, Any], attributes: Any, groups: Groups = NOTHING) -> bool:
    """Whether attributes meet every clause of a condition; `groups` are the lists that $inGroup names."""
    return all(_clause(key, value, attributes, groups) for key, value in condition.items())


def _clause(key: str, value: Any, attributes: Any, groups: Groups) -> bool:
    if key == "$or":
        return not value or any(matches(part, attributes, groups) for part in value)
    if key == "$nor":
        return not (not value or any(matches(part, attributes, groups) for part in value))
    if key == "$and":
        return all(matches(part, attributes, groups) for part in value)
    if key == "$not":
        return not matches(value, attributes, groups)
    return _holds(value, lookup(attributes, key), groups)


def lookup(attributes: Any, path: str) -> Any:
    """The attribute at a dotted path; None where there is none."""
    found = attributes
    for step in path.split("."):
        if not isinstance(found, Mapping) or step not in found:
            return None
        found = found[step]
    return found


def asks(condition: Mapping[str, Any]) -> set[str]:
    """The attributes that a condition asks about (the first step of a dotted path)."""
    names: set[str] = set()
    for key, value in condition.items():
        if key == "$not":
            names |= asks(value)
        elif key in COMBINED:
            names = names.union(*map(asks, value))
        else:
            names.add(key.split(".")[0])
    return names


def is_operators(condition: Any) -> bool:
    """Whether a value is `{"$op": ...}` and not a literal object."""
    return isinstance(condition, Mapping) and all(key.startswith("$") for key in condition)


def _holds(condition: Any, value: Any, groups: Groups) -> bool:
    if is_operators(condition) and condition:
        return all(_operator(name, value, wanted, groups) for name, wanted in condition.items())
    return same(condition, value)


def same(a: Any, b: Any) -> bool:
    """JSON equality: true and 1 differ, 1 and 1.0 do not."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return bool(a == b)


def kind_of(value: Any) -> str:
    """The JSON type of a value, as $type names it."""
    if value is None:
        return "null"
    for name, kind in (("boolean", bool), ("number", int | float), ("string", str), ("array", list | tuple)):
        if isinstance(value, kind):
            return name
    return "object" if isinstance(value, Mapping) else "unknown"


def _number(value: Any) -> float | None:
    """JavaScript's Number(): null is 0, text is read; None where it is not a number."""
    if value is None:
        return 0.0
    if isinstance(value, str) and not value.strip():
        return 0.0
    if isinstance(value, bool | int | float | str):
        try:
            return float(value)
        except ValueError:
            return None
    return None


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def check(value: Any, wanted: Any) -> bool:
        if isinstance(value, str) and isinstance(wanted, str):
            return compare(value, wanted)
        a, b = _number(value), _number(wanted)
        return a is not None and b is not None and compare(a, b)

    return check


def _versions(compare: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, wanted: compare(padded(value), padded(wanted))


def _fold(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _among(value: Any, wanted: Any, fold: Callable[[Any], Any] = lambda v: v) -> bool:
    """Whether the value, or one item of it, is in a list."""
    have = value if isinstance(value, list | tuple) else [value]
    return any(same(fold(v), fold(w)) for v in have for w in wanted)


def _all(value: Any, wanted: Any, fold: Callable[[Any], Any] = lambda v: v) -> bool:
    if not isinstance(value, list | tuple):
        return False
    return all(any(same(fold(v), fold(w)) for v in value) for w in wanted)


@lru_cache(maxsize=1024)
def pattern(text: str, flags: int = 0) -> re.Pattern[str] | None:
    """A compiled regular expression; None where it is none."""
    try:
        return re.compile(text, flags)
    except re.error:
        return None


def _regex(value: Any, wanted: Any, flags: int = 0) -> bool:
    found = pattern(str(wanted), flags)
    return found is not None and isinstance(value, str) and found.search(value) is not None


LISTS: dict[str, Callable[[Any, Any], bool]] = {
    "$in": _among,
    "$nin": lambda value, wanted: not _among(value, wanted),
    "$ini": lambda value, wanted: _among(value, wanted, _fold),
    "$nini": lambda value, wanted: not _among(value, wanted, _fold),
    "$all": _all,
    "$alli": lambda value, wanted: _all(value, wanted, _fold),
}
"""Operators that want a list."""
PLAIN: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda value, wanted: same(value, wanted),
    "$ne": lambda value, wanted: not same(value, wanted),
    "$lt": _ordered(lambda a, b: a < b),
    "$lte": _ordered(lambda a, b: a <= b),
    "$gt": _ordered(lambda a, b: a > b),
    "$gte": _ordered(lambda a, b: a >= b),
    "$veq": _versions(lambda a, b: a == b),
    "$vne": _versions(lambda a, b: a != b),
    "$vlt": _versions(lambda a, b: a < b),
    "$vlte": _versions(lambda a, b: a <= b),
    "$vgt": _versions(lambda a, b: a > b),
    "$vgte": _versions(lambda a, b: a >= b),
    "$regex": _regex,
    "$regexi": lambda value, wanted: _regex(value, wanted, re.IGNORECASE),
    "$notRegex": lambda value, wanted: not _regex(value, wanted),
    "$notRegexi": lambda value, wanted: not _regex(value, wanted, re.IGNORECASE),
    "$exists": lambda value, wanted: (value is not None) == bool(wanted),
    "$type": lambda value, wanted: kind_of(value) == wanted,
}
NESTED = ("$not", "$size", "$elemMatch")
GROUPED = ("$inGroup", "$notInGroup")
COMBINED = ("$or", "$nor", "$and", "$not")


def _operator(name: str, value: Any, wanted: Any, groups: Groups) -> bool:
    if name in LISTS:
        return isinstance(wanted, list | tuple) and LISTS[name](value, wanted)
    if name in PLAIN:
        return PLAIN[name](value, wanted)
    if name in GROUPED:
        return _among(value, groups.get(wanted, [])) == (name == "$inGroup")
    if name == "$not":
        return not _holds(wanted, value, groups)
    if name == "$size":
        return isinstance(value, list | tuple) and _holds(wanted, len(value), groups)
    if name == "$elemMatch":
        return isinstance(value, list | tuple) and any(_element(wanted, item, groups) for item in value)
    return False


def _element(wanted: Any, item: Any, groups: Groups) -> bool:
    return _holds(wanted, item, groups) if is_operators(wanted) else matches(wanted, item, groups)
