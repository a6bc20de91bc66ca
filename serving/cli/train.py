"""`recsys train`, `index`, `evaluate`, `tune`: from logs to a release and its figures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from recsys.errors import BadInput
from recsys.home import Home
from serving.cli.common import HomeOption, JsonOption, console, open_home, print_json, progress_bar

app = typer.Typer()
ProfileOption = Annotated[str, typer.Option(help="Settings of the learned parts: tiny, demo or large.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="YAML with settings that replace the profile's, by component.")
]


def make_recipe(
    home: Home,
    profile: str,
    config: Path | None = None,
    budget_s: float | None = None,
    workers: int | None = None,
) -> Any:
    """The recipe with a profile's settings, a file's changes, and the sequence model's time budget and workers."""
    from pydantic import ValidationError

    from serving.recipe import Recipe, RecipeConfig

    settings = RecipeConfig.of(profile).model_dump(mode="json")
    changes = yaml.safe_load(config.read_text()) if config else {}
    try:
        for component, values in (changes or {}).items():
            known = settings[component] or {}  # an optional part is None until it is named
            settings[component] = {**known, **values} if isinstance(values, dict) else values
        if budget_s is not None:
            settings["sequence"]["budget_s"] = budget_s
        if workers is not None:
            settings["sequence"]["workers"] = workers
        return Recipe(home, RecipeConfig.model_validate(settings), console.print, progress_bar)
    except (KeyError, ValidationError) as error:
        first = (
            error.errors()[0] if isinstance(error, ValidationError) else {"loc": error.args, "msg": "unknown"}
        )
        raise BadInput(f"{config}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def seconds(text: str | None) -> float | None:
    """`90s`, `60m`, `2h` as seconds.

    Raises:
        BadInput: another form.
    """
    if text is None:
        return None
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    try:
        return float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        raise BadInput(f"a time budget looks like 90s, 60m or 2h, not {text!r}") from None


@app.command()
def train(
    part: Annotated[str, typer.Argument(help="two-tower, sequence, semantic or ranker.")],
    profile: ProfileOption = "demo",
    config: ConfigOption = None,
    budget: Annotated[
        str | None, typer.Option(help="Train the sequence model this long: 90s, 60m, 2h.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Go on from a release's weights (two-tower only): a version, an alias, or latest. "
            "Reads the days since and as many older sessions.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Train the sequence model by this many workers on Ray: here, or on the cluster of RAY_ADDRESS.",
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train one part anew on the lake's current versions; what it needs is trained first if absent."""
    recipe = make_recipe(open_home(home), profile, config, seconds(budget), workers)
    if start is not None and part != "two-tower":
        raise BadInput(f"--from is for two-tower: {part} is always trained from scratch")
    steps = {
        "two-tower": partial(recipe.two_tower, start=start),
        "sequence": recipe.sequence,
        "semantic": recipe.semantic,
        "ranker": recipe.ranker,
    }
    if part not in steps:
        raise BadInput(f"unknown part {part!r}: choose one of {', '.join(steps)}")
    _tell(steps[part](force=True), as_json)


@app.command()
def index(
    profile: ProfileOption = "demo",
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build the index and seal everything into a registered release, which becomes champion."""
    recipe = make_recipe(open_home(home), profile, config)
    recipe.states()
    _tell(recipe.release(force=True), as_json)


@app.command()
def evaluate(
    release: Annotated[str, typer.Option(help="Version or alias.")] = "champion",
    profile: ProfileOption = "demo",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare a release with the baselines on the test window; writes JSON and an HTML report."""
    from recsys.evaluation.table import render, to_json

    place = open_home(home)
    rows = run_evaluation(make_recipe(place, profile), release)
    if as_json:
        print_json(to_json(rows))
    else:
        typer.echo(render(rows))
        console.print(f"report: {place.reports / 'evaluation.html'}")


@app.command()
def tune(
    model: Annotated[str, typer.Argument(help="als or bpr: the factor baselines.")] = "als",
    queries: Annotated[int, typer.Option(min=10, help="Validation queries a point.")] = 2000,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tune a baseline on the validation window, point by point; never looks at the test window."""
    from recsys.dataset import load
    from recsys.evaluation.tune import tune_als, tune_bpr
    from recsys.lake import Lake

    tuners: dict[str, Any] = {"als": tune_als, "bpr": tune_bpr}
    if model not in tuners:
        raise BadInput(f"unknown model {model!r}: choose one of {', '.join(tuners)}")
    found = tuners[model](load(Lake(open_home(home).lake)), cap=queries, progress=console.print)
    if as_json:
        print_json(found.to_dict())
    else:
        console.print(f"best: {found.best}; on the grid's edge: {', '.join(found.on_edge) or 'nothing'}")


def run_evaluation(recipe: Any, release: str) -> list[Any]:
    """Evaluates and writes the reports."""
    from serving.evaluate_stage import evaluate_release, write_report

    with progress_bar("evaluating") as update:
        rows = evaluate_release(
            recipe.home, recipe.data, release, recipe.config.queries, recipe.config.probes, update
        )
    write_report(recipe.home, recipe.data, rows, {"release": release})
    return rows


def _tell(done: Any, as_json: bool) -> None:
    if as_json:
        print_json({"stage": done.name, "seconds": done.seconds, **done.result})
    else:
        console.print(f"{done.name}: {done.result}")
