"""Our sequential methods beside public implementations, on the same inputs.

python -m benchmarks.agreement_sequential            # writes the peers' numbers and prints the differences

Needs statsmodels, savvi, ssrm-test, gbstats, gsdesign and the Python sources of confseq on the path (they do not go
with our locked versions: install them into a folder of their own). What they answered is kept, with their versions, in
benchmarks/results/agreement_sequential_reference.json, and the tests hold us to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from benchmarks.results import FOLDER, table
from experiments.sequential.bounded import betting, empirical_bernstein
from experiments.sequential.bounds import Design, bounds
from experiments.sequential.brownian import exits
from experiments.sequential.mixture import log_evidence, p_value, radius, tuned
from experiments.sequential.power import Plan
from experiments.sequential.sample_ratio import log_evidence as ratio_evidence
from experiments.sequential.sample_ratio import shares

FILE = FOLDER / "agreement_sequential_reference.json"
COUNTS = [[48, 61, 25], [480, 530, 251], [5100, 4700, 2400], [25_300, 24_800, 12_700]]
WEIGHTS = [0.4, 0.4, 0.2]
T_CASES = [[2.0, 12, 30.0], [3.5, 80, 90.0], [2.4, 1000, 800.0], [5.0, 9000, 5000.0]]  # t, dof, units / prior
GROWTHBOOK = [[0.1, 1.0, 1.2, 400, 380], [0.3, 2.0, 2.5, 4000, 4200], [-0.05, 0.5, 0.4, 30_000, 29_000]]
OUTCOMES = (np.random.default_rng(20).beta(2, 6, 400)).round(6)


def statsmodels_power() -> dict[str, Any]:
    """Power and sample sizes: NormalIndPower, TTestIndPower, power_proportions_2indep."""
    from statsmodels.stats.power import NormalIndPower, TTestIndPower
    from statsmodels.stats.proportion import power_proportions_2indep

    z, t, proportions, units = [], [], [], []
    for sides, name in ((2, "two-sided"), (1, "larger")):
        for n, ratio, effect in ((200, 1.0, 0.2), (1500, 0.5, 0.1), (90, 3.0, 0.5)):
            plan = {"sd": 1.0, "ratio": ratio, "sides": sides}
            row = {"plan": plan, "units": n * (1 + ratio), "effect": effect}
            value = NormalIndPower().power(effect, n, 0.05, ratio, name)
            z.append({**row, "value": float(value)})
            value = TTestIndPower().power(effect, n, 0.05, ratio=ratio, alternative=name)
            t.append({**row, "plan": {**plan, "student": True}, "value": float(value)})
            value = NormalIndPower().solve_power(effect, None, 0.05, 0.8, ratio, name)
            units.append({"plan": plan, "effect": effect, "power": 0.8, "value": float(value) * (1 + ratio)})
            value = power_proportions_2indep(-0.02, 0.12, 10 * n, ratio, 0.05, alternative="two-sided").power
            plan = {"proportion": 0.1, "ratio": ratio}
            proportions.append(
                {"plan": plan, "units": 10 * n * (1 + ratio), "effect": 0.02, "value": float(value)}
            )
    return {"z": z, "t": t, "proportions": proportions, "units": units}


def savvi_numbers() -> dict[str, Any]:
    """The sample-ratio test of Lindon & Malek, and the regression t mixture of Lindon et al."""
    from savvi.linear_regression import log_bf
    from savvi.multinomial import Multinomial

    test = Multinomial(0.001, np.array(WEIGHTS), 500.0)
    logs, intervals, before = [], [], np.zeros(3, np.int64)
    for row in COUNTS:
        test.update(np.array(row) - before)
        before = np.array(row)
        logs.append(float(np.log(test.odds)))
        intervals.append(test.calculate_conf_int().tolist())
    t = [float(log_bf(np.float64(t * t), dof, 1.0, np.float64(ratio))) for t, dof, ratio in T_CASES]
    return {"sample_ratio_log_evidence": logs, "sample_ratio_shares": intervals, "t_log_evidence": t}


def ssrm_numbers() -> dict[str, Any]:
    """Optimizely's sequential sample-ratio p-values. It was written for numpy 1 and asks for np.Inf."""
    vars(np).setdefault("Inf", np.inf)
    from ssrm_test.ssrm_test import sequential_p_values

    steps = np.diff(np.array(COUNTS), axis=0, prepend=0)
    return {"sample_ratio_p": [float(p) for p in sequential_p_values(steps, WEIGHTS, None, 500.0)]}


def gbstats_numbers() -> dict[str, Any]:
    """GrowthBook's sequential interval and p-value of a difference of means, tuned at 5,000 units."""
    from gbstats.frequentist.tests import SequentialConfig, SequentialTwoSidedTTest
    from gbstats.models.statistics import SampleMeanStatistic

    rows = []
    for effect, sd_a, sd_b, n_a, n_b in GROWTHBOOK:
        arms = []
        for mean, sd, n in ((2.0, sd_a, n_a), (2.0 + effect, sd_b, n_b)):
            total = mean * n
            squares = sd**2 * (n - 1) + total**2 / n
            arms.append(SampleMeanStatistic(n=int(n), sum=total, sum_squares=squares))
        config = SequentialConfig(difference_type="absolute", sequential_tuning_parameter=5000)
        test = SequentialTwoSidedTTest(*arms, config)
        low, high = test.confidence_interval
        rows.append([float(low), float(high), float(test.p_value)])
    return {"intervals_and_p": rows}


