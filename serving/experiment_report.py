"""Reports of a home's experiments: built from its lake, kept beside the config, logged to MLflow.

kept = report(home, "ranker", now)         # Kept: the record, the page's path
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from experiments.config import Config
from experiments.edit import stop
from experiments.report.build import build
from experiments.report.cards import Card, cards
from experiments.report.page import dashboard, page
from experiments.report.record import Report
from experiments.report.shelf import Shelf, stamp
from experiments.report.verdict import final
from experiments.running import checked, source_files
from experiments.store import Store
from recsys.home import Home
from recsys.ingest import caught_up
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
    lake = caught_up(home)
    found = build(config_of(home), name, lake.scan("events"), now, Store(folder(home)))
    body = found.to_json()
    kept = shelf(home).keep(body, name, stamp(int(now.timestamp() * 1000)))
    shown = kept.with_suffix(".html")
    shown.write_text(page(orjson.loads(body)))
    if tracked:
        track(home, found, [kept, shown], lake.version("events"))
    return Kept(found, kept, shown)


def obey(home: Home, found: Report, now: datetime) -> bool:
    """Ends a test whose report leaves nothing to wait for: its rule is done, or a guardrail is breached. From `now` on
    everybody gets what they would get without it; whether it ran until then."""
    experiment = config_of(home).experiment(found.name)
    over = experiment is None or (experiment.end is not None and experiment.end <= now)
    if over or not final(found.verdict):
        return False
    place = folder(home)
    stop(place, Store(place), found.name, int(now.timestamp() * 1000), space())
    return True


def config_of(home: Home) -> Config:
    """The experiments of a home as their files say now.

    Raises:
        Refused: the files are wrong.
    """
    place = folder(home)
    return checked(source_files(place), space(), None, 0)


def shelf(home: Home) -> Shelf:
    """The reports that a home keeps."""
    return Shelf.of(folder(home))


def write_dashboard(home: Home, now: datetime) -> Path:
    """All experiments of a home on one page, from their newest reports."""
    path = shelf(home).folder / "dashboard.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    newest = {name: all_[-1] for name in shelf(home).names() if (all_ := shelf(home).all(name))}
    rows = cards(config_of(home), shelf(home), now, lambda name: _beside(newest.get(name)))
    path.write_text(dashboard(rows))
    return path


def cards_of(home: Home, now: datetime) -> list[Card]:
    """What the dashboard says of each experiment."""
    return cards(config_of(home), shelf(home), now)


def _beside(report: Path | None) -> str:
    """The page of a kept report, from where the dashboard lies."""
    return "" if report is None else f"{report.parent.name}/{report.stem}.html"


def track(home: Home, found: Report, files: list[Path], events: int) -> None:
    """One MLflow run for one report."""
    config: dict[str, Any] = {
        "experiment": found.name,
        "rule": found.rule,
        "versions": ",".join(found.versions),
    }
    with run(home, f"experiment {found.name}", config, {"events": events}) as mlflow:
        mlflow.set_tags({"experiment": found.name, "decision": found.verdict.decision})
        for row in found.metrics:
            key = f"{row.metric}.{row.arm}"
            mlflow.log_metrics({f"{key}.effect": row.effect.effect, f"{key}.lift": row.effect.lift})
        for file in files:
            mlflow.log_artifact(str(file), "report")
