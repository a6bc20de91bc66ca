"""The policies that a loop can run, by name; a new one is an entry of POLICIES.

A policy either has no service (then it is made from the world's public side), or is the champion under some settings,
with what is retrained between days.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from experiments.config import Config
from recsys.errors import BadInput
from recsys.simulation.catalog import Catalog
from recsys.simulation.live import Linear, Policy, Popular, Random
from serving.learning.settings import LearningSettings
from serving.loop.retrain import Retrain
from serving.settings import ServiceSettings

Simple = Callable[[Catalog, int, int], Policy]
"""(catalog, listeners, slots) -> a policy before its first day."""


SETTINGS = ServiceSettings(source_budget_ms=None)
"""Of every service in a loop: no time limits, so that a run can be repeated on any machine."""


@dataclass(frozen=True)
class Served:
    """The champion on a home of its own, and what is trained anew between days.

    `parameters` are settings by dotted path, as arms of experiments set them: they stand in every Decision, so that
    each answer of the loop replays. With `learning`, a model learns from listeners every few simulated hours.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    retrain: Retrain = Retrain.NONE
    learning: LearningSettings | None = None

    @property
    def experiments(self) -> Config:
        """One experiment whose only arm has everybody."""
        arm = {"name": "all", "weight": 1.0, "parameters": dict(self.parameters)}
        always = {"start": "2020-01-01T00:00:00Z", "stop": "2099-01-01T00:00:00Z"}
        loop = {"name": "loop", "salt": "loop", **always, "arms": [arm]}
        return Config.model_validate({"experiments": [loop] if self.parameters else []})


def release(epsilon: float | None = None, retrain: Retrain = Retrain.NONE) -> Served:
    """The champion; `epsilon` replaces the share of its slots that is drawn uniformly."""
    return Served({} if epsilon is None else {"home.epsilon": epsilon}, retrain)


FLOOR_LOSS = 0.15
"""With the surface's own 0.05, a tenth of new releases on a shelf came out as 5% of its slots; with this, as 10%."""


def learned(
    rule: str, epsilon: float, retrain: Retrain = Retrain.NONE, bound: float | None = None, **more: Any
) -> Served:
    """The champion, re-ranked by what was learned from listeners (docs/exploration.md)."""
    own = {"rule": rule, "slate_loss": bound, **more}
    given = {f"home.learned.{name}": value for name, value in own.items() if value is not None}
    floors = {"home.rerank.floor_loss": FLOOR_LOSS}
    return Served({"home.epsilon": epsilon, **floors, **given}, retrain, LearningSettings())


POLICIES: Mapping[str, Simple | Served] = {
    "random": lambda catalog, _listeners, slots: Random(catalog, slots),
    "popularity": lambda catalog, _listeners, slots: Popular.of(catalog, slots),
    "linear": lambda catalog, listeners, slots: Linear.of(catalog, listeners, 0.1, slots),
    "linear_greedy": lambda catalog, listeners, slots: Linear.of(catalog, listeners, 0.0, slots),
    "frozen": release(),
    "greedy": release(0.0),
    "explore": release(0.2),
    "recounted": release(None, Retrain.STATS),
    "retrained": release(None, Retrain.RANKER),
    "greedy_retrained": release(0.0, Retrain.RANKER),
    "learned": learned("thompson", 0.01, bound=0.15),
    "learned_greedy": learned("greedy", 0.0),
    "thompson": learned("thompson", 0.01),
    "ucb": learned("ucb", 0.01),
    "squarecb": learned("inverse_gap", 0.01, bound=0.15),
    "retrained_learned": learned("thompson", 0.01, Retrain.RANKER, 0.15),
}


def known(name: str) -> Simple | Served:
    """The policy of that name; `frozen:home.epsilon=0.1,home.ranked=100` is one under other settings.

    Raises:
        BadInput: there is none, or it has no settings.
    """
    base, _, changes = name.partition(":")
    if base not in POLICIES:
        raise BadInput(f"unknown policy {base!r}: choose among {', '.join(POLICIES)}")
    policy = POLICIES[base]
    if not changes:
        return policy
    if not isinstance(policy, Served):
        raise BadInput(f"{base} has no settings: only policies of a release have")
    pairs = [change.partition("=") for change in changes.split(",")]
    if not all(path and value for path, _, value in pairs):
        raise BadInput(f"settings look like home.epsilon=0.1,home.ranked=100, not {changes!r}")
    more = {path: yaml.safe_load(value) for path, _, value in pairs}
    return Served({**policy.parameters, **more}, policy.retrain, policy.learning)
