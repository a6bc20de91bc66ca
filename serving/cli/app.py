"""The commands, gathered from one module per kind of work."""

from __future__ import annotations

import typer

from serving.cli import (
    creators,
    data,
    keys,
    learn,
    long_term,
    loop,
    off_policy,
    privacy,
    releases,
    serve,
    surfaces,
    train,
)

app = typer.Typer(
    name="recsys",
    help="Music personalization: listening logs in, a live home feed and radio out.\n\n"
    "Start with `recsys demo --profile tiny`; everything it writes lies under one home folder.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.add_typer(data.app)
app.add_typer(train.app)
app.add_typer(releases.release, name="release")
app.add_typer(serve.app)
app.add_typer(surfaces.app)
app.add_typer(loop.app)
app.add_typer(off_policy.app)
app.add_typer(learn.app)
app.add_typer(creators.app)
app.add_typer(keys.key, name="key")
app.add_typer(privacy.privacy, name="privacy")
app.add_typer(long_term.experiment, name="experiment")
