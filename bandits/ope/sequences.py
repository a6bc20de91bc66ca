"""Confidence sequences: limits of an estimate that hold at every look while listeners come in, however many looks.

asymptotic_sequence(units, first=...)       # any estimate; from `first_look` on
betting_sequence(units, low=0, high=20)     # plain means of bounded terms; from the first listener on

A listener enters once, with all the decisions of a period that was fixed beforehand (the first week, say), in an order
that does not depend on rewards: `arrivals` does this. Decisions of one listener that trickle in one by one are no
independent increments, and sequences over them hold nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bandits.ope.intervals import unit_interval
from bandits.ope.terms import F64, I64, Terms, Units
from recsys.errors import BadInput

_BLOCK = 256  # listeners whose bets are laid out at once


def arrivals(terms: Terms, listener: I64, ts: NDArray[np.integer], period: int) -> tuple[Terms, I64]:
    """Each listener's decisions of the `period` that begins with its first, and numbers by order of arrival.

    Args:
        ts: (n,) times of the decisions. period: in the unit of `ts`; listeners whose period has not passed by the
            last decision are left out.

    Raises:
        BadInput: nobody's period has passed.
    """
    count = int(listener.max(initial=-1)) + 1
    first = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(first, listener, ts)
    complete = first + period <= ts.max(initial=0)
    if not complete.any():
        raise BadInput(f"no listener has been here for the period of {period}: take a shorter one")
    order = np.lexsort((np.arange(count), first))
    order = order[complete[order]]
    place = np.full(count, -1)
    place[order] = np.arange(len(order))
    kept = (place[listener] >= 0) & (ts < first[listener] + period)
    part = Terms(terms.top[kept], terms.bottom[kept], terms.weight[kept])
    return part, place[listener[kept]]


def first_look(terms: Terms, listener: I64, effective: float = 200, listeners: int = 100) -> int:
    """How many listeners it takes until decisions count as so many: before, an asymptotic sequence holds nothing.

    It follows from the weights alone, not from rewards.
    """
    total, square = (np.cumsum(np.bincount(listener, part)) for part in (terms.weight, terms.weight**2))
    short = np.flatnonzero(total**2 < effective * square)
    return max(listeners, int(short[-1]) + 2 if len(short) else 1)


def asymptotic_sequence(
    units: Units, level: float = 0.95, first: int = 100, best_at: int | None = None
) -> tuple[F64, F64]:
    """Limits (C,) after each listener, NaN before `first`; asymptotic (Waudby-Smith, Arbour, Sinha, et al. 2024).

    Args:
        best_at: listeners at which it is tightest; all of them where None.
    """
    alpha, t = 1 - level, np.arange(1, len(units) + 1)
    a, b = units.top, units.bottom
    sums = np.cumsum(np.stack([a, b, a * a, a * b, b * b]), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = sums[0] / sums[1]
        variance = np.maximum(sums[2] - 2 * value * sums[3] + value**2 * sums[4], 0) / t / (sums[1] / t) ** 2
    scale = (-2 * np.log(alpha) + np.log(1 - 2 * np.log(alpha))) / (best_at or len(units)) * t  # t rho^2
    radius = np.sqrt(variance * (1 + scale) / (t * scale) * (np.log1p(scale) - 2 * np.log(alpha)))
    radius[: first - 1] = np.nan
    return np.asarray(value - radius), np.asarray(value + radius)


def betting_sequence(
    units: Units, low: float, high: float, level: float = 0.95, grid: int = 400, cap: float = 0.5
) -> tuple[F64, F64]:
    """Limits (C,) after each listener by hedged betting (Waudby-Smith & Ramdas 2024, section 4.3), to a step of a grid.

    A listener's stake against a candidate mean m is the sum over its decisions of (term - m), bounded by low, high and
    the greatest number of decisions; so unequal numbers of decisions are allowed. Half the capital bets on more, half
    on less; m is out once either half is 2 / alpha times what it was.

    Args:
        low, high: as in `intervals.bernstein`; units.count must not exceed what was planned either.

    Raises:
        BadInput: as `bernstein`.
    """
    y, n = unit_interval(units, low, high), units.count / units.count.max()
    alpha, means = 1 - level, np.arange(grid + 1) / grid
    bets = _bets(y, n, alpha / 2)
    with np.errstate(divide="ignore"):
        most_up, most_down = cap / means, cap / (1 - means)
    at_low, at_high = np.zeros(len(y), np.int64), np.full(len(y), grid)
    capital = np.zeros((2, grid + 1))  # logs, of the halves that bet on more and on less
    for begin in range(0, len(y), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        stake, bet = y[rows, None] - means * n[rows, None], bets[rows, None]
        up = capital[0] + np.cumsum(np.log1p(np.minimum(bet, most_up) * stake), axis=0)
        down = capital[1] + np.cumsum(np.log1p(-np.minimum(bet, most_down) * stake), axis=0)
        inside = np.maximum(up, down) < np.log(2 / alpha)
        some = inside.any(axis=1)
        at_low[rows] = np.where(some, inside.argmax(axis=1), 0)
        at_high[rows] = np.where(some, grid - inside[:, ::-1].argmax(axis=1), grid)
        capital = np.stack([up[-1], down[-1]])
    lows = np.maximum(np.maximum.accumulate(at_low) - 1, 0)
    highs = np.minimum(np.minimum.accumulate(at_high) + 1, grid)
    return low + (high - low) * lows / grid, low + (high - low) * highs / grid


def _bets(y: F64, n: F64, alpha: float) -> F64:
    """Bets that depend on earlier listeners only: sqrt(2 log(1/alpha) / (variance * t log(1 + t)))."""
    t = np.arange(1, len(y) + 1)
    mean = (0.5 + np.cumsum(y)) / (1 + np.cumsum(n))
    variance = (0.25 + np.cumsum((y - mean * n) ** 2)) / (t + 1)
    before = np.append(0.25, variance[:-1])
    return np.asarray(np.sqrt(2 * np.log(1 / alpha) / (before * t * np.log1p(t))))
