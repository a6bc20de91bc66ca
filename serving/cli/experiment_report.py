"""`recsys experiment report|list|dashboard`: what the experiments of a home show."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from recsys.errors import BadInput, RecsysError
from serving.cli.common import HomeOption, JsonOption, console, open_home, print_json
from serving.cli.experiment import experiment

__all__ = ["dashboard", "experiment", "list_", "report"]
UntilOption = Annotated[
    str | None,
    typer.Option("--until", help="As it stood at a time, like 2026-12-15T00:00:00Z; default: now."),
]


@experiment.command()
def report(
    name: Annotated[
        str | None, typer.Argument(help="The experiment; every running or ended one if none.")
    ] = None,
    until: UntilOption = None,
    out: Annotated[Path | None, typer.Option(help="Write the page here too.")] = None,
    mlflow: Annotated[bool, typer.Option(help="Log the report to MLflow.")] = True,
    end: Annotated[
        bool,
        typer.Option(
            "--stop", help="End it if its rule is done or a guardrail is breached: for every night."
        ),
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read the log, say what an experiment shows, and keep it: a page, JSON, and an MLflow artefact."""
    import orjson

    from serving.experiment_report import config_of, obey
    from serving.experiment_report import report as build

    where, now = open_home(home), moment(until)
    names = [name] if name is not None else [e.name for e in config_of(where).running if not e.is_flag]
    if out is not None and name is None:
        raise BadInput("--out is one page: name the experiment")
    if not names:
        raise BadInput("no experiment asks a question: write one down (docs/experiments.md) and start it")
    for one in names:
        try:
            with console.status(f"reading what {one} did"):
                kept = build(where, one, now, mlflow)
                ended = end and obey(where, kept.report, now)
        except RecsysError as error:
            if name is not None:
                raise
            console.print(f"{one}: {error}", markup=False, highlight=False)
            continue
        if out is not None:
            out.write_bytes(kept.page.read_bytes())
        if as_json:
            print_json(orjson.loads(kept.report.to_json()))
        else:
            _show(kept)
            if ended:
                console.print(f"stopped {one}", markup=False, highlight=False)


@experiment.command("list")
def list_(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """All experiments with their state, and the verdict of their newest report."""
    from serving.experiment_report import cards_of

    cards = cards_of(open_home(home), datetime.now(UTC))
    if as_json:
        print_json([asdict(card) for card in cards])
        return
    table = Table("experiment", "state", "days", "units", "verdict")
    for card in cards:
        days = "" if card.day is None else f"{card.day}" + (f" of {card.of}" if card.of else "")
        units = "" if card.units is None else f"{card.units:,}"
        table.add_row(card.name, card.state, days, units, card.sentence or card.note)
    console.print(table)


@experiment.command()
def dashboard(home: HomeOption = None) -> None:
    """Write one page that lists all experiments; a running server shows it at /experiments."""
    from serving.experiment_report import write_dashboard

    path = write_dashboard(open_home(home), datetime.now(UTC))
    console.print(str(path), markup=False, highlight=False, soft_wrap=True)


def moment(text: str | None) -> datetime:
    """A time with a zone, not after now; now, where none is given.

    Raises:
        BadInput: no time, one without a zone, or one that is yet to come, of which the log cannot tell.
    """
    now = datetime.now(UTC)
    if text is None:
        return now
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"no time: {text}; write one like 2026-12-15T00:00:00Z") from error
    if at.tzinfo is None:
        raise BadInput(f"{text} has no zone: write {text}Z for UTC")
    if at > now:
        raise BadInput(f"{text} is yet to come: the log tells nothing of it")
    return at.astimezone(UTC)


def _show(kept: object) -> None:
    """Verdict, sample ratio, and a line a metric."""
    from serving.experiment_report import Kept

    assert isinstance(kept, Kept)
    found = kept.report
    console.print(f"{found.name}: {found.verdict.sentence}", markup=False, highlight=False, soft_wrap=True)
    if found.sample_ratio is not None:
        console.print(found.sample_ratio.sentence, markup=False, highlight=False, soft_wrap=True)
    table = Table("metric", "role", "arm", "control", "treatment", "change", "now", "variance saved")
    for row in found.metrics:
        effect = row.effect
        table.add_row(
            row.metric,
            row.role,
            row.arm,
            f"{effect.control_value:.4g}",
            f"{effect.treatment_value:.4g}",
            f"{effect.lift:+.2%}",
            row.standing.replace("_", " "),
            f"{effect.variance_reduction:.0%}",
        )
    console.print(table)
    for warning in found.warnings:
        console.print(f"note: {warning}", markup=False, highlight=False, soft_wrap=True)
    console.print(str(kept.page), markup=False, highlight=False, soft_wrap=True)
