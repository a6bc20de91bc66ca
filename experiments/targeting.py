"""Checks a targeting condition when the config is read, so that a typo cannot silently target nobody.

for at, message in mistakes(condition, attributes, cohorts): ...
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments.conditions import COMBINED, GROUPED, LISTS, PLAIN, is_operators, pattern
from recsys.schemas import Device, Tier

Mistake = tuple[tuple[str | int, ...], str]
COUNTRY = re.compile(r"[A-Z]{2}")
KNOWN: dict[str, tuple[str, ...] | None] = {
    "id": None,
    "country": None,
    "tier": tuple(tier.value for tier in Tier),
    "platform": tuple(device.value for device in Device),
    "cohort": None,
}
"""Attributes that every request has, and their values where they are few."""
COHORTS = ("new", "known")
"""Cohorts that follow from a listener's history: without any play in it, and with some."""
TEXTS = ("id", "country", "tier", "platform")
OF_LISTS = ("$in", "$nin", "$all", "$size", "$not", "$exists")
"""What can be asked of cohorts with an answer that depends on them."""
OF_LISTS_ALONE = ("$all", "$alli", "$size", "$elemMatch")
TYPES = ("null", "boolean", "number", "string", "array", "object")
ORDERED = tuple(name for name in PLAIN if name.startswith("$v") or name in ("$lt", "$lte", "$gt", "$gte"))
MOST_PATTERN = 200
"""Characters of a regular expression."""


def mistakes(
    condition: Mapping[str, Any], attributes: Mapping[str, tuple[str, ...] | None], groups: Sequence[str]
) -> Iterator[Mistake]:
    """Every mistake in a condition: its place inside it, and what is wrong."""
    for key, wanted in condition.items():
        if key == "$not":
            yield from _inside((key,), wanted, attributes, groups)
        elif key in COMBINED:
            if not isinstance(wanted, list):
                yield (key,), f"{key} wants a list of conditions"
                continue
            for i, part in enumerate(wanted):
                yield from _inside((key, i), part, attributes, groups)
        elif key.startswith("$"):
            yield (key,), f"no such operator: {key}"
        elif key not in attributes:
            yield (key,), f"no attribute is called {key}; known: {', '.join(attributes)}"
        else:
            yield from _clause(key, wanted, attributes[key], groups)


def _inside(
    at: tuple[str | int, ...],
    part: Any,
    attributes: Mapping[str, tuple[str, ...] | None],
    groups: Sequence[str],
) -> Iterator[Mistake]:
    if not isinstance(part, Mapping):
        yield at, "a condition is wanted, like {country: SE}"
        return
    for inner, message in mistakes(part, attributes, groups):
        yield (*at, *inner), message


def _clause(
    key: str, wanted: Any, values: tuple[str, ...] | None, groups: Sequence[str]
) -> Iterator[Mistake]:
    if isinstance(wanted, list):
        yield (key,), f"a list equals nothing here: write {key}: {{$in: [...]}}"
    elif not isinstance(wanted, Mapping):
        if key == "cohort":
            yield (key,), "cohort is a list: write cohort: {$in: [...]}"
        else:
            yield from (((key,), m) for m in _value(key, wanted, values, groups))
    elif not is_operators(wanted) or not wanted:
        yield (key,), "operators are wanted, like {$in: [...]}"
    else:
        for name, argument in wanted.items():
            yield from (((key, name), m) for m in _operator(key, name, argument, values, groups))


def _operator(
    key: str, name: str, argument: Any, values: tuple[str, ...] | None, groups: Sequence[str]
) -> Iterator[str]:
    misused = _misused(key, name, argument)
    if misused:
        yield misused
    elif name in LISTS:
        if not isinstance(argument, list) or not argument:
            yield f"{name} wants a list"
            return
        for one in argument:
            yield from _value(key, one, values, groups)
    elif name in GROUPED:
        if argument not in groups:
            yield f"no cohort is called {argument}"
    elif name in ("$regex", "$regexi", "$notRegex", "$notRegexi"):
        if not isinstance(argument, str) or len(argument) > MOST_PATTERN or pattern(argument) is None:
            yield f"not a regular expression of at most {MOST_PATTERN} characters"
    elif name in ("$eq", "$ne"):
        yield from _value(key, argument, values, groups)
    elif name == "$not":
        for _, message in _clause(key, argument, values, groups):
            yield message
    elif name not in PLAIN and name not in ("$size", "$elemMatch"):
        yield f"no such operator: {name}"


def _misused(key: str, name: str, argument: Any) -> str:
    """Why an operator gives every request the same answer, as it stands; "" where it does not."""
    if key == "cohort" and name not in OF_LISTS:
        return "cohort is a list: write cohort: {$in: [...]} (or {$nin: [...]})"
    if key in TEXTS and name in OF_LISTS_ALONE:
        return f"{name} asks about a list, and {key} is a text"
    if name in GROUPED and key in KNOWN and key != "id":
        return f"a cohort holds ids: write id: {{{name}: ...}}"
    if name == "$exists" and not isinstance(argument, bool):
        return "$exists wants true or false"
    if name == "$type" and argument not in TYPES:
        return f"$type is one of {', '.join(TYPES)}"
    if name == "$size" and (isinstance(argument, bool) or not isinstance(argument, int | Mapping)):
        return "$size wants a number"
    if name in ORDERED and (isinstance(argument, bool) or not isinstance(argument, int | float | str)):
        return f"{name} wants a number or a text"
    return ""


def _value(key: str, value: Any, values: tuple[str, ...] | None, groups: Sequence[str]) -> Iterator[str]:
    if values is not None and value not in values:
        yield f"{key} is one of {', '.join(values)}, not {value!r}"
    elif key == "country" and not (isinstance(value, str) and COUNTRY.fullmatch(value)):
        yield f"a country is two capital letters (ISO 3166-1), not {value!r}"
    elif key == "id" and not isinstance(value, str):
        yield f"an id is a text, not {value!r}: put it in quotation marks"
    elif key == "cohort" and value not in (*COHORTS, *groups):
        yield f"no cohort is called {value}; known: {', '.join((*COHORTS, *groups))}"