def confseq_numbers() -> dict[str, Any]:
    """Bounded means; the normal mixture is held to the values of confseq's own tests (tests/experiments). For numpy
    1 too."""
    vars(np).setdefault("float_", np.float64)
    from confseq.betting import hedged_cs
    from confseq.predmix import predmix_empbern_cs

    low, high = predmix_empbern_cs(OUTCOMES, alpha=0.05, truncation=0.5, running_intersection=True)
    bet_low, bet_high = hedged_cs(OUTCOMES, alpha=0.05, running_intersection=True)
    return {
        "empirical_bernstein": [[float(low[i]), float(high[i])] for i in (49, 199, 399)],
        "betting": [[float(bet_low[i]), float(bet_high[i])] for i in (49, 199, 399)],
    }


def gsdesign_numbers() -> dict[str, Any]:
    """Exit probabilities under a drift by gsdesign's grid (r = 80), through our bounds."""
    from gsdesign import h1, hupdate
    from scipy.special import ndtr

    times, drift = [0.2, 0.45, 0.7, 1.0], 2.3
    upper = bounds(Design(), times).upper
    out, state = [], h1(r=80, theta=drift, info=times[0], a=-upper[0], b=upper[0])
    out.append(float(ndtr(drift * np.sqrt(times[0]) - upper[0])))
    for k in range(1, 4):
        step = times[k] - times[k - 1]
        gap = state[0] * np.sqrt(times[k - 1]) + drift * step - upper[k] * np.sqrt(times[k])
        out.append(float(ndtr(gap / np.sqrt(step)) @ state[2]))
        state = hupdate(80, drift, times[k], -upper[k], upper[k], drift, times[k - 1], state)
    return {"times": times, "drift": drift, "upper_exits": out}


PEERS: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "statsmodels": (statsmodels_power, "statsmodels"),
    "savvi": (savvi_numbers, "savvi"),
    "ssrm_test": (ssrm_numbers, "ssrm-test"),
    "gbstats": (gbstats_numbers, "gbstats"),
    "confseq": (confseq_numbers, "confseq"),
    "gsdesign": (gsdesign_numbers, "gsdesign"),
}


def differences(reference: dict[str, Any]) -> dict[str, float]:
    """The greatest absolute difference between ours and each peer's numbers, by definition compared."""
    out: dict[str, float] = {}
    for case, rows in reference["statsmodels"].items():
        ours = [
            Plan(**r["plan"]).units(r["effect"], r["power"]) / r["value"]
            if case == "units"
            else Plan(**r["plan"]).power(r["units"], r["effect"]) - r["value"] + 1
            for r in rows
        ]
        out[f"statsmodels: power, {case}"] = _most(ours, np.ones(len(ours)))
    savvi, counts = reference["savvi"], np.array(COUNTS)
    logs = ratio_evidence(counts, WEIGHTS, 500.0)
    out["savvi: sample-ratio log evidence"] = _most(logs, savvi["sample_ratio_log_evidence"])
    region = np.stack(shares(counts, WEIGHTS, 0.001, 500.0), axis=-1)
    out["savvi: sample-ratio shares (its solver's tolerance)"] = _most(region, savvi["sample_ratio_shares"])
    t, dof, ratio = np.array(T_CASES).T
    out["savvi: regression t mixture"] = _most(log_evidence(t, ratio, dof=dof), savvi["t_log_evidence"])
    p = np.minimum.accumulate(np.exp(-np.maximum(logs, 0)))
    out["ssrm-test: sequential sample-ratio p"] = _most(p, reference["ssrm_test"]["sample_ratio_p"])
    out["gbstats: sequential interval and p"] = _most(growthbook(), reference["gbstats"]["intervals_and_p"])
    at = [49, 199, 399]
    bernstein = np.stack(empirical_bernstein(OUTCOMES, 0.05), axis=-1)[at]
    theirs = np.clip(reference["confseq"]["empirical_bernstein"], 0, 1)
    out["confseq: empirical Bernstein"] = _most(bernstein, theirs)
    bets = np.stack(betting(OUTCOMES, 0.05), axis=-1)[at]
    out["confseq: betting, on its grid of 1/1000"] = _most(bets, reference["confseq"]["betting"])
    gs = reference["gsdesign"]
    upper = bounds(Design(), gs["times"]).upper
    out["gsdesign: exit probabilities"] = _most(
        exits(gs["times"], -upper, upper, gs["drift"]).upper, gs["upper_exits"]
    )
    return out


def growthbook() -> np.ndarray:
    """Our always-valid interval and p-value on the same summaries, tuned as GrowthBook tunes."""
    rows = []
    for effect, sd_a, sd_b, n_a, n_b in GROWTHBOOK:
        se = np.sqrt(sd_a**2 / n_a + sd_b**2 / n_b)
        scale = tuned(n_a + n_b, 5000, 0.05, exact=False)
        half = float(radius(scale, 0.05)) * se
        rows.append([effect - half, effect + half, float(p_value(effect / se, scale)[-1])])
    return np.array(rows)


def _most(ours: Any, theirs: Any) -> float:
    return float(np.abs(np.asarray(ours) - np.asarray(theirs)).max())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "0.0.11, sources" if name == "confseq" else "unknown"


def main() -> None:
    reference: dict[str, Any] = {"versions": {package: _version(package) for _, package in PEERS.values()}}
    for name, (collect, _) in PEERS.items():
        reference[name] = collect()
    FILE.write_text(json.dumps(reference, indent=1) + "\n")
    table(["compared", "greatest difference"], [[k, f"{v:.1e}"] for k, v in differences(reference).items()])


if __name__ == "__main__":
    main()
