"""From logged decisions and a target policy to estimates with intervals, or to the reason why there are none.

report = evaluate(frame, Target("greedier", probability))
print(report.table()); report.to_json()

Estimand: the one-step value of the target policy on the contexts that the logging policy met. Of whole slates: the
mean sum of rewards. Slot by slot (`level="slot"`): the mean reward of a slot, given what the logging policy had placed
above it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from bandits.ope import diagnostics, intervals, sequences
from bandits.ope.catalogue import ESTIMATORS, Data, Estimator, Unavailable, by_slate, by_slot, names
from bandits.ope.diagnostics import Limits
from bandits.ope.frame import Target, prepare
from bandits.ope.report import Estimate, Report
from bandits.ope.reward_model import Features, Model, Ridge
from bandits.ope.terms import F64, Terms, Units
from recsys.errors import BadInput


def evaluate(
    frame: pl.DataFrame,
    target: Target,
    estimators: Sequence[str] | None = None,
    *,
    level: str | None = None,
    features: Features | None = None,
    model: Callable[[], Model] = Ridge,
    folds: int = 5,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    period: int | None = None,
    limits: Limits | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Report:
    """Estimates the value of a target policy.

    Args:
        frame: see `bandits.ope.frame`; rows below the full rung and unlogged ones are left out and counted.
        estimators: names; None: all of the level.
        level: "slot" or "slate"; None: slates where requests have several slots.
        features: of (row, item) pairs, for the reward model; rows are numbered as checked (`prepare`): by request in
            order of appearance, then by slot.
        bounds: by estimator, what one decision's weight * reward cannot leave, known beforehand; gives finite-sample
            intervals.
        period: in units of `ts`; with it, confidence sequences over listeners, each with its first period.

    Raises:
        BadInput: the frame contradicts itself, or an unknown estimator or level.
    """
    rows = prepare(frame, target)
    level = level or ("slate" if rows.slots > 1 else "slot")
    if level not in ("slot", "slate"):
        raise BadInput(f"level is slot or slate, not {level!r}")
    data = by_slate(rows) if level == "slate" else by_slot(rows)
    data.features, data.model, data.folds, data.seed = features, model, folds, seed
    chosen = names(level == "slate") if estimators is None else list(estimators)
    wrong = [name for name in chosen if name not in names(level == "slate")]
    if wrong:
        raise BadInput(
            f"no estimator {', '.join(wrong)} for level {level}: choose among {', '.join(names(level == 'slate'))}"
        )
    reward = np.asarray(np.bincount(data.decision, rows.reward), np.float64)
    baseline = Terms.mean(reward, np.ones(len(reward)))
    options = _Options(
        limits or Limits(), dict(bounds or {}), period, confidence, seed, baseline.by_listener(data.listener)
    )
    return Report(
        target=target.name,
        level=level,
        confidence=confidence,
        decisions=len(reward),
        listeners=len(options.baseline),
        dropped=rows.dropped,
        logging=baseline.value,
        logging_interval=intervals.asymptotic(options.baseline, confidence),
        estimates=[_estimate(name, ESTIMATORS[name], data, options) for name in chosen],
    )


class _Options:
    """What every estimator's intervals share."""

    def __init__(
        self,
        limits: Limits,
        bounds: dict[str, tuple[float, float]],
        period: int | None,
        confidence: float,
        seed: int,
        baseline: Units,
    ) -> None:
        self.limits, self.bounds, self.period = limits, bounds, period
        self.confidence, self.seed, self.baseline = confidence, seed, baseline


def _estimate(name: str, estimator: Estimator, data: Data, options: _Options) -> Estimate:
    if estimator.by_items and data.rows.violations:
        return Estimate(name, estimator.assumes, refused=_unsupported(data))
    try:
        terms = data.terms(name)
    except Unavailable as missing:
        return Estimate(name, estimator.assumes, refused=str(missing))
    found = diagnostics.overlap(terms.weight, data.listener)
    if reason := diagnostics.refusal(found, options.limits):
        return Estimate(name, estimator.assumes, refused=reason, overlap=found)
    said = diagnostics.warnings(found, options.limits)
    said += _against(estimator, terms, data, options.limits)
    if estimator.model_error and not data.fitted.parts:
        said.append("intervals leave the model's own error out: only the default linear model states it")
    units = terms.by_listener(data.listener)
    return Estimate(
        name,
        estimator.assumes,
        value=units.value,
        error=intervals.standard_error(units),
        intervals=_intervals(name, terms, units, data, options),
        lift=units.value - options.baseline.value,
        lift_interval=_lift(units, options),
        parameter=data.parameters.get(name),
        overlap=found,
        warnings=said,
        terms=terms,
    )


def _unsupported(data: Data) -> str:
    return (
        f"on {data.rows.violations} of {len(data.rows.reward)} draws the target may place items that the logging "
        "policy never places: their rewards are nowhere in the logs; keep the target within what is explored, or log "
        "with exploration over all that it may place"
    )


def _against(estimator: Estimator, terms: Terms, data: Data, limits: Limits) -> list[str]:
    """A warning where the estimator differs from one that assumes less, on the same decisions."""
    for other in estimator.against:
        if ESTIMATORS[other].by_items and data.rows.violations:
            continue
        try:
            reference = data.terms(other)
        except Unavailable:
            continue
        if diagnostics.refusal(diagnostics.overlap(reference.weight, data.listener), limits):
            continue
        units, base = (t.by_listener(data.listener) for t in (terms, reference))
        return diagnostics.disagreement(units, base, other, limits)
    return []


def _intervals(name: str, terms: Terms, units: Units, data: Data, options: _Options) -> dict[str, Any]:
    confidence = options.confidence
    found = {
        "asymptotic": intervals.asymptotic(units, confidence),
        "bootstrap": intervals.bootstrap(units, confidence, seed=options.seed),
    }
    bounds = options.bounds.get(name)
    if bounds is not None:
        found["bernstein"] = intervals.bernstein(units, *bounds, confidence)
    if options.period is not None:
        found |= _sequences(terms, data, options, bounds)
    return found


def _sequences(
    terms: Terms, data: Data, options: _Options, bounds: tuple[float, float] | None
) -> dict[str, tuple[float, float]]:
    ts = data.rows.ts
    if ts is None:
        raise BadInput("confidence sequences need a column ts: they follow the order in which listeners came")
    starts = data.rows.first[:-1] if len(data.listener) < len(ts) else np.arange(len(ts))
    part, listener = sequences.arrivals(terms, data.listener, ts[starts], options.period or 0)
    units = part.by_listener(listener)
    first = sequences.first_look(part, listener, options.limits.min_effective)
    found = {"sequence": _last(sequences.asymptotic_sequence(units, options.confidence, first))}
    if bounds is not None:
        found["betting"] = _last(sequences.betting_sequence(units, *bounds, options.confidence))
    return found


def _last(limits: tuple[F64, F64]) -> tuple[float, float]:
    return float(limits[0][-1]), float(limits[1][-1])


def _lift(units: Units, options: _Options) -> tuple[float, float]:
    """Interval of the difference to the logging policy's own value, on the same decisions."""
    lift, error = intervals.difference(units, options.baseline)
    reach = intervals.quantile(len(units), options.confidence) * error
    return lift - reach, lift + reach
