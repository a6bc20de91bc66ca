"""`recsys off-policy`: what another way to explore, or another utility, would have earned on the logs of this home."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from recsys.errors import BadInput
from serving.cli.common import HomeOption, JsonOption, console, open_home, print_json, progress_bar

if TYPE_CHECKING:
    import polars as pl

    from serving.off_policy import Change, Utility

app = typer.Typer()
When = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="How slots would have been drawn: home.epsilon=0.02, home.exploration.rule=softmax, "
        "radio.epsilon=0, ... May be given several times.",
    ),
]
UtilityOption = Annotated[
    str | None,
    typer.Option(
        metavar="EXPRESSION",
        help="Another utility of logged score columns, in SQL: 'utility - 0.5 * p_skip'.",
    ),
]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        help="A score column for a reward model, which the direct method and doubly robust estimators need; "
        "may be given several times: --column utility --column p_skip.",
    ),
]


@app.command("off-policy")
def off_policy(
    sets: SetOption = None,
    utility: UtilityOption = None,
    surface: Annotated[str, typer.Option(help="home, radio or recommendations.")] = "home",
    level: Annotated[
        str,
        typer.Option(help="slot: reward of a slot given what was placed above it; slate: of whole slates."),
    ] = "slot",
    slots: Annotated[
        int | None, typer.Option(min=1, help="Of each slate the first so many; absent: all.")
    ] = None,
    column: ColumnOption = None,
    since: When = None,
    until: When = None,
    plots: Annotated[
        Path | None, typer.Option(help="Folder for overlap.png and forest.png; made if absent.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Estimate what a change would have earned, from logged answers alone; nothing is served.

    The value is of one step: on the requests that the running policy met. Where the logs cannot answer (the change
    would place what was never placed, or too few answers speak for it), it says so and gives no figure.

    Example: `recsys off-policy --set home.epsilon=0.02 --slots 5 --column utility`
    """
    from bandits.ope import plots as pictures
    from bandits.ope.evaluate import evaluate
    from serving.off_policy import reconsider

    change = _change(sets or [], utility)
    with progress_bar("reading answers") as update:
        known = reconsider(
            open_home(home),
            change,
            surface,
            since=_ms(since) or 0,
            until=_ms(until),
            slots=slots,
            distributions=True,
            columns=column or [],
            progress=lambda done: update(done, 0),
        )
    report = evaluate(known.frame, known.target, level=level, features=known.features() if column else None)
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
        (plots / "forest.png").write_bytes(pictures.forest(report))
        drawn = "ips" if level == "slot" else "slate_ips"
        (plots / "overlap.png").write_bytes(pictures.overlap(report, drawn))
    if as_json:
        print_json(report.to_dict() | {"left_out": known.left_out})
        return
    for reason, count in known.left_out.items():
        console.print(f"left out: {count} answers, {reason}", highlight=False)
    typer.echo(report.table(console.width), nl=False)


def _change(sets: list[str], utility: str | None) -> Change:
    from dataclasses import replace

    from serving.off_policy import Change, under

    if not sets and utility is None:
        raise BadInput(
            "say what would change: --set home.epsilon=0.02, or --utility 'utility - 0.5 * p_skip'"
        )
    pairs = [each.partition("=") for each in sets]
    if not all(path and value for path, _, value in pairs):
        raise BadInput(f"--set looks like home.epsilon=0.02, not {' '.join(sets)!r}")
    change = (
        under({path: yaml.safe_load(value) for path, _, value in pairs}) if sets else Change(utility or "")
    )
    if utility is None:
        return change
    return replace(change, utility=_utility(utility), name=", ".join(filter(None, [*sets, utility])))


def _utility(expression: str) -> Utility:
    """An SQL expression of score columns as a function of the eligible tracks.

    Raises:
        BadInput: it cannot be read.
    """
    import numpy as np
    import polars as pl

    from recsys.pipeline import Candidates

    try:
        wanted = pl.sql_expr(expression)
    except pl.exceptions.PolarsError as error:
        raise BadInput(f"--utility {expression!r} cannot be read: {error}") from error

    def worth(own: Candidates, _name: str) -> Any:
        frame = _columns(own.columns)
        try:
            return np.asarray(frame.select(wanted.cast(pl.Float64)).to_series().to_numpy(), np.float64)
        except pl.exceptions.PolarsError as error:
            known = ", ".join(frame.columns)
            raise BadInput(f"--utility {expression!r}: {error}; there are {known}") from error

    return worth


def _columns(columns: Any) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame({name: values for name, values in columns.items() if values.ndim == 1})


def _ms(when: datetime | None) -> int | None:
    return None if when is None else int(when.replace(tzinfo=when.tzinfo or UTC).timestamp() * 1000)
