"""statsmodels: `python benchmarks/peers/statsmodels_figures.py < data.json` prints its figures as JSON."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from typing import Any

import numpy as np
import statsmodels.api as sm
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, test_proportions_2indep
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

Arm = dict[str, Any]
P_VALUES = [0.001, 0.2, 0.012, 0.03, 0.6, 0.049]


def regressions(c: Arm, t: Arm, series: Arm) -> dict[str, float]:
    """Interacted regression with robust errors, and a time series with Newey–West's."""
    y, x = np.concatenate([c["y"], t["y"]]), np.concatenate([c["x1"], t["x1"]])
    w, k = np.repeat([0.0, 1.0], [len(c["y"]), len(t["y"])]), np.concatenate([c["k"], t["k"]]).astype(int)
    off = x - x.mean()
    ols = sm.OLS(y, np.stack([np.ones(len(w)), w, off, w * off], 1))
    out = {"interacted effect": float(ols.fit().params[1])}
    for kind in ("HC0", "HC1", "HC2", "HC3"):
        out[f"interacted {kind} se"] = float(ols.fit(cov_type=kind).bse[1])
    out["clustered se"] = float(ols.fit(cov_type="cluster", cov_kwds={"groups": k}).bse[1])
    v, on = series["value"], series["treated"]
    line = sm.OLS(v, np.stack([np.ones(len(v)), on], 1))
    kwds = {"maxlags": 4, "use_correction": True}
    return {**out, "Newey–West se": float(line.fit(cov_type="HAC", cov_kwds=kwds).bse[1])}


def proportions(c: Arm, t: Arm) -> tuple[dict[str, float], dict[str, float]]:
    """The score test at 0; and, as an oddity, the interval (its constrained estimate is not the likeliest)."""
    counts = (int(t["b"].sum()), len(t["b"]), int(c["b"].sum()), len(c["b"]))
    low, high = confint_proportions_2indep(*counts, method="score", correction=True)
    p = test_proportions_2indep(*counts, method="score", correction=True).pvalue
    return {"score p": float(p)}, {"score interval low": float(low), "score interval high": float(high)}


def main() -> None:
    data = json.load(sys.stdin)
    c, t = ({k: np.array(v, float) for k, v in arm.items()} for arm in data["arms"])
    series = {k: np.array(v, float) for k, v in data["series"].items()}
    welch = CompareMeans(DescrStatsW(t["y"]), DescrStatsW(c["y"]))
    low, high = welch.tconfint_diff(usevar="unequal")
    share, oddities = proportions(c, t)
    figures = {
        "mean low": float(low),
        "mean high": float(high),
        "mean p": float(welch.ttest_ind(usevar="unequal")[1]),
        **share,
        **regressions(c, t, series),
    }
    for method in ("holm", "fdr_bh", "fdr_by"):
        adjusted = multipletests(P_VALUES, method=method)[1]
        figures |= {f"{method} {i}": float(p) for i, p in enumerate(adjusted)}
    names = ("statsmodels", "numpy", "scipy", "pandas")
    versions = {name: version(name) for name in names}
    print(json.dumps({"versions": versions, "figures": figures, "oddities": oddities}))


if __name__ == "__main__":
    main()
