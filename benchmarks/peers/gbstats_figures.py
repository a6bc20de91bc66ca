"""GrowthBook's stats engine: `python benchmarks/peers/gbstats_figures.py < data.json` prints its figures as JSON."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from typing import Any

import numpy as np
from gbstats.bayesian.tests import EffectBayesianABTest, EffectBayesianConfig, GaussianPrior
from gbstats.frequentist.tests import FrequentistConfig, OneSidedTreatmentLesserTTest, TwoSidedTTest
from gbstats.models.statistics import RatioStatistic, RegressionAdjustedStatistic, SampleMeanStatistic

Arm = dict[str, Any]


def mean(x: Any) -> SampleMeanStatistic:
    return SampleMeanStatistic(n=len(x), sum=float(x.sum()), sum_squares=float((x**2).sum()))


def ratio(arm: Arm) -> RatioStatistic:
    return RatioStatistic(
        n=len(arm["y"]),
        m_statistic=mean(arm["s"]),
        d_statistic=mean(arm["d"]),
        m_d_sum_of_products=float((arm["s"] * arm["d"]).sum()),
    )


def adjusted(arm: Arm) -> RegressionAdjustedStatistic:
    return RegressionAdjustedStatistic(
        n=len(arm["y"]),
        post_statistic=mean(arm["y"]),
        pre_statistic=mean(arm["x1"]),
        post_pre_sum_of_products=float((arm["y"] * arm["x1"]).sum()),
        theta=0,
    )


def frequentist(name: str, c: Any, t: Any, relative: bool = False) -> dict[str, float]:
    config = FrequentistConfig(difference_type="relative" if relative else "absolute")
    found = TwoSidedTTest(c, t, config).compute_result()
    out = {f"{name} effect": found.expected, f"{name} low": found.ci[0], f"{name} high": found.ci[1]}
    return out if relative else {**out, f"{name} p": found.p_value}


def bayesian(name: str, c: Any, t: Any, prior: GaussianPrior) -> dict[str, float]:
    config = EffectBayesianConfig(difference_type="absolute", prior_type="absolute", prior_effect=prior)
    found = EffectBayesianABTest(c, t, config).compute_result()
    return {
        f"{name} mean": found.expected,
        f"{name} low": found.ci[0],
        f"{name} high": found.ci[1],
        f"{name} chance": found.chance_to_win,
        f"{name} loss of control": found.risk[0],
        f"{name} loss of treatment": found.risk[1],
    }


def main() -> None:
    c, t = ({k: np.array(v, float) for k, v in arm.items()} for arm in json.load(sys.stdin)["arms"])
    figures = {
        **frequentist("mean", mean(c["y"]), mean(t["y"])),
        **frequentist("lift of a mean", mean(c["y"]), mean(t["y"]), relative=True),
        **frequentist("ratio", ratio(c), ratio(t)),
        **frequentist("lift of a ratio", ratio(c), ratio(t), relative=True),
        **frequentist("mean, one slope", adjusted(c), adjusted(t)),
        **bayesian("flat prior", mean(c["y"]), mean(t["y"]), GaussianPrior()),
        **bayesian("normal prior", mean(c["y"]), mean(t["y"]), GaussianPrior(0.1, 0.25, True)),
    }
    low = frequentist("", mean(c["y"] - 30), mean(t["y"] - 30), relative=True)
    lesser = OneSidedTreatmentLesserTTest(mean(c["y"]), mean(t["y"])).compute_result()
    oddities = {
        "lift on a negative baseline": low[" effect"],
        "one-sided 'lesser' estimate": lesser.expected,
        "one-sided 'lesser' upper bound": lesser.ci[1],
    }
    versions = {name: version(name) for name in ("gbstats", "numpy", "scipy")}
    print(json.dumps({"versions": versions, "figures": figures, "oddities": oddities}))


if __name__ == "__main__":
    main()
