"""`recsys surface`: any surface's answer for one listener, without a server."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from recsys.errors import BadInput
from serving.cli.common import HomeOption, JsonOption, console, open_home, print_json

app = typer.Typer()


@app.command()
def surface(
    name: Annotated[
        str,
        typer.Argument(
            help="home, radio, daily_mix, discovery, release_radar, because, similar, similar_artists, "
            "continuation, next_up or recommendations."
        ),
    ],
    user: Annotated[str | None, typer.Option(help="A listener's id; without one, somebody new.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Tracks a list.")] = 10,
    seed: Annotated[
        str | None, typer.Option(help="What to start from: track:ID, artist:ID or playlist:ID,ID,...")
    ] = None,
    current: Annotated[str | None, typer.Option(help="next_up: the track that plays.")] = None,
    queue: Annotated[str, typer.Option(help="next_up: track ids behind it, with commas.")] = "",
    country: Annotated[str | None, typer.Option(help="Where the listener is, like SE.")] = None,
    tz: Annotated[str, typer.Option(help="The listener's time zone: lists stay for a local day.")] = "UTC",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """One surface of one listener, with reasons, without a server: mixes, discovery, similar tracks and the others."""
    from recsys.schemas import Surface
    from recsys.types import Ask, Context
    from serving.service import Service
    from serving.surfaces import SURFACES

    if name not in {s.value for s in SURFACES}:
        raise BadInput(f"unknown surface {name!r}: choose one of {', '.join(s.value for s in SURFACES)}")
    options = {"current": current, "queue": [t for t in queue.split(",") if t]} if current else {}
    ask = Ask(Surface(name), user, limit, Context(country, tz), seed=seed, options=options)
    with Service.open(open_home(home), background=False) as service:
        answer = service.recommend(ask)
    print_json(answer) if as_json else show(answer)


def show(answer: dict[str, Any]) -> None:
    """An answer for people: its lists, then what it states about itself."""
    lists = answer.get("shelves") or answer.get("mixes") or [answer]
    for one in lists:
        console.print(f"[bold]{one.get('title') or answer['surface']}[/bold]", highlight=False)
        for item in one["items"]:
            artist = item.get("artist_name") or item.get("name") or "unknown artist"
            text = f"{item['title']} - {artist}" if "title" in item else artist
            console.print(f"  {text}  [dim]{item['reason']['text']}[/dim]", highlight=False)
    facts = [f"request {answer['request_id']}", f"rung {answer['rung']}"]
    facts += [f"{k} {answer[k]}" for k in ("period", "stored", "dropped", "unknown", "skips") if k in answer]
    console.print(f"[dim]{', '.join(facts)}[/dim]", highlight=False)
