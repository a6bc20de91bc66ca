"""`recsys simulate` and `recsys import`: how logs come in."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from recsys.errors import BadInput
from recsys.home import Home
from serving.cli.common import HomeOption, JsonOption, console, open_home, print_json, progress_bar

app = typer.Typer()


def simulate_world(home: Home, profile: str, seed: int, workers: int) -> dict[str, object]:
    """Simulates a world into the lake and fills the catalog from it; returns the summary."""
    from music.catalog.service import Catalog
    from recsys.lake import Lake
    from recsys.simulation import PROFILES, simulate

    if profile not in PROFILES:
        raise BadInput(f"unknown profile {profile!r}: choose one of {', '.join(PROFILES)}")
    with progress_bar(f"simulating {profile}") as update:
        summary = simulate(PROFILES[profile].model_copy(update={"seed": seed}), home, workers, update)
    lake = Lake(home.lake)
    names = ("artists", "albums", "tracks", "availability", "aliases")
    catalog = Catalog.open(home.catalog_url)
    catalog.write({name: lake.scan(name).collect() for name in names})
    catalog.close()
    return asdict(summary)


@app.command()
def simulate(
    profile: Annotated[str, typer.Option(help="Size of the world: tiny, demo or large.")] = "demo",
    seed: Annotated[int, typer.Option(help="Another seed is another world.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes; the rows are the same for any number.")] = 2,
    report: Annotated[
        bool,
        typer.Option("--report", help="Compare the log's marginals with published ones (table, PNG)."),
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a simulated listening log, with its catalog, into the lake.

    The world's truth is kept aside for evaluation; models never read it.
    """
    place = open_home(home)
    summary = simulate_world(place, profile, seed, workers)
    if not as_json:
        console.print(
            f"{summary['plays']:,} plays of {summary['listeners']:,} listeners, digest {summary['digest']}"
        )
    if report:
        summary["marginals"] = _report(place, as_json)
    if as_json:
        print_json(summary)


@app.command("import")
def import_(
    kind: Annotated[str, typer.Argument(help="csv, parquet, spotify, listenbrainz or lastfm.")],
    paths: Annotated[list[Path], typer.Argument(help="Files to read.")],
    columns: Annotated[
        str | None,
        typer.Option(
            "--map", help="Columns of a csv or parquet log: user=USER,track=TRACK,ts=TIME,artist=ARTIST"
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="Whose history it is, for a personal export; any name you like.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import real listening logs; what is refused is counted, with the reason."""
    from music.catalog.service import Catalog
    from recsys.importers import import_logs

    place = open_home(home)
    catalog = Catalog.open(place.catalog_url)
    with progress_bar(f"importing {kind}") as update:
        summary = import_logs(kind, paths, place, catalog, _column_map(columns), user, update)
    catalog.close()
    print_json(asdict(summary)) if as_json else console.print(str(summary))


def _column_map(text: str | None) -> dict[str, str] | None:
    """`user=A,track=B` as a dict."""
    if text is None:
        return None
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(equals and key and value for key, equals, value in pairs):
        raise BadInput(
            "--map takes NAME=COLUMN pairs separated by commas, like user=USER_ID,track=TRACK,ts=TIME"
        )
    return {key.strip(): value.strip() for key, _, value in pairs}


def _report(home: Home, as_json: bool) -> list[dict[str, Any]]:
    """The marginals; draws them, and prints the table unless a program reads."""
    from recsys.lake import Lake
    from recsys.simulation.report import marginals, render, table

    rows = marginals(Lake(home.lake))
    path = home.reports / "marginals.png"
    render(rows, path)
    if not as_json:
        typer.echo(table(rows))
        console.print(f"plot: {path}")
    return [asdict(row) for row in rows]
