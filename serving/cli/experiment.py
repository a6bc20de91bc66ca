"""`recsys experiment validate|plan|assign|start|stop`: the experiments of a home."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from recsys.errors import BadInput, UnknownId
from serving.cli.common import HomeOption, JsonOption, console, open_home, print_json

experiment = typer.Typer(
    help="Experiments and flags: check the files, plan, say who is in which arm, start and stop.",
    no_args_is_help=True,
)
NameArgument = Annotated[str, typer.Argument(help="The experiment's name.")]
FilesArgument = Annotated[
    Path | None, typer.Argument(help="A file, or a folder of *.yaml. Default: the home's experiments.")
]


@experiment.command()
def validate(
    files: FilesArgument = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of the files instead.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every file; each mistake is told with its file and line, and the exit status is 2.

    The home's own files are checked against the version that runs, too: what would shuffle units is refused.
    """
    from experiments.config import Config
    from experiments.running import checked, source_files
    from experiments.source import Refused, Sources

    if schema:
        print_json(Config.model_json_schema())
        return
    place, store, settable = _place(home)
    sources = source_files(place) if files is None else Sources.read(files)
    try:
        config = checked(sources, settable, None if files else store.newest_config(), _now())
    except Refused as error:
        for problem in error.problems[1:]:
            console.print(str(problem), markup=False, highlight=False, soft_wrap=True)
        raise
    _show(config, as_json)


@experiment.command()
def plan(
    name: NameArgument,
    mean: Annotated[
        float | None, typer.Option(help="Of the primary metric; else its baseline, else the lake's.")
    ] = None,
    sd: Annotated[
        float | None, typer.Option(min=0, help="Standard deviation; else its baseline, else the lake's.")
    ] = None,
    rho: Annotated[
        float | None,
        typer.Option(
            min=0, max=0.999, help="Correlation with before (CUPED); else its baseline, else the lake's."
        ),
    ] = None,
    daily: Annotated[
        float | None, typer.Option(min=0, help="New units a day, to say how long it takes.")
    ] = None,
    arrivals: Annotated[
        str | None, typer.Option(help="Instead: units so far at the end of each day, like 4000,7100,9600.")
    ] = None,
    from_lake: Annotated[
        bool,
        typer.Option("--from-lake/--declared", help="Measure in the lake what is not given or declared."),
    ] = True,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """How many units, and days, an experiment needs under its rule, and what less would show.

    Numbers are those given here, else the metric's declared baseline, else as the lake's last days have them; it is
    said which.
    """
    from experiments.planning import plan as needs
    from serving.cli.planning import baselines, by_day, complete, show

    config = _config(home)
    found = config.experiment(name)
    if found is None:
        raise UnknownId(f"no experiment is called {name}")
    coming = by_day(daily, arrivals)
    enough = complete(config, found, mean, sd, rho) and coming is not None
    past = _past(home, config, found) if from_lake and found.question and not enough else None
    known = baselines(config, found, mean, sd, rho, past)
    if coming is None and past is not None:
        coming = list(past.arrivals)
    planned = needs(found, known.baselines, coming)
    if not as_json:
        show(planned, known, past)
        return
    measured = None if past is None else {k: v for k, v in asdict(past).items() if k != "baselines"}
    bases = {
        name: base.model_dump() | {"from": known.sources[name]} for name, base in known.baselines.items()
    }
    print_json({**asdict(planned), "baselines": bases, "lake": measured})


@experiment.command()
def assign(
    user: Annotated[str, typer.Argument(help="A listener's id.")],
    country: Annotated[str | None, typer.Option(help="Like SE.")] = None,
    tier: Annotated[str, typer.Option(help="free or premium.")] = "free",
    platform: Annotated[str, typer.Option(help="mobile, desktop, speaker, car or unknown.")] = "unknown",
    cohort: Annotated[list[str] | None, typer.Option(help="new, known, or others; may be repeated.")] = None,
    session: Annotated[str | None, typer.Option(help="A session's id.")] = None,
    artist: Annotated[str | None, typer.Option(help="An artist's id.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """A listener's arm in every experiment now, and why: hash, override, layer, holdout, targeting, times."""
    from experiments.assign import explain

    given = {"country": country, "tier": tier, "platform": platform, "cohort": cohort or ["known"]}
    verdicts = explain(_config(home), user, _now(), given, session, artist)
    if as_json:
        print_json([asdict(v) for v in verdicts])
        return
    table = Table("experiment", "arm", "why", "slot")
    for v in verdicts:
        table.add_row(v.experiment, v.arm or "-", v.why, "" if v.slot is None else str(v.slot))
    console.print(table)


@experiment.command()
def start(name: NameArgument, home: HomeOption = None) -> None:
    """Start an experiment now; running servers take it up within a second."""
    from experiments.edit import start as begin

    place, store, settable = _place(home)
    console.print(f"started {name}: version {begin(place, store, name, _now(), settable).version}")


@experiment.command()
def stop(name: NameArgument, home: HomeOption = None) -> None:
    """Stop an experiment now; running servers let it go within a second."""
    from experiments.edit import stop as end

    place, store, settable = _place(home)
    console.print(f"stopped {name}: version {end(place, store, name, _now(), settable).version}")


def _past(home: Path | None, config: Any, found: Any) -> Any:
    """What the lake knows of an experiment's metrics; None, and a line that says why, where it knows nothing."""
    from experiments.report.baseline import measured
    from recsys.lake import Lake
    from serving.trials import space

    lake = Lake(open_home(home).lake)
    try:
        return measured(config, found, lake.scan("events"), space()) if lake.has("events") else None
    except BadInput as error:
        console.print(f"nothing was measured: {error}", markup=False, highlight=False, soft_wrap=True)
        return None


def _now() -> int:
    return time.time_ns() // 1_000_000


def _place(home: Path | None) -> tuple[Path, Any, Any]:
    from experiments.store import Store
    from serving.trials import folder, space

    place = folder(open_home(home))
    return place, Store(place), space()


def _config(home: Path | None) -> Any:
    from experiments.running import checked, source_files

    place, _, settable = _place(home)
    return checked(source_files(place), settable, None, 0)


def _show(config: Any, as_json: bool) -> None:
    if as_json:
        print_json({"version": config.version, "experiments": [e.name for e in config.experiments]})
        return
    table = Table("experiment", "arms", "layer", "from", "to", "asks")
    for e in config.experiments:
        arms = ", ".join(f"{arm.name} {arm.weight:g}" for arm in e.arms)
        layer = "" if e.layer is None else f"{e.layer.name} {e.layer.start:g}-{e.layer.end:g}"
        asks = "flag" if e.question is None else e.question.primary
        state = str(e.start or "") if e.active else "draft"
        table.add_row(e.name, arms, layer, state, str(e.end or ""), asks)
    console.print(table)
    console.print(f"valid: version {config.version}")
