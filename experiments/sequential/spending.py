"""Error spending: how much of the allowed error may have been used up at a fraction of the information.

spent(Spending("obrien_fleming"), 0.5, alpha=0.025)

Sources: Lan & DeMets 1983 (O'Brien-Fleming and Pocock types), Kim & DeMets 1987 (power family), Hwang, Shih &
De Cani 1990 (gamma family). The looks need neither be equally spaced nor planned, as long as their times do not
depend on the results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from recsys.errors import BadInput

F64 = NDArray[np.float64]
Kind = Literal["obrien_fleming", "pocock", "power", "gamma"]


@dataclass(frozen=True)
class Spending:
    """A spending function. `parameter` is rho > 0 of the power family (3 is near O'Brien-Fleming, 1 near Pocock),
    or gamma of the gamma family (-4 and 1); the other two have none.

    Raises:
        BadInput: rho is not positive, or gamma is 0 (that is the power family with rho 1).
    """

    kind: Kind = "obrien_fleming"
    parameter: float = 3.0

    def __post_init__(self) -> None:
        if self.kind == "power" and not self.parameter > 0:
            raise BadInput(f"rho of the power family must be positive, not {self.parameter:g}")
        if self.kind == "gamma" and (self.parameter == 0 or not np.isfinite(self.parameter)):
            raise BadInput("gamma must be a number other than 0; power with rho 1 spends evenly")


def spent(spending: Spending, fraction: ArrayLike, alpha: float) -> F64:
    """The error used up at information fractions, for one boundary that may use up `alpha` in all.

    Rises from 0 at fraction 0 to alpha at 1; fractions outside are taken as 0 and 1. A two-sided test at .05 has two
    boundaries of .025 each.
    """
    t = np.clip(np.asarray(fraction, np.float64), 0.0, 1.0)
    if spending.kind == "obrien_fleming":
        with np.errstate(divide="ignore"):
            return np.asarray(2 * norm.sf(norm.isf(alpha / 2) / np.sqrt(t)), np.float64)
    if spending.kind == "pocock":
        return np.asarray(alpha * np.log1p((np.e - 1) * t), np.float64)
    if spending.kind == "power":
        return np.asarray(alpha * t**spending.parameter, np.float64)
    return np.asarray(alpha * np.expm1(-spending.parameter * t) / np.expm1(-spending.parameter), np.float64)
