"""Sticky buckets: a unit keeps the variation it was given, across changes of weights and of the hashed attribute.

Documents are keyed "attribute||value" and hold assignments keyed "experiment__version".
"""

from __future__ import annotations

from typing import Any

from experiments.growthbook.context import Context, Json

Found = tuple[int, bool]
"""(variation or -1, whether an older version bars the unit)."""


def documents(stored: list[dict[str, Any]], attributes: Json) -> dict[str, dict[str, Any]]:
    """Those of some stored documents that belong to a unit with these attributes."""
    keyed = {f"{d['attributeName']}||{d['attributeValue']}": d for d in stored}
    own = {f"{name}||{value}" for name, value in attributes.items()}
    return {key: document for key, document in keyed.items() if key in own}


def applies(context: Context, experiment: Json) -> bool:
    return context.sticky is not None and not experiment.get("disableStickyBucketing")


def find(context: Context, experiment: Json) -> Found:
    """What is kept of a unit for an experiment; the document of the hashed attribute wins over the fallback's."""
    if not applies(context, experiment):
        return -1, False
    kept = _assignments(context, experiment)
    key = experiment["key"]
    if any(f"{key}__{old}" in kept for old in range(experiment.get("minBucketVersion") or 0)):
        return -1, True
    wanted = kept.get(_key(experiment))
    keys = [meta.get("key") for meta in experiment.get("meta", ())]
    return (keys.index(wanted) if wanted is not None and wanted in keys else -1), False


def keep(context: Context, experiment: Json, attribute: str, unit: Any, variation: str) -> None:
    """Remembers a variation in the document of the attribute that was hashed."""
    if context.sticky is None or not applies(context, experiment):
        return
    before = context.sticky.get(f"{attribute}||{unit}", {})
    context.sticky[f"{attribute}||{unit}"] = {
        "attributeName": attribute,
        "attributeValue": str(unit),
        "assignments": {**before.get("assignments", {}), _key(experiment): variation},
    }


def _key(experiment: Json) -> str:
    return f"{experiment['key']}__{experiment.get('bucketVersion') or 0}"


def _assignments(context: Context, experiment: Json) -> dict[str, str]:
    merged: dict[str, str] = {}
    for name in (experiment.get("fallbackAttribute"), experiment.get("hashAttribute") or "id"):
        if name:
            document = (context.sticky or {}).get(f"{name}||{context.identity(name)[1]}", {})
            merged |= document.get("assignments", {})
    return merged
