"""Evaluates a release against the baselines on the test window: JSON, text table, HTML report, MLflow run."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from recsys.dataset import Dataset
from recsys.evaluation.baselines import BASELINES
from recsys.evaluation.evaluate import Row, counts_before, evaluate
from recsys.evaluation.report import add_curves, write_html
from recsys.evaluation.table import read_json, write_json
from recsys.evaluation.tasks import build_tasks
from recsys.home import Home
from serving.loaded import LoadedRelease
from serving.offline import RankedHome, home_models, models, served_slates
from serving.recommender import Recommender
from serving.registry import Registry
from serving.settings import HomeSettings
from serving.tracking import log_run

Progress = Callable[[int, int], None]


def evaluate_release(
    home: Home, data: Dataset, name: str, queries: int, probes: int, progress: Progress
) -> list[Row]:
    """All rows of the table for a release (version or alias).

    Baselines learn from everything before the test window; the release's retrieval models from `valid` days
    less, because its ranker needs those for itself: the comparison leans against us, and is honest.
    """
    split = data.split
    release = LoadedRelease.load(Registry(home).get(name).folder)
    tasks = build_tasks(data, split.test, split.end, cap=queries)
    fitted = {name: fit(data, split.test) for name, fit in BASELINES.items()}
    everywhere = {**fitted, **models(release)}
    plays = counts_before(data, split.test)
    curves: dict[str, dict[str, list[float]]] = {}
    scored = partial(
        evaluate, plays_per_track=plays, progress=progress, keep=partial(add_curves, into=curves)
    )
    rows = scored(everywhere, tasks)
    rows += scored(home_models(release, HomeSettings()), [task for task in tasks if task.name == "home"])
    _curves(home).parent.mkdir(parents=True, exist_ok=True)
    _curves(home).write_text(json.dumps(curves))
    if home.world.exists():
        from recsys.evaluation.true_value import true_value_rows

        served = {"served": served_slates(Recommender(release))}
        alone = {**everywhere, "ranker": RankedHome(release, HomeSettings())}
        rows += true_value_rows(home, data, alone, served, probes=probes, progress=progress)
    return rows


def _curves(home: Home) -> Path:
    """Concentration curves of the last evaluation, for its report."""
    return home.reports / "exposure.json"


def write_report(home: Home, data: Dataset, rows: list[Row], facts: dict[str, Any]) -> None:
    """`reports/evaluation.json` and `.html`."""
    home.reports.mkdir(parents=True, exist_ok=True)
    write_json(rows, home.reports / "evaluation.json")
    told = {
        "lake": ", ".join(f"{t} v{v}" for t, v in data.versions.items()),
        **{k: str(v) for k, v in facts.items()},
    }
    curves = json.loads(_curves(home).read_text()) if _curves(home).exists() else None
    write_html(rows, home.reports / "evaluation.html", title="Evaluation", facts=told, curves=curves)
    figures = {f"{r.task}.{r.model}.{r.metric}_{r.k}": r.value for r in rows if r.cohort == "all"}
    log_run(home, "evaluation", facts, data.versions, [], figures, home.reports)


def read_report(home: Home) -> list[Row]:
    """The rows of the last evaluation."""
    return read_json(home.reports / "evaluation.json")
