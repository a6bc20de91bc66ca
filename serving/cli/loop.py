"""`recsys loop`: the closed loop on simulated time, one policy after the other, with a picture of what happened."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from recsys.errors import BadInput
from recsys.home import Home
from serving.cli.common import HomeOption, JsonOption, console, open_home, print_json, progress_bar

app = typer.Typer()
PolicyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        help="May be given several times: random, popularity, linear, linear_greedy; the champion as frozen "
        "(its usual exploration), greedy (none), explore (a fifth of the slots); with statistics counted anew "
        "(recounted) or the ranker trained anew (retrained, greedy_retrained); re-ranked by what was learned from "
        "listeners (learned, learned_greedy, thompson, ucb, squarecb, retrained_learned); under other settings as in "
        "frozen:home.epsilon=0.1. Default: frozen and popularity.",
    ),
]


@app.command()
def loop(
    policy: PolicyOption = None,
    days: Annotated[int, typer.Option(min=1, max=365)] = 14,
    seed: Annotated[
        int, typer.Option(min=0, help="Luck of the listeners; the world stays that of the home.")
    ] = 0,
    listeners: Annotated[
        int | None, typer.Option(min=1, help="The first so many of them; absent: all.")
    ] = None,
    slots: Annotated[
        int, typer.Option(min=1, max=60, help="Slots of the home page that are looked at.")
    ] = 10,
    measured: Annotated[
        int, typer.Option(min=0, help="Pages a day whose true value is computed, about.")
    ] = 150,
    retrain_every: Annotated[
        int, typer.Option(min=1, help="Days between trainings, where a policy trains.")
    ] = 1,
    profile: Annotated[str, typer.Option(help="Settings of what is trained: tiny, demo or large.")] = "demo",
    name: Annotated[str, typer.Option(help="Folder of this comparison under the home's `loops`.")] = "loop",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let simulated listeners live with a policy: serve, react, log, retrain, promote, day by day.

    The home must be simulated (`recsys demo`); nothing of it changes but `loops/NAME` and the lake's table `loop_days`.
    It starts on the first day that the champion has not seen. Every policy meets the same listeners with the same
    luck. A run that is killed goes on when the same command is given again.
    """
    from recsys.simulation.live import LiveSettings
    from serving.loop.compare import compare
    from serving.loop.run import LoopSettings, run

    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or name.startswith("."):
        raise BadInput(f"--name is a folder's name of letters, digits, dots, dashes, not {name!r}")
    place, chosen = open_home(home), list(dict.fromkeys(policy or ["frozen", "popularity"]))
    settings = LoopSettings(
        days=days,
        seed=seed,
        listeners=listeners,
        retrain_every=retrain_every,
        profile=profile,
        live=LiveSettings(slots=slots, measured=measured),
    )
    folder = place.root / "loops" / name
    folders: dict[str, Path] = {}
    for each in chosen:
        folders[each] = folder / (re.sub(r"[^A-Za-z0-9_.=,-]", "_", each) + f"-{seed}")
        with progress_bar(each) as update:
            run(place, each, settings, folders[each], update)
    found = compare(folders, folder)
    _to_lake(place, name, seed, found)
    print_json(found) if as_json else _show(found, folder)


def _to_lake(home: Home, name: str, seed: int, found: dict[str, Any]) -> None:
    """Rows of this comparison in the table `loop_days`; those of an earlier run of the same name are replaced."""
    import polars as pl

    from recsys.lake import Lake

    rows = [
        {"loop": name, "seed": seed, "policy": policy, **day}
        for policy, days in found["days"].items()
        for day in days
    ]
    frame, lake = pl.DataFrame(rows, infer_schema_length=None), Lake(home.lake)
    if lake.has("loop_days"):
        same = (
            (pl.col("loop") == name) & (pl.col("seed") == seed) & pl.col("policy").is_in(list(found["days"]))
        )
        frame = pl.concat([lake.scan("loop_days").filter(~same).collect(), frame], how="diagonal_relaxed")
    lake.replace("loop_days", frame)


def _show(found: dict[str, Any], folder: Path) -> None:
    """The last days of each policy, and what divides them."""
    from serving.loop.compare import LAST_DAYS, PANELS

    table = Table(f"mean of the last {LAST_DAYS} days", *found["last"])
    for key, label in PANELS:
        values = [last[key] for last in found["last"].values()]
        table.add_row(label, *("-" if v is None else f"{v:,.3f}" for v in values))
    console.print(table)
    for row in found["differences"]:
        console.print(
            f"true value, {row['policy']} over {row['over']}: {row['value']:+.3f} "
            f"[{row['low']:+.3f}, {row['high']:+.3f}] on {row['pages']} pages",
            highlight=False,
            markup=False,
        )
    console.print(f"picture: {folder / 'loop.png'}", soft_wrap=True)
