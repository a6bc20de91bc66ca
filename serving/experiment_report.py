"""Reports of a home's experiments: built from its lake, kept beside the config, logged to MLflow.

kept = report(home, "ranker", now)         # Kept: the record, the page's path
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from experiments.config import Config
from experiments.report.build import build
from experiments.report.cards import cards
from experiments.report.dashboard import dashboard
from experiments.report.page import page
from experiments.report.record import Report
from experiments.report.shelf import Shelf
from experiments.running import checked, source_files
from experiments.store import Store
from recsys.engines import open_log
from recsys.home import Home
from recsys.ingest import move
from recsys.lake import Lake
from serving.registry import run
from serving.trials import folder, space


@dataclass(frozen=True)
class Kept:
    """A report and where its files are."""

    report: Report
    json: Path
    page: Path


def report(home: Home, name: str, now: datetime, tracked: bool = True) -> Kept:
    """Builds the report of one experiment from all that the home's log and lake hold, and keeps it.

    Args:
        tracked: whether it is logged to MLflow too: the page and the record as artefacts, effects as metrics.

    Raises:
        UnknownId, BadInput: see `experiments.report.build`.
    """
    lake = Lake(home.lake)
    move(open_log(home), lake)
    found = build(config_of(home), name, lake.scan("events"), now, Store(folder(home)))
    body = found.to_json()
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    kept = shelf(home).keep(body, name, stamp)
    shown = kept.with_suffix(".html")
    shown.write_text(page(orjson.loads(body)))
    if tracked:
        track(home, found, [kept, shown], lake.version("events"))
    return Kept(found, kept, shown)


def config_of(home: Home) -> Config:
    """The experiments of a home as their files say now.

    Raises:
        Refused: the files are wrong.
    """
    place = folder(home)
    return checked(source_files(place), space(), None, 0)


def shelf(home: Home) -> Shelf:
    """The reports that a home keeps."""
    return Shelf(folder(home) / "reports")


def write_dashboard(home: Home, now: datetime) -> Path:
    """All experiments of a home on one page, from their newest reports."""
    path = folder(home) / "reports" / "dashboard.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dashboard(cards(config_of(home), shelf(home), now)))
    return path


def track(home: Home, found: Report, files: list[Path], events: int) -> None:
    """One MLflow run for one report."""
    config: dict[str, Any] = {"experiment": found.name, "rule": found.rule, "versions": ",".join(found.versions)}
    with run(home, f"experiment {found.name}", config, {"events": events}) as mlflow:
        mlflow.set_tags({"experiment": found.name, "decision": found.verdict.decision})
        for row in found.metrics:
            key = f"{row.metric}.{row.arm}"
            mlflow.log_metrics({f"{key}.effect": row.effect.effect, f"{key}.lift": row.effect.lift})
        for file in files:
            mlflow.log_artifact(str(file), "report")
