"""Worlds of listener-days for `benchmarks.growing_windows`: what each unit does on each day, without any effect.

for day, (value, here) in zip(range(-PRE, DAYS), WORLDS["exchangeable"](rng, (tests, 2, units))): ...

`value` is what the unit did that day and `here` whether the day counts for it (1 from its first exposure on). Days
before 0 are the pre-period, which covariates come from. Values have mean and variance near 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Shape = tuple[int, ...]
DAYS, PRE = 28, 14
World = Callable[[np.random.Generator, Shape], Iterator[tuple[F32, F32]]]
WEEK = np.array([-0.4] * 5 + [1.0] * 2, np.float32)
"""How much more is listened on each weekday; sums to 0."""
ARRIVAL, SILENCE = 0.15, 0.05
"""Chances a day that a unit is first exposed, and that it goes silent for good."""


def _normal(rng: np.random.Generator, shape: Shape, sd: float = 1.0) -> F32:
    return rng.standard_normal(shape, np.float32) * np.float32(sd)


def _ones(shape: Shape) -> F32:
    return np.ones(shape, np.float32)


def _everyday() -> range:
    return range(-PRE, DAYS)


def _after(rng: np.random.Generator, shape: Shape, chance: float) -> NDArray[np.int32]:
    """The day, from 0 on, on which something happens that has this chance each day."""
    return (rng.geometric(chance, shape) - 1).astype(np.int32)


def exchangeable(rng: np.random.Generator, shape: Shape) -> Iterator[tuple[F32, F32]]:
    """All days of a listener equally alike: correlation .3."""
    level, here = 1 + _normal(rng, shape, 0.3**0.5), _ones(shape)
    for _ in _everyday():
        yield level + _normal(rng, shape, 0.7**0.5), here


def autoregressive(rho: float) -> World:
    """Days alike the closer they are: correlation rho to the power of the days between, nothing permanent."""

    def world(rng: np.random.Generator, shape: Shape) -> Iterator[tuple[F32, F32]]:
        state, here = _normal(rng, shape), _ones(shape)
        for _ in _everyday():
            state = np.float32(rho) * state + _normal(rng, shape, (1 - rho**2) ** 0.5)
            yield 1 + state, here

    return world


def permanent(rng: np.random.Generator, shape: Shape) -> Iterator[tuple[F32, F32]]:
    """Skewed, as listening is: a log-normal level for ever, own share of active days, exponential hours on them."""
    level = np.exp(_normal(rng, shape, 0.7) - np.float32(0.245))
    share = 0.2 + 0.7 * rng.random(shape, np.float32)
    level, here = level / np.float32(0.55), _ones(shape)
    for _ in _everyday():
        active = rng.random(shape, np.float32) < share
        yield active * level * rng.standard_exponential(shape, np.float32), here


def staggered(rng: np.random.Generator, shape: Shape) -> Iterator[tuple[F32, F32]]:
    """Units come one after another, 15% of those not yet there a day; days alike as in `exchangeable`."""
    entry = _after(rng, shape, ARRIVAL)
    for day, (value, _) in zip(_everyday(), exchangeable(rng, shape), strict=True):
        yield value, (entry <= day).astype(np.float32)


def weekly(rng: np.random.Generator, shape: Shape) -> Iterator[tuple[F32, F32]]:
    """Weekends differ, and not for everybody alike."""
    level, taste = 1 + _normal(rng, shape, 0.2**0.5), 0.4 + _normal(rng, shape, 0.5)
    here = _ones(shape)
    for day in _everyday():
        yield level + taste * WEEK[day % 7] + _normal(rng, shape, 0.6**0.5), here


def silent(rng: np.random.Generator, shape: Shape) -> Iterator[tuple[F32, F32]]:
    """5% of the listeners a day stop for good; their days go on counting, with nothing in them."""
    end = _after(rng, shape, SILENCE)
    for day, (value, here) in zip(_everyday(), exchangeable(rng, shape), strict=True):
        yield value * (end >= day), here


def everything(rng: np.random.Generator, shape: Shape) -> Iterator[tuple[F32, F32]]:
    """Skewed levels, autocorrelated days (.7), weekends, staggered entry, silence, all at once."""
    entry, end = _after(rng, shape, ARRIVAL), _after(rng, shape, SILENCE)
    level, taste = np.exp(_normal(rng, shape, 0.7) - np.float32(0.245)), 0.4 + _normal(rng, shape, 0.3)
    state = _normal(rng, shape, 0.7)
    for day in _everyday():
        state = np.float32(0.7) * state + _normal(rng, shape, 0.5)
        value = level * np.maximum(1 + state + taste * WEEK[day % 7], 0)
        yield value * (entry + end >= day), (entry <= day).astype(np.float32)


WORLDS: dict[str, World] = {
    "exchangeable, .3": exchangeable,
    "AR(1), .5": autoregressive(0.5),
    "AR(1), .9": autoregressive(0.9),
    "permanent level, skewed": permanent,
    "staggered entry": staggered,
    "weekends": weekly,
    "units go silent": silent,
    "all of it": everything,
}
