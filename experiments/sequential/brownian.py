"""A Brownian motion seen at a few times: what is left of it inside bounds, and what leaves, by recursive integration.

state = START
state = state.step(0.5, -1.2, 1.2, drift=0.0)  # information .5 reached, and S inside (-1.2, 1.2)
state.above(1.0, 2.0, drift=0.0)               # P(came this far inside the bounds, and S > 2 at information 1)

S is the score process, S = z * sqrt(information): Gaussian, independent increments, mean drift * information, variance
information. Group-sequential statistics have this law (Jennison & Turnbull 2000, ch. 3 and 19; Armitage, McPherson &
Rowe 1969). Instead of their Simpson rule on a fixed grid, Gauss-Legendre panels no wider than the smaller of
the steps before and after, so that looks close together stay exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from recsys.errors import BadInput

F64 = NDArray[np.float64]
REACH = 8.5
"""Standard deviations beyond which nothing is integrated (1e-17 of the mass)."""
PANEL = 2.5
"""Width of a panel in standard deviations of an increment; with NODES points exact to about 1e-11."""
NODES = 10
CLOSEST = 1e-3
"""The least share of new information that a look must bring; closer ones would need huge grids and tell nothing."""
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(NODES)
_ROOT = 1 / np.sqrt(2 * np.pi)


@dataclass(frozen=True)
class State:
    """The part of the process that is still inside: positions S (n,) and their mass (n,) at one information."""

    information: float
    points: F64
    mass: F64

    @property
    def remaining(self) -> float:
        return float(self.mass.sum())

    def above(self, information: float, score: ArrayLike, drift: float) -> F64:
        """P(inside so far, and S at `information` above `score`), for each score."""
        step = information - self.information
        level = np.asarray(score, np.float64)
        gap = (self.points + drift * step - level[..., None]) / np.sqrt(step)
        return np.asarray(ndtr(gap) @ self.mass, np.float64)

    def below(self, information: float, score: ArrayLike, drift: float) -> F64:
        """P(inside so far, and S at `information` below `score`), for each score."""
        step = information - self.information
        level = np.asarray(score, np.float64)
        gap = (level[..., None] - self.points - drift * step) / np.sqrt(step)
        return np.asarray(ndtr(gap) @ self.mass, np.float64)

    def step(
        self, information: float, low: float, high: float, drift: float, following: float = np.inf
    ) -> State:
        """The state at `information`, of what lies within (low, high) there.

        `following` is the information of the look after, where known: it says how fine the grid must be.
        """
        step = information - self.information
        centre, spread = drift * information, REACH * np.sqrt(information)
        low, high = max(low, centre - spread), min(high, centre + spread)
        if high <= low:
            return State(information, np.zeros(1), np.zeros(1))
        points, weights = _panels(low, high, PANEL * np.sqrt(min(step, following - information)))
        gap = points[:, None] - self.points - drift * step
        density = np.exp(gap * gap / (-2 * step)) @ self.mass * (_ROOT / np.sqrt(step))
        return State(information, points, weights * density)


START = State(0.0, np.zeros(1), np.ones(1))
"""All mass at S = 0, before any information."""


def _panels(low: float, high: float, width: float) -> tuple[F64, F64]:
    edges = np.linspace(low, high, 1 + max(1, int(np.ceil((high - low) / width))))
    half = (edges[1:] - edges[:-1]) / 2
    points = (edges[:-1] + half)[:, None] + half[:, None] * _POINTS
    return points.ravel(), (half[:, None] * _WEIGHTS).ravel()


@dataclass(frozen=True)
class Exits:
    """Probabilities of leaving first at each of k looks: (k,) upwards and (k,) downwards."""

    upper: F64
    lower: F64

    @property
    def total(self) -> float:
        return float(self.upper.sum() + self.lower.sum())


def exits(
    information: ArrayLike, low: ArrayLike, high: ArrayLike, drift: float, start: State = START
) -> Exits:
    """Where the process leaves the bounds: `low` and `high` are (k,) on the z scale, infinite where there is none.

    Raises:
        BadInput: the information does not rise, or rises by less than a thousandth from one look to the next.
    """
    times = rising(information, start.information)
    lows, highs = np.asarray(low, np.float64), np.asarray(high, np.float64)
    state, up, down = start, np.zeros(len(times)), np.zeros(len(times))
    for k, time in enumerate(times):
        bottom, top = lows[k] * np.sqrt(time), highs[k] * np.sqrt(time)
        up[k] = state.above(time, top, drift) if np.isfinite(top) else 0.0
        down[k] = state.below(time, bottom, drift) if np.isfinite(bottom) else 0.0
        if k + 1 < len(times):
            state = state.step(time, bottom, top, drift, times[k + 1])
    return Exits(up, down)


def rising(information: ArrayLike, after: float = 0.0) -> F64:
    """The information of the looks as an array (k,).

    Raises:
        BadInput: there is no look, or some look brings less than a thousandth of what there is by then.
    """
    times = np.atleast_1d(np.asarray(information, np.float64))
    if times.ndim != 1 or not times.size or not np.isfinite(times).all():
        raise BadInput("the information of the looks must be a list of numbers, at least one")
    step = np.diff(times, prepend=after)
    if ((step <= 0) | (step < CLOSEST * times)).any():
        raise BadInput(
            "each look must add at least a thousandth of its information: merge looks that are closer"
        )
    return times
