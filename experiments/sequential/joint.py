"""Group-sequential bounds where the looks' estimates have any known correlation, not that of independent increments.

upper = upper_bounds(design, correlation, time)          # correlation (k, k) of the estimates at the looks

Estimates that grow by the days of the same units, adjusted for what was before or thinned by units that go silent, can
be correlated more loosely than 1 / se^2 says, and bounds.py then errs more often than alpha. Their correlations are
known from unit-level data (experiments.analysis.looks). Probabilities come from sequential conditioning on truncated
normals (Geweke 1991; Hajivassiliou & McFadden 1998; Keane 1994) over fixed quasi-random points, so that the same looks
give the same bounds. Where both apply, the error that they use up is within .0001 of the recursive integration's at 4
looks and within .001 at 14.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from scipy.stats import qmc

from experiments.sequential.bounds import Design, smallest_alpha
from experiments.sequential.spending import spent
from experiments.sequential.stagewise import Adjusted, report
from recsys.errors import BadInput

F64 = NDArray[np.float64]
POINTS = 13
"""2 to the power of this many points."""
BLOCK = 64
"""Points are drawn for so many looks at a time."""
_LEAST, _FAR = 1e-14, 40.0


class _Walk:
    """The statistics of all looks so far, as weighted points that are still inside their bounds.

    Raises:
        BadInput: the correlations cannot be those of any estimates.
    """

    def __init__(self, correlation: ArrayLike, mean: ArrayLike | None = None) -> None:
        matrix = np.atleast_2d(np.asarray(correlation, np.float64))
        try:
            self.factor = np.linalg.cholesky(matrix + 1e-12 * np.eye(len(matrix)))
        except np.linalg.LinAlgError as error:
            raise BadInput("the correlations of the looks are not those of any estimates") from error
        self.uniform = _points(-(-len(matrix) // BLOCK))
        self.mean = np.zeros(len(matrix)) if mean is None else np.asarray(mean, np.float64)
        self.noise = np.zeros((0, self.uniform.shape[1]))
        self.weight = np.ones(self.uniform.shape[1]) / self.uniform.shape[1]
        self.centre = self._expected()

    def _expected(self) -> F64:
        """Each point's expectation at the next look."""
        k = len(self.noise)
        return np.asarray(self.factor[k, :k] @ self.noise + self.mean[k], np.float64)

    def _gap(self, level: float) -> F64:
        """How far each point's expectation at the next look is above a level, in its remaining spread."""
        spread = self.factor[len(self.noise), len(self.noise)]
        return np.asarray((self.centre - level) / spread, np.float64)

    def above(self, level: float) -> float:
        """P(inside so far, and the next look above the level)."""
        return float(self.weight @ ndtr(self._gap(level)))

    def below(self, level: float) -> float:
        return float(self.weight @ ndtr(-self._gap(level)))

    def stay(self, low: float, high: float) -> None:
        """Goes on with what is inside the bounds at the next look."""
        bottom, top = ndtr(-self._gap(low)), ndtr(-self._gap(high))
        inside = bottom + self.uniform[len(self.noise)] * (top - bottom)
        self.noise = np.vstack([self.noise, ndtri(np.clip(inside, 1e-300, 1 - 1e-16))])
        self.weight = self.weight * (top - bottom)
        self.centre = self._expected()


@lru_cache(maxsize=4)
def _points(blocks: int) -> F64:
    """(looks, points) in (0, 1), always the same: bounds of earlier looks do not change with later ones."""
    drawn = qmc.Sobol(blocks * BLOCK, scramble=True, rng=np.random.default_rng(7)).random_base2(POINTS)
    return np.asarray(np.clip(drawn.T, 1e-12, 1 - 1e-12), np.float64)


def upper_bounds(design: Design, correlation: ArrayLike, time: ArrayLike, final: bool = False) -> F64:
    """Upper bounds (k,) on the z scale, that use up at each look what the spending function allows by `time` (k,).

    With sides 2 the lower ones are their negatives. Futility is not for here.
    """
    walk, two_sided = _Walk(correlation), design.sides == 2
    allowed = np.maximum.accumulate(spent(design.spending, time, design.side_alpha))
    if final:
        allowed[-1] = design.side_alpha
    upper, used = np.full(len(allowed), np.inf), 0.0

    def error(level: float) -> float:
        return (walk.above(level) + walk.below(-level)) / 2 if two_sided else walk.above(level)

    for k, total in enumerate(allowed):
        if total - used >= _LEAST:
            left = total - used
            upper[k] = float(brentq(lambda z: error(z) - left, -_FAR, _FAR, xtol=1e-9))  # noqa: B023
            used += error(float(upper[k]))
        if k + 1 < len(allowed):
            walk.stay(-float(upper[k]) if two_sided else -np.inf, float(upper[k]))
    return upper


def repeated_p(
    design: Design, correlation: ArrayLike, z: float, time: ArrayLike, final: bool = False
) -> float:
    """As bounds.repeated_p, under this correlation."""

    def upper(alpha: float) -> float:
        return float(upper_bounds(replace(design, alpha=alpha), correlation, time, final)[-1])

    return smallest_alpha(upper, abs(z) if design.sides == 2 else z)


def adjusted(
    correlation: ArrayLike,
    se: ArrayLike,
    upper: ArrayLike,
    z: float,
    two_sided: bool = True,
    alpha: float = 0.05,
) -> Adjusted:
    """As stagewise.adjusted, under this correlation; `se` (k,) are the standard errors of the looks."""

    def exceeds(drift: float) -> float:
        return exceedance(correlation, se, upper, z, drift, two_sided)

    return report(exceeds, z, two_sided, alpha)


def exceedance(
    correlation: ArrayLike, se: ArrayLike, upper: ArrayLike, z: float, drift: float, two_sided: bool = True
) -> float:
    """P(an outcome at least as high as z at the last look), where z has mean `drift` there, in the stage-wise
    ordering."""
    shape, over = np.asarray(se, np.float64), 0.0
    walk = _Walk(correlation, drift * shape[-1] / shape)
    for bound in np.asarray(upper, np.float64)[:-1]:
        over += walk.above(float(bound))
        walk.stay(-float(bound) if two_sided else -np.inf, float(bound))
    return over + walk.above(z)
