"""What a week of an experiment says of the month: differences between arms in expected return, and how sure they are.

effect = long_term_effect(surrogate, treated, control)
effect.total.interval      # listeners, the surrogate's own fit, and how far new policies fall off it

Three errors add up. `se_units`: other listeners would have said something else. `se_fit`: the surrogate was learned
from finitely many. `se_gap`: a policy may act past its signals, as those that taught did when each was left out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from experiments.analysis.effects import Inference, infer
from experiments.analysis.moments import F64
from experiments.long_term.surrogate import Surrogate, clustered_means
from recsys.errors import BadInput


@dataclass(frozen=True)
class LongTermEffect:
    """Expected days of return, treatment minus control.

    Attributes:
        treatment, control: means of the arms.
        within: inference given that the surrogate transfers: listeners and fit.
        total: with the gap; what to read. Where the gap is not known (fewer than three teaching policies) it is
            `within`, and `transfers` is False.
    """

    treatment: float
    control: float
    se_units: float
    se_fit: float
    se_gap: float
    within: Inference
    total: Inference
    transfers: bool
    units: tuple[int, int]

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def long_term_effect(
    surrogate: Surrogate, treated: pl.DataFrame, control: pl.DataFrame, confidence: float = 0.95
) -> LongTermEffect:
    """From two frames of `signals`; a listener in both (simulated worlds, crossover) counts as one.

    Raises:
        BadInput: an arm has fewer than two listeners.
    """
    if min(len(treated), len(control)) < 2:
        raise BadInput("a long-term effect needs two listeners or more in each arm")
    both = pl.concat([treated.select(control.columns), control])
    arm = np.repeat([1, 0], [len(treated), len(control)])
    told = surrogate.predict(both)
    code = both["unit"].cast(pl.String).rank("dense").to_numpy().astype(np.int64) - 1
    mean, covariance = clustered_means(told, arm, code)
    contrast = np.array([-1.0, 1.0])
    se_units = float(np.sqrt(np.maximum(contrast @ covariance @ contrast, 0.0)))
    slope = _slope(surrogate.gradient(both), arm)
    se_fit = float(np.sqrt(np.maximum(slope @ surrogate.covariance @ slope, 0.0)))
    transfers = bool(np.isfinite(surrogate.gap))
    se_gap = float(np.sqrt(2) * surrogate.gap) if transfers else 0.0
    effect = float(mean[1] - mean[0])
    return LongTermEffect(
        float(mean[1]),
        float(mean[0]),
        se_units,
        se_fit,
        se_gap,
        infer(effect, float(np.hypot(se_units, se_fit)), confidence=confidence),
        _total(surrogate, effect, se_units, se_fit, se_gap, confidence),
        transfers,
        (len(treated), len(control)),
    )


def _total(
    surrogate: Surrogate, effect: float, se_units: float, se_fit: float, se_gap: float, confidence: float
) -> Inference:
    """Student's t where the gap counts: it was measured over as many policies as taught."""
    se = float(np.sqrt(se_units**2 + se_fit**2 + se_gap**2))
    df = len(surrogate.policies) - 1.0 if se_gap > 0 else float("inf")
    return infer(effect, se, df, confidence)


def _slope(gradient: F64, arm: NDArray[np.integer]) -> F64:
    return np.asarray(gradient[arm == 1].mean(0) - gradient[arm == 0].mean(0))
