"""Worlds for benchmarks.bandit_regret: 2,000 steps, 10 arms, rewards 0 or 1, as recorded streams.

Every arm's reward is drawn beforehand, so all methods meet the same contexts and luck (common random numbers). A
constant stands last in every context.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.bandit_play import Stream

F64 = NDArray[np.float64]
STEPS, ARMS, DIM = 2_000, 10, 8


def linear(rng: np.random.Generator) -> tuple[F64, F64]:
    """Means .5 + .45 cos(context, arm): a linear model is right."""
    x, arms = _unit(rng.normal(size=(STEPS, DIM))), _unit(rng.normal(size=(ARMS, DIM)))
    return x, 0.5 + 0.45 * x @ arms.T


def logistic(rng: np.random.Generator) -> tuple[F64, F64]:
    """Means sigmoid(x'w + b), w standard normal, b about -1: a logistic model is right."""
    x, arms = rng.normal(size=(STEPS, DIM)), rng.normal(size=(ARMS, DIM))
    return x, _sigmoid(x @ arms.T - 1 + 0.5 * rng.normal(size=ARMS))


def sparse(rng: np.random.Generator) -> tuple[F64, F64]:
    """16 features of which 4 are on, each arm cares for 3, and rewards are rare (about 8% for an arm at random)."""
    on = rng.random((STEPS, 2 * DIM)).argsort(1) < 4
    weight = np.where(rng.random((ARMS, 2 * DIM)).argsort(1) < 3, rng.normal(0, 2, (ARMS, 2 * DIM)), 0.0)
    return on.astype(float), _sigmoid(on.astype(np.float64) @ weight.T - 3)


def drifting(rng: np.random.Generator) -> tuple[F64, F64]:
    """The logistic world whose arms wander: weights of two moments 350 steps apart correlate by a half."""
    x, keep = rng.normal(size=(STEPS, DIM)), 0.5 ** (1 / 350)
    arms, means = rng.normal(size=(ARMS, DIM)), np.empty((STEPS, ARMS))
    for t in range(STEPS):
        means[t] = _sigmoid(arms @ x[t] - 1)
        arms = keep * arms + np.sqrt(1 - keep**2) * rng.normal(size=arms.shape)
    return x, means


WORLDS: dict[str, Callable[[np.random.Generator], tuple[F64, F64]]] = {
    "linear": linear,
    "logistic": logistic,
    "sparse": sparse,
    "drifting": drifting,
}


def record(folder: Path, world: str, seed: int) -> Stream:
    """Makes a stream and keeps it for the interpreters of the peers."""
    rng = np.random.default_rng([seed, list(WORLDS).index(world)])
    x, expected = WORLDS[world](rng)
    rewards = (rng.random(expected.shape) < expected).astype(np.float64)
    stream = Stream(np.concatenate([x, np.ones((STEPS, 1))], axis=1), rewards, expected)
    np.savez(folder / f"{world}-{seed}.npz", **stream._asdict())
    return stream


def uniform_regret(stream: Stream) -> float:
    """Expected regret of drawing arms at random, the unit in which worlds are averaged."""
    return float((stream.expected.max(1) - stream.expected.mean(1)).sum())


def _unit(rows: F64) -> F64:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def _sigmoid(z: F64) -> F64:
    return np.asarray(1 / (1 + np.exp(-z)))
