"""Our policies as players of benchmarks.bandit_regret, each with a grid of four settings."""

from __future__ import annotations

from typing import Any

from bandits.bandit import Bandit
from bandits.bootstrap import BootstrapModel, BootstrapSettings
from bandits.linear import LinearModel, LinearSettings
from bandits.logistic import LogisticModel, LogisticSettings
from bandits.rules import Greedy, InverseGap, Model, Optimistic, PlackettLuce, Rule, Thompson
from benchmarks.peers.bandit_play import F64, Make

FORGET = (0.0, 600.0)  # half-lives in steps
GRIDS: dict[str, list[dict[str, Any]]] = {
    "linear epsilon-greedy": [{"epsilon": e, "half_life": h} for e in (0.02, 0.1) for h in FORGET],
    "linear softmax": [{"temperature": t, "half_life": h} for t in (0.01, 0.03) for h in FORGET],
    "linear ucb": [{"alpha": a, "half_life": h} for a in (0.3, 0.6) for h in FORGET],
    "linear thompson": [{"scale": s, "half_life": h} for s in (0.1, 0.2) for h in FORGET],
    "logistic thompson": [{"scale": s, "half_life": h} for s in (0.3, 0.7) for h in FORGET],
    "logistic ucb": [{"alpha": a, "half_life": h} for a in (0.3, 1.0) for h in FORGET],
    "logistic squarecb": [{"gamma": g, "half_life": h} for g in (400.0, 2000.0) for h in FORGET],
    "bootstrap": [{"scale": s, "half_life": h} for s in (0.5, 1.0) for h in FORGET],
}
SUPPORT = 0.0  # peers explore as their setting says; no share of ours is drawn at random beside it


class Ours:
    """A bandit of ours, one context at a time."""

    def __init__(self, model: Model, rule: Rule, seed: int) -> None:
        self._bandit, self._seed = Bandit(model, rule), seed * 1_000_003

    def select(self, x: F64) -> tuple[int, float]:
        self._seed += 1
        chosen = self._bandit.select(x, self._seed)
        return int(chosen.arms[0]), float(chosen.propensities[0])

    def update(self, x: F64, arm: int, reward: float, probability: float) -> None:  # noqa: ARG002
        self._bandit.partial_fit(x, [arm], [reward])


def player(method: str, setting: dict[str, Any], dim: int, arms: int, seed: int) -> Ours:
    """A player that knows nothing yet."""
    given = dict(setting)
    model = _model(method, {"dim": dim, "arms": arms, "half_life": given.pop("half_life")}, seed)
    return Ours(model, _rule(method, given), seed)


def _model(method: str, size: dict[str, Any], seed: int) -> Model:
    if method == "bootstrap":
        return BootstrapModel(BootstrapSettings(**size, replicas=32, spread=0.5, seed=seed))
    if method.startswith("logistic"):
        return LogisticModel(LogisticSettings(**size))
    return LinearModel(LinearSettings(**size))


def _rule(method: str, given: dict[str, float]) -> Rule:
    if method.endswith("epsilon-greedy"):
        return Greedy(**given)
    if method.endswith("softmax"):
        return PlackettLuce(**given)
    if method.endswith("squarecb"):
        return InverseGap(**given)
    if method.endswith("ucb"):
        return Optimistic(**given, epsilon=SUPPORT)
    return Thompson(**given, samples=256, epsilon=SUPPORT)


def makers() -> dict[str, Make]:
    """A maker of players for each of our methods."""

    def make(method: str) -> Make:
        return lambda setting, dim, arms, seed: player(method, setting, dim, arms, seed)

    return {method: make(method) for method in GRIDS}
