"""Always-valid intervals without asymptotics, for shares and other outcomes within [0, 1].

share(successes, trials, alpha)             # one arm's proportion, from counts at any looks
share_difference(counts, alpha)             # treatment minus control
empirical_bernstein(x, alpha)               # the mean of outcomes in [0, 1], in order of arrival
betting(x, alpha)                           # the same, tighter and slower

They hold from the first unit on, at the cost of width; use them for rare events and small arms, mixture.py else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, xlog1py, xlogy

from experiments.sequential.mixture import running
from recsys.errors import BadInput

F64 = NDArray[np.float64]


def share(
    successes: ArrayLike, trials: ArrayLike, alpha: float, prior: tuple[float, float] = (0.5, 0.5)
) -> tuple[F64, F64]:
    """Limits of a proportion at each look, from cumulative counts; exact for independent units of one proportion.

    Method: beta-binomial mixture (Robbins 1970): those p whose likelihood ratio against the Beta(prior) mixture stays
    below 1 / alpha.

    Raises:
        BadInput: more successes than trials.
    """
    s, n = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(trials, np.float64))
    if (s > n).any() or (s < 0).any():
        raise BadInput("successes must lie between 0 and the trials")
    a, b = prior
    level = betaln(a + s, b + n - s) - betaln(a, b) + np.log(alpha)
    return profile_limits(s, n, level)


def profile_limits(successes: F64, trials: F64, level: F64) -> tuple[F64, F64]:
    """The p between which s log p + (n - s) log(1 - p) stays above a level, by bisection."""

    def inside(p: F64) -> NDArray[np.bool_]:
        return np.asarray(xlogy(successes, p) + xlog1py(trials - successes, -p) >= level)

    best = np.where(trials > 0, successes / np.maximum(trials, 1), 0.5)
    low_out, low_in = np.zeros_like(best), best.copy()
    high_in, high_out = best.copy(), np.ones_like(best)
    for _ in range(60):
        low, high = (low_out + low_in) / 2, (high_in + high_out) / 2
        ok_low, ok_high = inside(low), inside(high)
        low_out, low_in = np.where(ok_low, low_out, low), np.where(ok_low, low, low_in)
        high_in, high_out = np.where(ok_high, high, high_in), np.where(ok_high, high_out, high)
    return low_out, high_out


def share_difference(
    control: tuple[ArrayLike, ArrayLike], treatment: tuple[ArrayLike, ArrayLike], alpha: float
) -> tuple[F64, F64]:
    """Limits of the difference of two proportions, each arm as (successes, trials) so far: alpha / 2 for either arm.

    The union bound costs width and holds whatever the order in which the arms' units arrive.
    """
    low_c, high_c = share(*control, alpha / 2)
    low_t, high_t = share(*treatment, alpha / 2)
    return low_t - high_c, high_t - low_c


def empirical_bernstein(x: ArrayLike, alpha: float, cap: float = 0.5) -> tuple[F64, F64]:
    """Limits (n,) of the mean after each outcome in [0, 1]; only the mean has to stay the same.

    Method: predictable plug-in empirical Bernstein (Waudby-Smith & Ramdas 2024, theorem 2).

    Raises:
        BadInput: an outcome outside [0, 1].
    """
    values = _within(x)
    low = _bernstein_low(values, alpha / 2, cap)
    return running(np.maximum(low, 0.0), np.minimum(1 - _bernstein_low(1 - values, alpha / 2, cap), 1.0))


def _bernstein_low(x: F64, alpha: float, cap: float) -> F64:
    before = np.append(0.0, (np.cumsum(x) / np.arange(1, len(x) + 1))[:-1])
    bets = np.minimum(plug_in_bets(x, alpha), cap)
    cost = (x - before) ** 2 * (-np.log1p(-bets) - bets)
    return np.asarray(
        (np.cumsum(bets * x) - np.log(1 / alpha) - np.cumsum(cost)) / np.cumsum(bets), np.float64
    )


def plug_in_bets(x: F64, alpha: float) -> F64:
    """Bets that each depend on earlier outcomes only: sqrt(2 log(1/alpha) / (variance * t log(1 + t)))."""
    t = np.arange(1, len(x) + 1)
    mean = (0.5 + np.cumsum(x)) / (t + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (t + 1)
    return np.asarray(
        np.sqrt(2 * np.log(1 / alpha) / (np.append(0.25, variance[:-1]) * t * np.log1p(t))), np.float64
    )


def betting(x: ArrayLike, alpha: float, grid: int = 1000, cap: float = 0.5) -> tuple[F64, F64]:
    """Limits (n,) of the mean by hedged betting (Waudby-Smith & Ramdas 2024, section 4.3), to one step of a grid.

    For each mean m on the grid, half the capital is bet on more and half on less; m is out once either half has grown
    to 1 / alpha. Memory is n x 64 numbers.

    Raises:
        BadInput: an outcome outside [0, 1].
    """
    values = _within(x)
    bets = plug_in_bets(values, alpha / 2)  # either half has to grow to 2 / alpha
    n, edges = len(values), np.arange(grid + 1) / grid
    low, high = np.full(n, 1.0), np.full(n, 0.0)
    for part in np.array_split(edges, max(1, len(edges) // 64)):
        alive = _capital(values[:, None], bets[:, None], part, cap) <= np.log(1 / alpha)
        found = alive.any(axis=1)
        low = np.where(found, np.minimum(low, part[alive.argmax(axis=1)]), low)
        high = np.where(found, np.maximum(high, part[len(part) - 1 - alive[:, ::-1].argmax(axis=1)]), high)
    return running(np.maximum(low - 1 / grid, 0.0), np.minimum(high + 1 / grid, 1.0))


def _capital(x: F64, bets: F64, means: F64, cap: float) -> F64:
    """Log capital (n, m) of the better half, at each candidate mean."""
    with np.errstate(divide="ignore"):
        up, down = np.minimum(bets, cap / means), np.minimum(bets, cap / (1 - means))
    gains = np.cumsum(np.log1p(up * (x - means)), axis=0)
    losses = np.cumsum(np.log1p(-down * (x - means)), axis=0)
    return np.asarray(np.maximum(gains, losses) + np.log(0.5), np.float64)


def _within(x: ArrayLike) -> F64:
    values = np.asarray(x, np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise BadInput("outcomes must be a list of numbers within 0 and 1")
    return values
