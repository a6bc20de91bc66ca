"""`recsys release gate start|step|watch|status|report|stop`: a challenger is promoted by evidence, or rolled back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from recsys.errors import RecsysError
from serving.cli.common import HomeOption, JsonOption, console, open_home, print_json

gate = typer.Typer(
    help="Let a challenger release pass the gate: smoke, offline, off-policy, shadow, canary. It becomes champion only "
    "when all pass; else it is rolled back, and the report names the rule. docs/gate.md explains each.",
    no_args_is_help=True,
)
NameArgument = Annotated[
    str | None, typer.Argument(help="The run; absent: the newest one.", show_default=False)
]
NowOption = Annotated[
    int | None,
    typer.Option(hidden=True, help="UTC ms; for simulated time."),
]


@gate.command()
def start(
    release: Annotated[str, typer.Argument(help="Version or alias of the challenger.")],
    settings: Annotated[
        Path | None, typer.Option(help="YAML with settings other than the default ones (docs/gate.md).")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the run. Default: release-VERSION.")] = None,
    home: HomeOption = None,
    now: NowOption = None,
) -> None:
    """Start a run, and take it as far as it goes at once: smoke, offline and off-policy need no listener.

    Shadow and canary need time: go on with `watch`, or have a timer call `step` every few minutes.
    """
    from serving import gate as runs

    place = open_home(home)
    state = runs.begin(place, release, _settings(settings), _now(now), name)
    _show(place, runs.step(place, state.name, _now(now), say=_say), False)


@gate.command()
def step(
    name: NameArgument = None, home: HomeOption = None, as_json: JsonOption = False, now: NowOption = None
) -> None:
    """Decide what can be decided with the data of now; safe to call at any time, and again after a kill."""
    from serving import gate as runs

    place = open_home(home)
    _show(place, runs.step(place, _newest(place, name), _now(now), say=_say), as_json)


@gate.command()
def watch(
    name: NameArgument = None,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two steps.")] = 300.0,
    home: HomeOption = None,
) -> None:
    """Step until the run has ended: a breach rolls back within one interval, without a person."""
    from serving import gate as runs

    place = open_home(home)
    chosen = _newest(place, name)
    while True:
        try:
            state = runs.step(place, chosen, _now(None), say=_say)
            if state.ended is not None:
                break
        except (
            RecsysError,
            OSError,
        ) as error:  # a lake or a folder that is busy: harm must still be rolled back
            _say(f"{error}; again in {every:g} s")
        time.sleep(every)
    _show(place, state, False)


@gate.command()
def status(name: NameArgument = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Where a run stands, rule by rule; nothing is looked at anew."""
    from serving import gate as runs

    place = open_home(home)
    _show(place, runs.read(place, _newest(place, name)), as_json)


@gate.command()
def report(name: NameArgument = None, home: HomeOption = None) -> None:
    """Write the run's report.json and report.html with its picture, and say where they are."""
    from serving import gate as runs
    from serving.gating import report as told

    place = open_home(home)
    chosen = _newest(place, name)
    state = runs.read(place, chosen)
    console.print(told.verdict(state), highlight=False, markup=False)
    console.print(f"report: {told.write(state, runs.folder(place, chosen))}", soft_wrap=True)


@gate.command()
def stop(name: NameArgument = None, home: HomeOption = None, now: NowOption = None) -> None:
    """End a run by hand: all listeners go back to the champion."""
    from serving import gate as runs

    place = open_home(home)
    _show(place, runs.stop(place, _newest(place, name), _now(now)), False)


def _settings(path: Path | None) -> Any:
    import yaml
    from pydantic import ValidationError

    from recsys.errors import BadInput
    from serving.gating.settings import GateSettings

    try:
        return GateSettings.model_validate({} if path is None else yaml.safe_load(path.read_text()) or {})
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from None
    except yaml.YAMLError:
        raise BadInput(f"{path} is not YAML") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{path}: {'.'.join(map(str, first['loc'])) or 'gate'}: {first['msg']}") from None


def _newest(home: Any, name: str | None) -> str:
    from recsys.errors import UnknownId
    from serving import gate as runs

    found = [name] if name else runs.names(home)
    if not found:
        raise UnknownId("no run of the gate here: start one with `recsys release gate start VERSION`")
    return found[0]


def _now(given: int | None) -> int:
    return time.time_ns() // 1_000_000 if given is None else given


def _say(line: str) -> None:
    console.print(line, highlight=False)


def _show(home: Any, state: Any, as_json: bool) -> None:
    from serving import gate as runs
    from serving.gating import report as told

    if as_json:
        print_json(state.body())
        return
    typer.echo(told.text(state))
    told.write(state, runs.folder(home, state.name))
