"""spotify-confidence: `python benchmarks/peers/confidence_figures.py < data.json` prints its figures as JSON."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from spotify_confidence import StudentsTTest, ZTest, ZTestLinreg

Arm = dict[str, Any]


def frame(c: Arm, t: Arm, column: str, shift: float = 0.0) -> pd.DataFrame:
    rows = []
    for name, arm in (("c", c), ("t", t)):
        y, x = arm[column] + shift, np.stack([arm["x1"], arm["x2"]], 1)
        rows.append(
            {
                "arm": name,
                "n": len(y),
                "sum": y.sum(),
                "squares": (y**2).sum(),
                "x": x.sum(0),
                "xx": x.T @ x,
                "xy": x.T @ y,
            }
        )
    return pd.DataFrame(rows)


def compared(method: Any, data: pd.DataFrame, absolute: bool = True, margin: Any = None, **more: Any) -> Any:
    test = method(data, "sum", "squares", "n", categorical_group_columns="arm", **more)
    return test.difference("c", "t", absolute=absolute, non_inferiority_margins=margin).iloc[0]


def main() -> None:
    c, t = ({k: np.array(v, float) for k, v in arm.items()} for arm in json.load(sys.stdin)["arms"])
    y, b = frame(c, t, "y"), frame(c, t, "b")
    mean, share = compared(StudentsTTest, y), compared(ZTest, b)
    features: dict[str, Any] = {
        "feature_column": "x",
        "feature_sum_squares_column": "xx",
        "feature_cross_sum_column": "xy",
    }
    slope = compared(ZTestLinreg, y, **features)
    figures = {
        "mean effect": mean["difference"],
        "mean low": mean["ci_lower"],
        "mean high": mean["ci_upper"],
        "mean p": mean["p-value"],
        "proportion effect": share["difference"],
        "proportion se": (share["ci_upper"] - share["ci_lower"]) / 2 / 1.959963984540054,
        "mean, one slope, two covariates effect": slope["difference"],
    }
    below = frame(c, t, "y", -30.0)
    flipped = compared(StudentsTTest, below, absolute=False)
    worse = compared(
        StudentsTTest, frame({**c}, {**t, "y": t["y"] - 4}, "y", -30.0), margin=(0.1, "increase")
    )
    oddities = {
        "lift on a negative baseline": flipped["difference"],
        "its interval's lower end": flipped["ci_lower"],
        "its interval's upper end": flipped["ci_upper"],
        "null hypothesis of a 10% margin on a baseline of about -20": worse["null_hypothesis"],
    }
    names = ("spotify-confidence", "numpy", "scipy", "pandas", "statsmodels")
    out = {"versions": {name: version(name) for name in names}, "figures": figures, "oddities": oddities}
    print(json.dumps(out, default=float))


if __name__ == "__main__":
    main()
