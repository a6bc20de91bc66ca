"""One MLflow run for one trained part: config, data version, curve, metrics, a plot of the curve, the artefact."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from recsys.home import Home
from serving.registry import run


def log_run(
    home: Home,
    name: str,
    config: dict[str, Any],
    data: dict[str, int],
    curve: list[tuple[int, dict[str, float]]],
    metrics: dict[str, float],
    folder: Path,
) -> None:
    """Logs a finished training on the home's embedded store."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    batch = [Metric(key, float(value), now, step) for step, point in curve for key, value in point.items()]
    batch += [Metric(key, float(value), now, 0) for key, value in metrics.items() if _is_number(value)]
    with run(home, name, config, data) as mlflow:
        run_id = mlflow.active_run().info.run_id
        client = mlflow.MlflowClient()
        for start in range(0, len(batch), 1000):
            client.log_batch(run_id, metrics=batch[start : start + 1000])
        if curve and "loss" in curve[-1][1]:
            mlflow.log_figure(_figure(name, curve), "loss.png")
        mlflow.log_artifacts(str(folder), name)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _figure(name: str, curve: list[tuple[int, dict[str, float]]]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([step for step, _ in curve], [point["loss"] for _, point in curve], color="#3355aa")
    axes.set(xlabel="step", ylabel="loss", title=name)
    axes.grid(alpha=0.3)
    return figure
