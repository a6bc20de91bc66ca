"""Our figures on the data of `benchmarks.agreement`, under the names that the peers' figures have."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.analysis import multiple
from experiments.analysis.bayes import Prior, summary
from experiments.analysis.effects import Inference, difference, lift
from experiments.analysis.estimate import Adjustment, Pair, Term, compare
from experiments.analysis.moments import F64, Moments
from experiments.analysis.proportions import compare_proportions
from experiments.analysis.regression import fit, fit_clustered, fit_hac

NAMES = ("y", "s", "d", "x1", "x2")
P_VALUES = [0.001, 0.2, 0.012, 0.03, 0.6, 0.049]


def ours(data: dict[str, Any]) -> dict[str, float]:
    """Every figure that some peer has, by name."""
    arms = [Moments.of(NAMES, np.array([arm[k] for k in NAMES], float).T) for arm in data["arms"]]

    def pair(term: Term, how: Adjustment = "pooled") -> Pair:
        return compare(arms[0], arms[1], term, how)

    mean, ratio = pair(Term("y")), pair(Term("s", "d"))
    return {
        **_named("mean", difference(mean)),
        **_named("lift of a mean", lift(mean, method="delta")),
        **_named("ratio", difference(ratio)),
        **_named("lift of a ratio", lift(ratio, method="delta")),
        **_named("mean, one slope", difference(pair(Term("y", None, ("x1",))))),
        "mean, one slope, two covariates effect": pair(Term("y", None, ("x1", "x2"))).effect,
        "interacted effect": pair(Term("y", None, ("x1",)), "interacted").effect,
        **_posterior("flat prior", mean, Prior()),
        **_posterior("normal prior", mean, Prior(mean=0.1, sd=0.5)),
        **_proportions(data),
        **_regressions(data),
        **_families(),
    }


def _named(name: str, found: Inference) -> dict[str, float]:
    return {
        f"{name} effect": found.effect,
        f"{name} low": found.interval.low,
        f"{name} high": found.interval.high,
        f"{name} p": found.p_value,
    }


def _posterior(name: str, pair: Pair, prior: Prior) -> dict[str, float]:
    found = summary(pair.effect, pair.se, prior)
    return {
        f"{name} mean": found.mean,
        f"{name} low": found.interval.low,
        f"{name} high": found.interval.high,
        f"{name} chance": found.chance_to_beat,
        f"{name} loss of control": found.loss_control,
        f"{name} loss of treatment": found.loss_treatment,
    }


def _proportions(data: dict[str, Any]) -> dict[str, float]:
    c, t = (arm["b"] for arm in data["arms"])
    found = compare_proportions((sum(c), sum(t)), (len(c), len(t)))
    return {
        "proportion effect": found.effect,
        "proportion se": found.se,
        "score low": found.interval.low,
        "score high": found.interval.high,
        "score p": found.p_value,
    }


def _regressions(data: dict[str, Any]) -> dict[str, float]:
    c, t = data["arms"]
    y, x = (np.array(c[k] + t[k], float) for k in ("y", "x1"))
    w, groups = np.repeat([0.0, 1.0], [len(c["y"]), len(t["y"])]), np.array(c["k"] + t["k"])
    off = x - x.mean()
    design = np.stack([np.ones(len(w)), w, off, w * off], 1)
    second: F64 = np.array([0, 1.0, 0, 0])
    out = {
        f"interacted {kind} se": fit(y, design, kind).combine(second)[1]
        for kind in ("HC0", "HC1", "HC2", "HC3")
    }
    out["clustered se"] = fit_clustered(y, design, groups).combine(second)[1]
    value, on = (np.array(data["series"][k], float) for k in ("value", "treated"))
    line = fit_hac(value, np.stack([np.ones(len(on)), on], 1), 4)
    return {**out, "Newey–West se": line.combine(np.array([0, 1.0]))[1]}


def _families() -> dict[str, float]:
    methods = {
        "holm": multiple.holm,
        "fdr_bh": multiple.benjamini_hochberg,
        "fdr_by": multiple.benjamini_yekutieli,
    }
    return {f"{name} {i}": float(p) for name, by in methods.items() for i, p in enumerate(by(P_VALUES))}
