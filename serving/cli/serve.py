"""`recsys serve`, `recommend`, `replay`, `demo`: answers."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from recsys.errors import BadInput
from recsys.home import Home
from serving.cli.common import HomeOption, JsonOption, console, open_home, print_json
from serving.cli.data import simulate_world
from serving.cli.train import make_recipe, run_evaluation
from serving.scale import Replicas, parse

app = typer.Typer()
PortOption = Annotated[int, typer.Option(min=0, max=65535, help="Port on the loopback address.")]


@app.command()
def serve(
    port: PortOption = 8000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; loopback unless you know better.")
    ] = "127.0.0.1",
    engine: Annotated[
        str, typer.Option(help="ray (Ray Serve) or uvicorn (one process, starts faster).")
    ] = "ray",
    replicas: Annotated[int, typer.Option(min=1, help="Ray Serve replicas.")] = 1,
    autoscale: Annotated[
        str | None, typer.Option(help="MIN:MAX replicas, as the load needs; instead of --replicas.")
    ] = None,
    simulated_clock: Annotated[
        bool,
        typer.Option(
            "--simulated-clock",
            help="For simulations only: callers then set the time of a request by the header `Recsys-Now: <UTC ms>`.",
        ),
    ] = False,
    home: HomeOption = None,
) -> None:
    """Serve the champion release over HTTP until Ctrl-C; prints one line with the address when ready."""
    many = parse(autoscale) if autoscale else replicas
    serve_home(open_home(home), host, port, engine, many, simulated_clock)


@app.command()
def recommend(
    user: Annotated[str, typer.Argument(help="A listener's id; any unknown one is a new listener.")],
    limit: Annotated[int, typer.Option(min=1, max=50, help="Tracks a shelf.")] = 5,
    country: Annotated[str | None, typer.Option(help="Where the listener is, like SE.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """The home feed of one listener, with reasons, without a server."""
    from recsys.types import Context
    from serving.service import Service

    with Service.open(open_home(home), background=False) as service:
        answer = service.home(user, limit, Context(country=country))
    print_json(answer) if as_json else show_home(answer)


@app.command()
def replay(
    request_id: Annotated[str, typer.Argument(help="As in an answer's request_id.")],
    from_log: Annotated[
        bool, typer.Option("--from-log", help="Rebuild the listener's state at that log offset first.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Re-run Scorer -> Selector of a logged answer from its record, and compare the slates."""
    from serving.replay import replay as run

    report = run(open_home(home), request_id, from_log)
    print_json(report) if as_json else console.print(report)
    if not report["same"]:
        raise typer.Exit(1)


@app.command()
def demo(
    profile: Annotated[str, typer.Option(help="tiny, demo or large.")] = "demo",
    seed: Annotated[int, typer.Option(help="Seed of the simulated world.")] = 0,
    serve: Annotated[bool, typer.Option(help="Leave the API up at the end.")] = True,
    port: PortOption = 8000,
    engine: Annotated[str, typer.Option(help="ray or uvicorn.")] = "ray",
    home: HomeOption = None,
) -> None:
    """The whole path: simulate, train, build a release, evaluate, recommend, serve.

    Resumes where an earlier run was interrupted.
    """
    place = open_home(home)
    run_demo(place, profile, seed)
    if serve:
        serve_home(place, "127.0.0.1", port, engine, 1)
    else:
        console.print(f"next: recsys serve --home {place.root}, then open http://127.0.0.1:{port}/")


def run_demo(home: Home, profile: str, seed: int) -> None:
    """Every stage of the demo, then the table and a few recommendations."""
    from recsys.evaluation.table import render

    recipe = make_recipe(home, profile)
    world = recipe.stages.run(
        "world", {"profile": profile, "seed": seed}, lambda _f: _world(home, profile, seed)
    )
    recipe.versions = world.result.get("versions")  # what was served and heard since does not undo its stages
    recipe.states()
    release = recipe.release()
    evaluated = recipe.stages.run(
        "evaluation",
        {
            "release": release.result["digest"],
            "queries": recipe.config.queries,
            "probes": recipe.config.probes,
        },
        lambda _f: {"rows": len(run_evaluation(recipe, release.result["version"]))},
    )
    console.print(f"world: {world.result['plays']:,} plays; evaluation: {evaluated.result['rows']} figures")
    from serving.evaluate_stage import read_report

    typer.echo(render(read_report(home)))
    _show_some(home)
    console.print(f"report: {home.reports / 'evaluation.html'}")


def _world(home: Home, profile: str, seed: int) -> dict[str, Any]:
    """A simulated world, and the versions of the lake's tables that hold it."""
    from recsys.lake import Lake

    summary = simulate_world(home, profile, seed, workers=2)
    return {**summary, "versions": Lake(home.lake).versions()}


def _show_some(home: Home) -> None:
    """The home feeds of two known listeners and of a new one."""
    from recsys.types import Context
    from serving.service import Service

    with Service.open(home, background=False) as service:
        known = [row["user_id"] for row in service.listeners(2)]
        for user_id in [*known, None]:
            console.rule(f"home of {user_id or 'a new listener'}")
            show_home(service.home(user_id, 3, Context()))


def show_home(answer: dict[str, Any]) -> None:
    """A home answer for people."""
    for shelf in answer["shelves"]:
        console.print(f"[bold]{shelf['title']}[/bold]", highlight=False)
        for item in shelf["items"]:
            artist = item["artist_name"] or "unknown artist"
            console.print(
                f"  {item['title']} - {artist}  [dim]{item['reason']['text']}[/dim]", highlight=False
            )
    console.print(f"[dim]request {answer['request_id']}, rung {answer['rung']}[/dim]", highlight=False)


def serve_home(
    home: Home, host: str, port: int, engine: str, replicas: Replicas, simulated_clock: bool = False
) -> None:
    """Serves until interrupted."""
    if simulated_clock:
        typer.echo("simulated clock: callers say what time it is; not for real listeners", err=True)
    if engine == "ray":
        from serving.ray_app import serve_home as run_ray

        run_ray(home, host, port, replicas, simulated_clock)
    elif engine == "uvicorn":
        from serving.ray_app import serve_uvicorn

        serve_uvicorn(home, host, port, simulated_clock=simulated_clock)
    else:
        raise BadInput(f"unknown engine {engine!r}: ray or uvicorn")
