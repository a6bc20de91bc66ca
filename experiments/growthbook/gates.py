"""Filters and namespaces: which units may be in an experiment at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.bucketing import bucket, choose, in_namespace
from experiments.growthbook.context import Context, Json


def text(unit: Any) -> str:
    """An id as JavaScript writes it."""
    if isinstance(unit, bool):
        return str(unit).lower()
    return str(int(unit)) if isinstance(unit, float) and unit.is_integer() else str(unit)


def filtered_out(context: Context, filters: Sequence[Json]) -> bool:
    """Whether some filter's ranges do not hold the unit."""
    return not all(_passes(context, f) for f in filters)


def _passes(context: Context, one: Json) -> bool:
    _, unit = context.identity(one.get("attribute"))
    if unit == "":
        return False
    place = bucket(one["seed"], text(unit), one.get("hashVersion", 2))
    return place is not None and choose(place, [(a, b) for a, b in one["ranges"]]) >= 0


def admitted(context: Context, experiment: Json, unit: str) -> bool:
    """Filters where there are any, else the namespace."""
    if "filters" in experiment:
        return not filtered_out(context, experiment["filters"])
    return "namespace" not in experiment or in_namespace(unit, *experiment["namespace"])
