"""Can these logs answer the question? Overlap of the two policies, effective samples, and a test of the weights' mean.

found = overlap(terms.weight, listener)
refusal(found, Limits()); warnings(found, Limits())

Weights have mean 1 where propensities are right and the logging policy can do all that the target does; a mean clearly
off 1 says that one of the two is not so. The effective sample is Kish's (sum w)^2 / sum w^2 (Kish 1965).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from bandits.ope.intervals import difference, standard_error
from bandits.ope.terms import F64, I64, Terms, Units

QUANTILES = (0.5, 0.9, 0.99, 0.999)


class Limits(BaseModel):
    """When an estimate is refused, and when it is only warned about; 0 turns a refusal off."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_effective: float = Field(200, ge=0)  # effective decisions
    min_listeners: float = Field(30, ge=0)  # effective listeners
    max_share: float = Field(0.05, ge=0, le=1)  # of the whole weight, in one decision
    least_p: float = Field(0.01, ge=0, le=1)  # of the tests that weights have mean 1, that assumptions fit


@dataclass(frozen=True)
class Overlap:
    """How far the logged decisions speak for the target policy."""

    decisions: int
    listeners: int
    effective: float  # decisions
    effective_listeners: float
    max_weight: float
    max_share: float  # of one decision in the sum of all weights
    zero_share: float  # decisions that the target would never have taken
    mean: float
    mean_p: float  # of mean 1, listeners as units
    quantiles: dict[str, float]  # of the weights


def overlap(weight: F64, listener: I64) -> Overlap:
    """The figures for (n,) weights of mean 1; `listener` (n,) dense numbers."""
    units = Terms.mean(weight, weight).by_listener(listener)
    size, total = np.abs(weight), np.abs(weight).sum()
    by_listener = np.asarray(np.bincount(listener, size), np.float64)
    return Overlap(
        decisions=len(weight),
        listeners=len(units),
        effective=_kish(size),
        effective_listeners=_kish(by_listener),
        max_weight=float(size.max(initial=0)),
        max_share=float(size.max(initial=0) / total) if total else 1.0,
        zero_share=float((weight == 0).mean()),
        mean=units.value,
        mean_p=_p_of_one(units.value, standard_error(units), len(units)),
        quantiles={f"{q:g}": float(np.quantile(weight, q)) for q in QUANTILES},
    )


def _kish(weight: F64) -> float:
    """Largest weights divided out first, so that no square overflows."""
    top = float(weight.max(initial=0))
    scaled = weight / top if top else weight
    return float(scaled.sum() ** 2 / (scaled @ scaled)) if top else 0.0


def _p_of_one(mean: float, error: float, units: int) -> float:
    from scipy.stats import t

    if error <= 1e-12:
        return 1.0 if abs(mean - 1) < 1e-9 else 0.0
    return float(2 * t.sf(abs(mean - 1) / error, units - 1))


def refusal(found: Overlap, limits: Limits) -> str | None:
    """Why no figure is given, with the way out; None where there is no reason."""
    if found.effective < limits.min_effective:
        return (
            f"{found.decisions} logged decisions count as {found.effective:.0f} for this target, fewer than "
            f"{limits.min_effective:g}: log more, explore more, choose a target nearer to the logging policy, or an "
            "estimator with smaller weights (per slot, MIPS)"
        )
    if found.effective_listeners < limits.min_listeners:
        return (
            f"{found.listeners} listeners count as {found.effective_listeners:.0f}, fewer than "
            f"{limits.min_listeners:g}: intervals over listeners do not hold; log more listeners"
        )
    return None


def warnings(found: Overlap, limits: Limits) -> list[str]:
    """What to be careful about in a figure that is given."""
    said = []
    if found.mean_p < limits.least_p:
        where = "below" if found.mean < 1 else "above"
        said.append(
            f"the weights' mean is {found.mean:.3f}, {where} 1 (p = {found.mean_p:.2g}): propensities are wrong, or "
            "the target does what the logging policy never did"
        )
    if found.max_share > limits.max_share:
        said.append(f"one decision carries {found.max_share:.0%} of the weight")
    return said


def disagreement(units: Units, reference: Units, name: str, limits: Limits) -> list[str]:
    """A warning where an estimate differs from one of fewer assumptions by more than chance (Hausman 1978).

    It finds wrong assumptions only as far as the reference is precise: silence proves nothing.
    """
    from scipy.stats import t

    gap, error = difference(units, reference)
    if error <= 1e-12 or float(2 * t.sf(abs(gap) / error, len(units) - 1)) >= limits.least_p:
        return []
    return [
        f"differs from {name}, which assumes less, by {gap:+.4f} (standard error {error:.4f}): do not trust it"
    ]
