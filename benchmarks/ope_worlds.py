"""Worlds of logged decisions with a known value of the target policy, for benchmarks/ope_coverage.py.

Listeners have a level and tastes of their own (rewards of one listener are correlated) and a context that they are
often in. Rewards are 0 or 1. Policies see the context, never the listener; the truth is a sum over contexts and items.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bandits.ope.frame import Target
from bandits.ope.reward_model import Features, crossed
from bandits.ope.slate_law import additive_weights, law, marginals

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Draw:
    """One log: what `evaluate` gets, and the truth."""

    frame: pl.DataFrame
    target: Target
    truth: float
    options: dict[str, Any] = field(default_factory=dict)


def softmax(utility: F64, epsilon: float) -> F64:
    weight = np.exp(utility - utility.max(axis=-1, keepdims=True))
    return np.asarray(
        epsilon / utility.shape[-1] + (1 - epsilon) * weight / weight.sum(axis=-1, keepdims=True)
    )


def choose(probability: F64, rng: np.random.Generator) -> I64:
    """(n,) one draw from each row of (n, k) probabilities."""
    edges = probability.cumsum(axis=1)
    drawn = (rng.random(len(edges))[:, None] * edges[:, -1:] >= edges).sum(axis=1)
    return np.asarray(np.minimum(drawn, probability.shape[1] - 1), np.int64)


@dataclass(frozen=True)
class Single:
    """Decisions of one draw among `items` in one of `contexts`.

    Attributes:
        logging, target: (contexts, items). value: (contexts, items) mean reward within .25 and .75.
        context, vectors: features of contexts and items; a model that crosses them is right where `value` is bilinear.
        category: (items,) embedding.
    """

    logging: F64
    target: F64
    value: F64
    context: F64
    vectors: F64
    category: I64
    features: str = "crossed"
    distributions: bool = True
    listeners: int = 400

    @property
    def truth(self) -> float:
        return float((self.target * self.value).sum(axis=1).mean())

    def draw(self, rng: np.random.Generator) -> Draw:
        contexts, items = self.value.shape
        count = 1 + rng.poisson(4, self.listeners)
        who = rng.permutation(np.repeat(np.arange(self.listeners), count))
        usual = rng.integers(0, contexts, self.listeners)
        at = np.where(rng.random(len(who)) < 0.5, usual[who], rng.integers(0, contexts, len(who)))
        item = choose(self.logging[at], rng)
        level = rng.uniform(-0.12, 0.12, self.listeners)[who]
        taste = rng.uniform(-0.12, 0.12, (self.listeners, int(self.category.max()) + 1))
        mean = self.value[at, item] + level + taste[who, self.category[item]]
        columns = {
            "request_id": np.arange(len(who)),
            "listener": who,
            "item": item,
            "propensity": self.logging[at, item],
            "reward": (rng.random(len(who)) < mean).astype(np.float64),
        }
        if not self.distributions:
            return Draw(pl.DataFrame(columns), Target("target", self.target[at, item]), self.truth)
        alike = (self.category == self.category[item][:, None]).astype(np.float64)
        everything = np.broadcast_to(np.arange(items), (len(who), items))
        lists = {"eligible": everything, "logging": self.logging[at], "likelihood": alike}
        frame = pl.DataFrame(
            columns | {name: pl.Series(np.ascontiguousarray(v)) for name, v in lists.items()}
        )
        target = Target("target", self.target[at, item], pl.Series(self.target[at]))
        return Draw(frame, target, self.truth, {"features": self._features(at)})

    def _features(self, at: I64) -> Features:
        if self.features == "crossed":
            return crossed(self.context[at], self.vectors)
        return lambda rows, chosen: np.column_stack([self.context[at[rows]], self.vectors[chosen]])


def bilinear(
    seed: int,
    items: int = 10,
    sharpness: float = 2.0,
    logging: float = 1.0,
    epsilon: float = 0.2,
    reverse: bool = False,
    **settings: Any,
) -> Single:
    """Mean rewards bilinear in context and item vectors; both policies are softmax of them, more or less sharp."""
    rng = np.random.default_rng(seed)
    context, vectors = rng.normal(size=(30, 2)), rng.normal(size=(items, 2))
    score = context @ vectors.T
    value = 0.5 + 0.25 * score / np.abs(score).max()
    unit = score / score.std()
    base = softmax(logging * (-unit if reverse else unit), epsilon)
    return Single(
        base, softmax(sharpness * unit, 0.02), value, context, vectors, np.arange(items) % 5, **settings
    )


def crooked(seed: int) -> Single:
    """A reward that the model (main effects of context and item alone) cannot tell."""
    world = bilinear(seed)
    return Single(**{**vars(world), "features": "main"})


def unsupported(seed: int, distributions: bool) -> Single:
    """The logging policy never places two of ten items, which the target does."""
    world = bilinear(seed)
    base = world.logging.copy()
    base[:, :2] = 0
    return Single(
        **{**vars(world), "logging": base / base.sum(axis=1, keepdims=True), "distributions": distributions}
    )


def categories(seed: int, direct: float) -> Single:
    """50 items in 8 categories; rewards follow the category, plus `direct` of the item that the target likes."""
    rng = np.random.default_rng(seed)
    category = np.arange(50) % 8
    by_category = rng.normal(size=(30, 8))
    own = rng.normal(size=(30, 50))
    score = by_category[:, category]
    value = 0.5 + 0.12 * np.tanh(score) + direct * np.tanh(own)
    base, target = softmax(0.3 * score, 0.2), softmax(score + 1.5 * own, 0.02)
    return Single(base, target, value, by_category, np.eye(8)[category], category, "main", listeners=450)


@dataclass(frozen=True)
class Slates:
    """Three slots filled without repeats from six items, in eight contexts; `kind`: what a reward hangs on."""

    kind: str  # additive, cascade, interaction
    seed: int
    listeners: int = 400
    sharpness: float = 1.5

    def tables(self) -> dict[str, Any]:
        """Per context: all slates, both laws, mean rewards (slates, 3), marginals and pseudo-inverse weights."""
        score = _score(self)
        found: dict[str, list[Any]] = {
            k: [] for k in ("logging", "target", "mean", "own", "other", "additive")
        }
        for at in range(8):
            slates, logging = law(_without_repeats(0.4 * score[at], 0.3), 6, 3)
            _, target = law(_without_repeats(self.sharpness * score[at], 0.05), 6, 3)
            base = 0.55 + 0.12 * np.tanh(score[at])[slates] - 0.04 * np.arange(3)
            found["mean"].append(base - self._interplay(score[at], slates))
            found["logging"].append(logging)
            found["target"].append(target)
            found["own"].append(marginals(slates, target, 6))
            found["other"].append(marginals(slates, logging, 6))
            found["additive"].append(additive_weights(slates, logging, target, 6))
        return {"slates": slates} | {name: np.array(values) for name, values in found.items()}

    def _interplay(self, score: F64, slates: I64) -> F64:
        """(slates, 3) what a neighbour takes from a slot's reward: two good items side by side lose most."""
        out, good = np.zeros(slates.shape), 1 / (1 + np.exp(-2 * score))
        lost = 0.35 * good[slates[:, :-1]] * good[slates[:, 1:]]
        if self.kind == "cascade":  # the slot above
            out[:, 1:] = lost
        if self.kind == "interaction":  # the slot below
            out[:, :-1] = lost
        return out


