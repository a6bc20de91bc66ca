"""A feature's value: the first of its rules that applies, else its default.

evaluate(Context.of(payload), "new-home").to_json()
"""

from __future__ import annotations

from typing import Any

from experiments.bucketing import bucket
from experiments.conditions import matches
from experiments.growthbook import gates
from experiments.growthbook.context import Context, Feature, Json
from experiments.growthbook.run import run

_COPIED = [
    "coverage",
    "weights",
    "hashAttribute",
    "fallbackAttribute",
    "disableStickyBucketing",
    "bucketVersion",
    "minBucketVersion",
    "namespace",
    "meta",
    "ranges",
    "name",
    "phase",
    "seed",
    "hashVersion",
    "filters",
    "condition",
]


def evaluate(context: Context, name: str, above: tuple[str, ...] = ()) -> Feature:
    """A feature for the unit of a context; `above` are the features whose prerequisite it is."""
    if name in above:
        return Feature(None, "cyclicPrerequisite")
    feature = context.features.get(name)
    if feature is None:
        return Feature(None, "unknownFeature")
    for rule in feature.get("rules", ()):
        found = _rule(context, name, rule, (*above, name))
        if found is not None:
            return found
    return Feature(feature.get("defaultValue"), "defaultValue")


def _rule(context: Context, name: str, rule: Json, above: tuple[str, ...]) -> Feature | None:
    """What one rule says; None where it does not apply."""
    for parent in rule.get("parentConditions", ()):
        above_it = evaluate(context, parent["id"], above)
        if above_it.source == "cyclicPrerequisite":
            return Feature(None, "cyclicPrerequisite")
        if not matches(parent.get("condition", {}), {"value": above_it.value}, context.groups):
            return Feature(None, "prerequisite") if parent.get("gate") else None
    if "filters" in rule and gates.filtered_out(context, rule["filters"]):
        return None
    if "force" in rule:
        applies = matches(rule.get("condition", {}), context.attributes, context.groups)
        if applies and _in_rollout(context, name, rule):
            return Feature(rule["force"], "force", rule.get("id", ""))
        return None
    if "variations" in rule or "contextualVariations" in rule:
        return _experiment(context, name, rule, above)
    return None


def _experiment(context: Context, name: str, rule: Json, above: tuple[str, ...]) -> Feature | None:
    experiment: dict[str, Any] = {"key": rule.get("key", name)} | {k: rule[k] for k in _COPIED if k in rule}
    if "contextualVariations" in rule:
        experiment |= {"variations": rule["contextualVariations"]} | _leaf(context, rule)
    else:
        experiment["variations"] = rule["variations"]
    outcome = run(context, experiment, name, above)
    if not outcome.in_experiment or outcome.passthrough:
        return None
    if not outcome.hash_used:  # forced: no leaf of a bandit had a say
        experiment.pop("contextualBandit", None)
    return Feature(outcome.value, "experiment", rule.get("id", ""), experiment, outcome)


def _leaf(context: Context, rule: Json) -> dict[str, Any]:
    """Weights of a contextual bandit: of the first leaf whose condition holds, else the rule's own (leaf -1)."""
    bandit = context.bandits.get(rule.get("contextualBanditRef", ""))
    if bandit is None:
        return {}
    for leaf in bandit.get("contexts", ()):
        if matches(leaf.get("condition", {}), context.attributes, context.groups):
            number, weights = leaf["leafId"], leaf["weights"]
            break
    else:
        number, weights = -1, rule.get("weights")
    about = {"leafId": number, "variationWeights": weights}
    if "banditVersion" in bandit:
        about["banditVersion"] = bandit["banditVersion"]
    return {"weights": weights, "contextualBandit": about}


def _in_rollout(context: Context, name: str, rule: Json) -> bool:
    """Whether a forced value reaches the unit: its range, else its coverage."""
    span, coverage = rule.get("range"), rule.get("coverage", 1.0)
    if span is None and "coverage" not in rule:
        return True
    if span is None and coverage == 0:
        return False
    fallback = rule.get("fallbackAttribute") if context.sticky is not None else None
    _, unit = context.identity(rule.get("hashAttribute"), fallback)
    if unit == "":
        return False
    place = bucket(rule.get("seed", name), gates.text(unit), rule.get("hashVersion", 1))
    if place is None:
        return False
    return span[0] <= place < span[1] if span is not None else bool(place <= coverage)
