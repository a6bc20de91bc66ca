"""What GrowthBook's rules are evaluated in, and what comes out.

The names of payload keys are GrowthBook's (camel case), so that a payload of its API is used as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]


@dataclass
class Context:
    """Everything that an evaluation reads; `sticky` is also written, where it is not None.

    Attributes:
        sticky: documents of sticky assignments, by "attribute||value"; None turns stickiness off.
        exposed: called with (experiment, result) when a unit is in an experiment by its hash.
    """

    attributes: Json = field(default_factory=dict)
    features: Json = field(default_factory=dict)
    experiments: tuple[Json, ...] = ()
    groups: Mapping[str, list[Any]] = field(default_factory=dict)
    bandits: Json = field(default_factory=dict)
    forced: Mapping[str, int] = field(default_factory=dict)
    enabled: bool = True
    qa: bool = False
    url: str = ""
    sticky: dict[str, dict[str, Any]] | None = None
    exposed: Callable[[Json, Outcome], None] | None = None

    @classmethod
    def of(cls, payload: Json, sticky: dict[str, dict[str, Any]] | None = None) -> Context:
        """A context from its JSON form, as the SDKs' options name it."""
        return cls(
            attributes=payload.get("attributes", {}),
            features=payload.get("features", {}),
            experiments=tuple(payload.get("experiments", ())),
            groups=payload.get("savedGroups", {}),
            bandits=payload.get("contextualBandits", {}),
            forced=payload.get("forcedVariations", {}),
            enabled=payload.get("enabled", True),
            qa=payload.get("qaMode", False),
            url=payload.get("url", ""),
            sticky=sticky,
        )

    def identity(self, attribute: str | None, fallback: str | None = None) -> tuple[str, Any]:
        """The attribute that is hashed and its value; the fallback's where the first is empty ("" if both are)."""
        name = attribute or "id"
        value = self.attributes.get(name)
        if not value and fallback and self.attributes.get(fallback):
            name, value = fallback, self.attributes[fallback]
        return name, value or ""


@dataclass(frozen=True)
class Outcome:
    """One unit in one experiment."""

    value: Any
    variation: int
    in_experiment: bool
    hash_used: bool
    attribute: str
    unit: Any
    key: str
    feature: str | None = None
    bucket: float | None = None
    sticky: bool = False
    name: str | None = None
    passthrough: bool = False
    bandit: Json | None = None  # leafId, variationWeights, banditVersion of a contextual bandit

    def to_json(self) -> dict[str, Any]:
        """As the SDKs write it."""
        body = {
            "value": self.value,
            "variationId": self.variation,
            "inExperiment": self.in_experiment,
            "hashUsed": self.hash_used,
            "hashAttribute": self.attribute,
            "hashValue": self.unit,
            "key": self.key,
            "featureId": self.feature,
            "stickyBucketUsed": self.sticky,
        }
        optional = {"bucket": self.bucket, "name": self.name, "passthrough": self.passthrough or None}
        return body | {k: v for k, v in optional.items() if v is not None} | dict(self.bandit or {})


@dataclass(frozen=True)
class Feature:
    """A feature's value for one unit, and where it came from."""

    value: Any
    source: str  # unknownFeature, defaultValue, force, experiment, prerequisite, cyclicPrerequisite
    rule: str = ""
    experiment: Json | None = None
    outcome: Outcome | None = None

    def to_json(self) -> dict[str, Any]:
        """As the SDKs write it."""
        on = self.value is not None and self.value is not False and self.value not in ("", 0)
        body = {"value": self.value, "on": on, "off": not on, "source": self.source, "ruleId": self.rule}
        if self.experiment is not None and self.outcome is not None:
            return {**body, "experiment": dict(self.experiment), "experimentResult": self.outcome.to_json()}
        return body
