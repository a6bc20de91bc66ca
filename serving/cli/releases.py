"""`recsys release list|show|gate|promote|rollback|recalibrate`: which release serves."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from serving.cli.common import HomeOption, JsonOption, console, open_home, print_json
from serving.cli.gate import gate

release = typer.Typer(
    help="Which release serves: list, show, gate, promote, roll back, recalibrate.", no_args_is_help=True
)
release.add_typer(gate, name="gate")


@release.command("list")
def list_(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """All registered releases, newest first."""
    from serving.registry import Registry

    found = Registry(open_home(home)).list()
    if as_json:
        print_json([asdict(row) for row in found])
        return
    table = Table("version", "aliases", "until", "digest", "mark")
    for row in found:
        table.add_row(
            row.version,
            ", ".join(row.aliases),
            row.tags.get("until", ""),
            row.tags.get("digest", "")[:12],
            row.mark.text if row.mark else "",
        )
    console.print(table)


@release.command()
def show(
    name: Annotated[str, typer.Argument(help="Version or alias.")] = "champion",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """One release: its parts, settings and data versions, after checking every digest."""
    from recsys.release import verify
    from serving.registry import Registry

    found = Registry(open_home(home)).get(name)
    body: dict[str, Any] = {**asdict(found), "manifest": verify(found.folder).model_dump()}
    print_json(body) if as_json else console.print(body)


@release.command()
def promote(
    version: Annotated[str, typer.Argument(help="Version to promote.")],
    alias: Annotated[str, typer.Option(help="champion or challenger.")] = "champion",
    home: HomeOption = None,
) -> None:
    """Point an alias at a version, after checking its digests; running servers swap it in by themselves."""
    from recsys.release import verify
    from serving.registry import Registry

    registry = Registry(open_home(home))
    verify(registry.get(version).folder)
    registry.promote(version, alias)
    console.print(f"{alias} is now version {version}")


@release.command()
def rollback(home: HomeOption = None) -> None:
    """Make the previous champion the champion again."""
    from serving.registry import Registry

    console.print(f"champion is now version {Registry(open_home(home)).rollback().version}")


@release.command()
def recalibrate(
    promote_it: Annotated[bool, typer.Option("--promote", help="Make it champion at once.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit the champion's probabilities to the random slots that it served; a new version, after a serving period."""
    from serving.recalibrate import recalibrate as fit
    from serving.registry import Registry

    place = open_home(home)
    version, rows = fit(place)
    if promote_it:
        Registry(place).promote(version)
    if as_json:
        print_json({"version": version, "rows": rows})
        return
    table = Table("surface", "objective", "slots", "calibration error before", "after")
    for row in rows:
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()))
    console.print(table)
    console.print(f"registered as version {version}" + (", now champion" if promote_it else ""))
