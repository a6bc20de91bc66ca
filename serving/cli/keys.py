"""`recsys key`: the API keys of a home."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from serving.access.keys import KeyFile, Scope
from serving.cli.common import HomeOption, JsonOption, console, open_home, print_json

key = typer.Typer(help="API keys: who may write, and read records.", no_args_is_help=True)


@key.command()
def create(
    name: Annotated[str, typer.Option(help="What the key is for, like `web` or `player-ios`.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may do; may be given several times.")],
    rate: Annotated[
        str | None, typer.Option(help="Its own limit, like 50/second; else the server's default.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Make a key and print its token, once; running servers know it within a second."""
    typer.echo(KeyFile(open_home(home).root).create(name, scope, rate))


@key.command("list")
def show(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """The keys of a home, without their tokens (only digests are kept)."""
    keys = KeyFile(open_home(home).root).list()
    if as_json:
        print_json([k.model_dump(mode="json", exclude={"digest"}) for k in keys])
        return
    table = Table("name", "scopes", "rate", "made")
    for k in keys:
        table.add_row(k.name, " ".join(k.scopes), k.rate or "", f"{k.created_at:%Y-%m-%d %H:%M} UTC")
    console.print(table)


@key.command()
def revoke(
    name: Annotated[
        str, typer.Argument(help="As `recsys key list` shows it; `page` ends the page's cookies.")
    ],
    home: HomeOption = None,
) -> None:
    """End a key; running servers refuse it within a second."""
    KeyFile(open_home(home).root).revoke(name)
    console.print(f"revoked: {name}")
