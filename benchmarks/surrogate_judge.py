"""How well first days order policies: Kendall's tau with intervals, arms of separate listeners, coverage of intervals.

Used by benchmarks/surrogate.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from experiments.analysis.moments import F64
from experiments.long_term.effects import long_term_effect
from experiments.long_term.surrogate import Surrogate

DRAWS, SPLITS = 1_000, 400
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Judged:
    """P held-out policies under S lucks, n listeners: what was foretold and what came, (P, S, n) each."""

    names: tuple[str, ...]
    lucks: int
    frames: dict[tuple[str, int], pl.DataFrame]
    surrogate: Surrogate
    told: F64
    streams: F64
    home: F64
    before: F64  # (S, covariates, n) fixed before any policy acted
    true: F64
    back: F64


def kendall(a: F64, b: F64, which: I64) -> float:
    """Kendall's tau-a of two orders over pairs of different policies (a resample holds some twice)."""
    i, j = np.triu_indices(len(which), 1)
    apart = which[i] != which[j]
    i, j = which[i[apart]], which[j[apart]]
    return float(np.mean(np.sign(a[i] - a[j]) * np.sign(b[i] - b[j])))


def agreement(found: Judged) -> dict[str, dict[str, float]]:
    """Tau of each ordering with the truth, mean over lucks, and the surrogate's less that of streams.

    Each luck's first days are held against the mean truth of the others. Intervals (95%, percentile) resample policies,
    lucks and listeners together, the same draws for all orderings.
    """
    every = {
        "surrogate": found.told,
        "streams": found.streams,
        "home streams": found.home,
        "true": found.true,
    }
    policies, lucks = np.arange(len(found.names)), np.arange(found.lucks)
    rng, n = np.random.default_rng(0), found.true.shape[2]
    here = _taus({name: value.mean(2) for name, value in every.items()}, policies, lucks)
    drawn = []
    for _ in range(DRAWS):
        weight = rng.multinomial(n, np.full(n, 1 / n)) / n
        means = {name: value @ weight for name, value in every.items()}
        drawn.append(_taus(means, rng.choice(policies, len(policies)), rng.choice(lucks, len(lucks))))
    out = {}
    for name in here:
        some = np.array([each[name] for each in drawn if each])
        low, high = np.quantile(some, [0.025, 0.975])
        out[name] = {"value": here[name], "low": float(low), "high": float(high)}
    return out


def _taus(means: dict[str, F64], policies: I64, lucks: I64) -> dict[str, float]:
    """Of means (P, S) by policy and luck; empty where all drawn lucks are one."""
    if len(set(lucks.tolist())) < 2:
        return {}
    values = {name: mean for name, mean in means.items() if name != "true"}
    by: dict[str, list[float]] = {name: [] for name in values}
    for luck in lucks:
        others = means["true"][:, lucks[lucks != luck]].mean(1)
        for name, value in values.items():
            by[name].append(kendall(value[:, luck], others, policies))
    out = {name: float(np.mean(taus)) for name, taus in by.items()}
    for name in ("streams", "home streams"):
        out[f"surrogate less {name}"] = out["surrogate"] - out[name]
    return out


def truth(found: Judged) -> dict[str, Any]:
    """By policy the means; errors of its difference from the mean of all policies, over listeners and over lucks."""
    per_listener = found.true.mean(1)
    off = per_listener - per_listener.mean(0)
    by_luck = found.true.mean(2) - found.true.mean((0, 2))
    n, lucks = off.shape[1], found.lucks
    rows = [
        {
            "policy": name,
            "return_days": float(per_listener[j].mean()),
            "se": float(off[j].std(ddof=1) / np.sqrt(n)),
            "se_lucks": float(by_luck[j].std(ddof=1) / np.sqrt(lucks)),
            "back": float(found.back[j].mean()),
            "told": float(found.told[j].mean()),
            "streams": float(found.streams[j].mean()),
            "home_streams": float(found.home[j].mean()),
        }
        for j, name in enumerate(found.names)
    ]
    i, j = np.triu_indices(len(found.names), 1)
    gap = per_listener[i] - per_listener[j]
    resolved = np.abs(gap.mean(1)) > 2 * gap.std(1, ddof=1) / np.sqrt(n)
    return {"rows": rows, "resolved": float(resolved.mean()), "pairs": len(i)}


def as_experiments(found: Judged) -> dict[str, float]:
    """The same as an experiment would see it: every listener in one arm only, adjusted for the days before.

    Mean tau over random divisions of the listeners into as many arms as policies, each under one luck.
    """
    adjusted = {
        name: _adjusted(value, found.before)
        for name, value in (("surrogate", found.told), ("streams", found.streams))
    }
    p, s, n = found.true.shape
    policies, rng = np.arange(p), np.random.default_rng(1)
    taus: dict[str, list[float]] = {name: [] for name in adjusted}
    for r in range(SPLITS):
        luck, arm = r % s, rng.integers(0, p, n)
        others = np.delete(found.true.mean(2), luck, axis=1).mean(1)
        count = np.bincount(arm, minlength=p)
        for name, value in adjusted.items():
            mean = np.bincount(arm, value[arm, luck, np.arange(n)], p) / count
            taus[name].append(kendall(mean, others, policies))
    surrogate, streams = np.array(taus["surrogate"]), np.array(taus["streams"])
    low, high = np.quantile(surrogate - streams, [0.025, 0.975])
    return {
        "listeners_an_arm": n / p,
        "surrogate": float(surrogate.mean()),
        "streams": float(streams.mean()),
        "difference": float((surrogate - streams).mean()),
        "difference_low": float(low),
        "difference_high": float(high),
    }


def _adjusted(value: F64, before: F64) -> F64:
    """Less what the days before explain (one regression for all policies), as CUPED does."""
    lucks, _, n = before.shape
    x = np.concatenate([np.ones((lucks, 1, n)), before], axis=1).transpose(0, 2, 1)
    slopes = np.linalg.lstsq(x.reshape(lucks * n, -1), value.mean(0).ravel(), rcond=None)[0]
    return np.asarray(value - (x @ slopes - value.mean()))


def covered(found: Judged) -> dict[str, float]:
    """Every pair of policies, each under one luck: how often the intervals hold the true difference of the others."""
    within, total, width, sign = [], [], [], []
    pairs = [(i, j) for i in range(len(found.names)) for j in range(i)]
    for nth, (i, j) in enumerate(pairs):
        luck = nth % found.lucks
        one, other = (found.frames[found.names[at], luck] for at in (i, j))
        effect = long_term_effect(found.surrogate, one, other)
        others = np.delete(found.true.mean(2), luck, axis=1).mean(1)
        gap = float(others[i] - others[j])
        within.append(effect.within.interval.covers(gap))
        total.append(effect.total.interval.covers(gap))
        width.append(effect.total.interval.high - effect.total.interval.low)
        sign.append(np.sign(effect.total.effect) == np.sign(gap))
    return {
        "pairs": len(within),
        "within": float(np.mean(within)),
        "total": float(np.mean(total)),
        "total_width": float(np.mean(width)),
        "right_sign": float(np.mean(sign)),
    }
