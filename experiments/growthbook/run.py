"""One experiment for one unit, step by step in the order of GrowthBook's SDKs.

run(Context.of({"attributes": {"id": "1"}}), {"key": "my-test", "variations": [0, 1]})
"""

from __future__ import annotations

from typing import Any

from experiments.bucketing import bucket, bucket_ranges, choose
from experiments.conditions import matches
from experiments.growthbook import gates, sticky, urls
from experiments.growthbook.context import Context, Json, Outcome


def run(
    context: Context, experiment: Json, feature: str | None = None, above: tuple[str, ...] = ()
) -> Outcome:
    """The unit's variation. A forced one (query string, context) wins over everything but a disabled context."""
    count = len(experiment["variations"])
    if count < 2 or not context.enabled:
        return _result(context, experiment, -1, feature)
    forced = urls.forced_by(context.url, experiment["key"], count)
    if forced is None:
        forced = context.forced.get(experiment["key"])
    if forced is not None:
        return _result(context, experiment, forced, feature)
    if not experiment.get("active", True):
        return _result(context, experiment, -1, feature)
    return _hashed(context, experiment, feature, above)


def _hashed(context: Context, experiment: Json, feature: str | None, above: tuple[str, ...]) -> Outcome:
    attribute, unit = _identity(context, experiment)
    place = bucket(
        experiment.get("seed", experiment["key"]), gates.text(unit), experiment.get("hashVersion", 1)
    )
    kept, barred = sticky.find(context, experiment)
    out = unit == "" or place is None or barred
    if out or (kept < 0 and not _eligible(context, experiment, gates.text(unit), above)):
        return _result(context, experiment, -1, feature)
    chosen = kept if kept >= 0 else choose(place or 0.0, _ranges(experiment))
    if chosen < 0:
        return _result(context, experiment, -1, feature)
    if "force" in experiment:
        return _result(context, experiment, experiment["force"], feature)
    if context.qa:
        return _result(context, experiment, -1, feature)
    outcome = _result(context, experiment, chosen, feature, place, kept >= 0)
    sticky.keep(context, experiment, attribute, unit, outcome.key)
    if context.exposed is not None:
        context.exposed(experiment, outcome)
    return outcome


def _identity(context: Context, experiment: Json) -> tuple[str, Any]:
    fallback = experiment.get("fallbackAttribute") if sticky.applies(context, experiment) else None
    return context.identity(experiment.get("hashAttribute"), fallback)


def _ranges(experiment: Json) -> list[tuple[float, float]]:
    if "ranges" in experiment:
        return [(a, b) for a, b in experiment["ranges"]]
    return bucket_ranges(
        len(experiment["variations"]), experiment.get("coverage", 1.0), experiment.get("weights")
    )


def _eligible(context: Context, experiment: Json, unit: str, above: tuple[str, ...]) -> bool:
    """Filters or namespace, condition, prerequisites, URL."""
    from experiments.growthbook.features import evaluate

    if not gates.admitted(context, experiment, unit):
        return False
    if not matches(experiment.get("condition", {}), context.attributes, context.groups):
        return False
    for parent in experiment.get("parentConditions", ()):
        found = evaluate(context, parent["id"], above)
        holds = matches(parent.get("condition", {}), {"value": found.value}, context.groups)
        if found.source == "cyclicPrerequisite" or not holds:
            return False
    return "urlPatterns" not in experiment or urls.targeted(context.url, experiment["urlPatterns"])


def _result(
    context: Context,
    experiment: Json,
    variation: int,
    feature: str | None,
    place: float | None = None,
    kept: bool = False,
) -> Outcome:
    """The outcome; a variation that does not exist means the first, not in the experiment. `place`: by hash."""
    inside = 0 <= variation < len(experiment["variations"])
    number = variation if inside else 0
    attribute, unit = _identity(context, experiment)
    metas = experiment.get("meta", ())
    meta = metas[number] if number < len(metas) else {}
    return Outcome(
        value=experiment["variations"][number] if experiment["variations"] else None,
        variation=number,
        in_experiment=inside,
        hash_used=place is not None and inside,
        attribute=attribute,
        unit=unit,
        key=meta.get("key") or str(number),
        feature=feature,
        bucket=place,
        sticky=kept,
        name=meta.get("name"),
        passthrough=bool(meta.get("passthrough")),
        bandit=experiment.get("contextualBandit") if place is not None else None,
    )


def redirect(context: Context) -> tuple[Json, Outcome, str] | None:
    """The first redirect among a context's experiments: (experiment, outcome, address); None to stay."""
    for experiment in context.experiments:
        outcome = run(context, experiment)
        if outcome.in_experiment and "urlRedirect" in (outcome.value or {}):
            keep = experiment.get("persistQueryString", False)
            return experiment, outcome, urls.redirected(context.url, outcome.value["urlRedirect"], keep)
    return None
