"""From the effect on exposed units to the effect on all: diluted(effect, se, exposed, units).

Analysing exposed units alone is unbiased where the exposure rule is the same in every arm (a counterfactual trigger),
and far more precise than analysing all (Deng & Hu, WSDM 2015). Check the exposed counts for a sample-ratio mismatch
first: a trigger that the treatment itself moves shows there.
"""

from __future__ import annotations

import math

from experiments.analysis.effects import Inference, infer


def diluted(effect: float, se: float, exposed: int, units: int, confidence: float = 0.95) -> Inference:
    """The effect on the mean over all `units`, of whom `exposed` could be touched, of a mean or proportion.

    The trigger rate is an estimate too, and independent of the effect; its variance is added. Ratios and relative
    lifts do not dilute by the rate: recompute them over all units.

    Raises:
        ValueError: more exposed than units, or none.
    """
    if not 0 < exposed <= units:
        raise ValueError("exposed units must be some, and no more than all units")
    rate = exposed / units
    variance = rate**2 * se**2 + effect**2 * rate * (1 - rate) / units
    return infer(rate * effect, math.sqrt(variance), confidence=confidence)