def _without_repeats(score: F64, epsilon: float) -> Any:
    """The next slot's distribution given the items placed: softmax over the rest, mixed with uniform."""

    def next_slot(prefix: tuple[int, ...]) -> F64:
        rest = np.ones(len(score), bool)
        rest[list(prefix)] = False
        weight = np.exp(score) * rest
        return np.asarray(epsilon * rest / rest.sum() + (1 - epsilon) * weight / weight.sum())

    return next_slot


@dataclass(frozen=True)
class SlateWorld:
    """A slate world with its tables, ready to draw from."""

    world: Slates
    tables: dict[str, Any]

    @classmethod
    def of(cls, kind: str, seed: int, **settings: Any) -> SlateWorld:
        world = Slates(kind, seed, **settings)
        return cls(world, world.tables())

    @property
    def truth(self) -> float:
        return float((self.tables["target"] * self.tables["mean"].sum(axis=2)).sum(axis=1).mean())

    def draw(self, rng: np.random.Generator) -> Draw:
        t, listeners = self.tables, self.world.listeners
        who = rng.permutation(np.repeat(np.arange(listeners), 1 + rng.poisson(4, listeners)))
        at = rng.integers(0, 8, len(who))
        drawn = choose(t["logging"][at], rng)
        slates: I64 = t["slates"][drawn]
        level = rng.uniform(-0.08, 0.08, listeners)[who]
        reward = (rng.random(slates.shape) < t["mean"][at, drawn] + level[:, None]).astype(np.float64)
        score = _score(self.world)[at]
        base = _conditionals(0.4 * score, 0.3, slates)
        own = _conditionals(self.world.sharpness * score, 0.05, slates)
        rows = {"request_id": np.repeat(np.arange(len(who)), 3), "listener": np.repeat(who, 3)}
        place = np.arange(3)
        frame = pl.DataFrame(
            rows
            | {
                "slot": np.tile(place, len(who)),
                "item": slates.ravel(),
                "propensity": _logged(base, slates),
                "reward": reward.ravel(),
                "marginal": t["other"][at[:, None], place, slates].ravel(),
                "eligible": pl.Series(np.tile(np.arange(6), (3 * len(who), 1))),
                "logging": pl.Series(base.reshape(-1, 6)),
            }
        )
        target = Target(
            "target",
            _logged(own, slates),
            pl.Series(own.reshape(-1, 6)),
            t["own"][at[:, None], place, slates].ravel(),
            np.repeat(t["additive"][at, drawn], 3),
        )
        return Draw(frame, target, self.truth, {"features": slate_features(at, slates)})


