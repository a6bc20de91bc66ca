"""Settings of the release gate; an unknown key is refused. docs/gate.md says why each default is what it is.

settings = GateSettings.model_validate(yaml.safe_load(text))
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(gt=0, le=1)]
Risk = Annotated[float, Field(gt=0, lt=0.5)]
Margin = Annotated[float, Field(gt=0, le=1)]
Unclear = Literal["stop", "go_on"]
"""What follows where the data cannot tell: stop, or go on (to a canary that is half as large)."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SmokeSettings(_Strict):
    """Does it load and answer?"""

    queries: Annotated[int, Field(ge=1)] = 64  # home pages of real moments
    slower: Annotated[float, Field(gt=0)] = 3.0  # median time over the champion's that is still let through
    psi: Annotated[float, Field(gt=0)] = 1.0  # drift of the utility from the release's own reference


class OfflineSettings(_Strict):
    """Held-out sessions that neither release has seen, ranked by both."""

    queries: Annotated[int, Field(ge=1)] = 1000
    least: Annotated[int, Field(ge=2)] = 100  # queries; with fewer nothing can be told
    metric: Literal["ndcg", "recall", "mrr"] = "ndcg"
    k: Annotated[int, Field(ge=1, le=100)] = 10
    margin: Margin = 0.1  # relative to the champion; against a paired interval of 95%
    unclear: Unclear = "stop"


class OffPolicySettings(_Strict):
    """The champion's logged answers, judged under the challenger's scores."""

    margin: Margin = 0.1  # relative to the champion's reward
    alpha: Risk = 0.025  # one-sided
    estimator: Literal["snips", "ips"] = "snips"
    slots: Annotated[int, Field(ge=1)] = 5  # of each page, the first so many
    days: Annotated[int, Field(ge=1)] = 28  # of the newest logs
    unclear: Unclear = "go_on"


class ShadowStageSettings(_Strict):
    """Requests that the challenger answers too, unseen."""

    share: Share = 0.1
    answers: Annotated[int, Field(ge=1)] = 200  # before it is judged
    days: Annotated[float, Field(gt=0)] = 7.0  # in which they must have come
    failures: Annotated[float, Field(ge=0, le=1)] = 0.01  # share that raised or fell from the first rung
    slower: Annotated[float, Field(gt=0)] = 2.0  # median time over the served answers'
    overlap: Annotated[float, Field(ge=0, le=1)] = 0.02  # of the first ten tracks with the served ones, mean


class Guard(_Strict):
    """A metric of the canary that may not be shown to be worse than the champion's by more than a margin."""

    metric: Literal["reward", "skips", "hours", "failures", "slow"]
    margin: Annotated[float, Field(ge=0)] = 0.0
    scale: Literal["relative", "absolute"] = "relative"


GUARDS = (
    Guard(metric="reward"),
    Guard(metric="skips", margin=0.1),
    Guard(metric="hours", margin=0.1),
    Guard(metric="failures", margin=0.005, scale="absolute"),
    Guard(metric="slow", margin=0.05, scale="absolute"),
)


class CanarySettings(_Strict):
    """The challenger before listeners: first few of them, guarded; then as many as the question needs.

    `share` and `wide_share` are those of all listeners that get the challenger; as many others are compared with.
    """

    share: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    days: Annotated[int, Field(ge=1, le=60)] = 3  # of the first part, at least
    worst: Margin = 0.3  # relative harm to the reward that must be ruled out before the canary grows
    wide_share: Annotated[float, Field(gt=0, le=0.5)] = 0.5
    most_days: Annotated[int, Field(ge=2, le=366)] = 14  # of both parts together; the end, whatever is shown
    looks: Annotated[int, Field(ge=1, le=10)] = (
        2  # at the primary metric, equally spaced after the first part
    )
    guards: tuple[Guard, ...] = GUARDS
    guard_alpha: Risk = 0.05  # of all guards together, over all days
    safe_alpha: Risk = 0.025  # that a release worse by `worst` is let through the first part
    tuned_for: Margin = 0.2  # relative harm to which a guard is most sensitive
    least_units: Annotated[int, Field(ge=20)] = 60  # of both arms; before that nothing is tested
    slow_ms: Annotated[float, Field(gt=0)] = 60.0  # an answer that takes longer is slow

    @model_validator(mode="after")
    def _ordered(self) -> CanarySettings:
        if self.wide_share < self.share:
            raise ValueError("wide_share must not be below share: a canary only grows")
        if self.most_days <= self.days + self.looks - 1:
            raise ValueError("most_days must leave a day for each look after the first part")
        return self


class GateSettings(_Strict):
    """One run of the gate. A stage that is null is left out; the canary cannot be.

    Attributes:
        goal: `improve` asks for reward shown to be better; `not_worse` for reward shown no worse than by `margin`.
        alpha: one-sided; a release no better than the champion (or, with `not_worse`, worse by the margin) is promoted
            with at most this probability.
    """

    goal: Literal["improve", "not_worse"] = "improve"
    margin: Margin | None = None
    alpha: Risk = 0.05
    seed: Annotated[int, Field(ge=0)] = 0
    smoke: SmokeSettings | None = SmokeSettings()
    offline: OfflineSettings | None = OfflineSettings()
    off_policy: OffPolicySettings | None = OffPolicySettings()
    shadow: ShadowStageSettings | None = ShadowStageSettings()
    canary: CanarySettings = CanarySettings()

    @model_validator(mode="after")
    def _goal(self) -> GateSettings:
        if (self.goal == "not_worse") != (self.margin is not None):
            raise ValueError("a margin belongs to the goal not_worse, and is needed there")
        return self