def _score(world: Slates) -> F64:
    return np.random.default_rng(world.seed).normal(size=(8, 6))


def _conditionals(score: F64, epsilon: float, slates: I64) -> F64:
    """(n, 3, 6) distribution of each slot along the given slates."""
    rest = np.ones((len(slates), 3, 6), bool)
    for k in (1, 2):
        rest[:, k] = rest[:, k - 1]
        rest[np.arange(len(slates)), k, slates[:, k - 1]] = False
    weight = np.exp(score)[:, None] * rest
    even = rest / rest.sum(axis=2, keepdims=True)
    return np.asarray(epsilon * even + (1 - epsilon) * weight / weight.sum(axis=2, keepdims=True))


def _logged(conditionals: F64, slates: I64) -> F64:
    return np.take_along_axis(conditionals, slates[:, :, None], axis=2).ravel()


def slate_features(at: I64, slates: I64) -> Features:
    """Of a (slot row, item) pair: context, item and item above, one-hot."""

    def pairs(rows: I64, chosen: NDArray[Any]) -> F64:
        request, slot = np.divmod(rows, 3)
        above = np.where(slot > 0, slates[request, np.maximum(slot - 1, 0)], 6)
        return np.column_stack([np.eye(8)[at[request]], np.eye(6)[chosen], np.eye(7)[above]])

    return pairs


WORLDS: dict[str, Any] = {
    "clustered listeners, good overlap": lambda: bilinear(1),
    "small overlap": lambda: bilinear(
        2, sharpness=1.5, logging=0.5, epsilon=0.1, reverse=True, listeners=800
    ),
    "wrong reward model": lambda: crooked(3),
    "too little overlap": lambda: bilinear(
        4, sharpness=4.0, logging=2.0, epsilon=0.05, reverse=True, listeners=200
    ),
    "no support, distributions known": lambda: unsupported(5, True),
    "no support, propensities alone": lambda: unsupported(5, False),
    "rewards by category": lambda: categories(6, 0.0),
    "rewards by item too": lambda: categories(6, 0.12),
    "slates, additive rewards": lambda: SlateWorld.of("additive", 7),
    "slates, cascade": lambda: SlateWorld.of("cascade", 8),
    "slates, interaction": lambda: SlateWorld.of("interaction", 9),
}
_DR = {"ips", "snips", "dr"}
HOLDS: dict[str, set[str]] = {
    "clustered listeners, good overlap": _DR | {"dm", "switch_dr", "dr_shrunk"},
    "small overlap": _DR | {"dm", "switch_dr", "dr_shrunk"},
    "wrong reward model": _DR,
    "too little overlap": _DR | {"dm", "switch_dr", "dr_shrunk"},
    "no support, distributions known": set(),
    "no support, propensities alone": set(),
    "rewards by category": _DR | {"mips"},
    "rewards by item too": _DR,
    "slates, additive rewards": {
        "slate_ips", "slate_snips", "independent_ips", "reward_interaction_ips", "cascade_dr", "pseudo_inverse",
    },
    "slates, cascade": {"slate_ips", "slate_snips", "reward_interaction_ips", "cascade_dr"},
    "slates, interaction": {"slate_ips", "slate_snips"},
}  # fmt: skip
"""World -> estimators whose assumptions hold there. The direct method and its kin: where the model is right."""
