"""`recsys creators`: whose music a home shows, and both sides of an experiment or a loop."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from recsys.errors import BadInput
from serving.cli.common import HomeOption, JsonOption, console, open_home, print_json

if TYPE_CHECKING:
    import polars as pl

    from serving.creators.report import Creators
    from serving.creators.sides import Sides

app = typer.Typer()


@app.command()
def creators(
    since: Annotated[
        str | None, typer.Option(help="From this day on, like 2026-12-01. Default: the last 7 days.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Before this day. Default: with the last slot looked at.")
    ] = None,
    surface: Annotated[str, typer.Option(help="home, radio, ...")] = "home",
    experiment: Annotated[
        str | None, typer.Option(help="Both sides of this experiment of listeners instead.")
    ] = None,
    loop: Annotated[str | None, typer.Option(help="Both sides of this loop's policies instead.")] = None,
    labels: Annotated[Path | None, typer.Option(help="A CSV of artist_id,label.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Write a PNG here.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whose music was shown: by popularity, territory, label and age, how evenly, and what floors gave.

    It reads what listeners looked at (impressions) and what the service decided, never the simulator. Tiers are by
    plays before --since. With --experiment or --loop it puts what changes for listeners beside what changes for
    creators, with intervals that cluster by listener and by artist.
    """
    place = open_home(home)
    if experiment is not None or loop is not None:
        _two_sided(place.root, experiment, loop, surface, home, as_json)
        return
    from serving.creators.picture import picture as draw
    from serving.creators.report import creators as build

    with console.status("reading what was shown"):
        found = build(place, _day(since), _day(until), surface, _labels(labels))
    if picture is not None:
        picture.write_bytes(draw(found))
    if as_json:
        print_json(found.to_dict())
        return
    _show(found)


def _show(found: Creators) -> None:
    """Groups, how evenly, floors."""
    console.print(
        f"{found.slots:,} slots that {found.listeners:,} listeners looked at on {found.surface}, "
        f"{found.since:%Y-%m-%d} to {found.until:%Y-%m-%d}; {found.artists:,} artists could be shown; new: first "
        "released within 30 days",
        highlight=False,
    )
    table = Table("", "", "artists", "shown", "plays before", "slots, 95%", "streams", "listeners")
    for kind in ("tiers", "ages", "territories", "labels"):
        rows = getattr(found, kind)
        for nth, row in enumerate(rows if kind != "labels" or len(rows) > 1 else []):
            table.add_row(
                "" if nth else kind,
                row.name,
                f"{row.artists:,}",
                f"{row.shown:,}",
                "" if kind == "territories" else f"{row.plays_before:.1%}",
                _share(row.slots),
                f"{row.streams.value:.1%}",
                f"{row.listeners:,}",
            )
    console.print(table)
    if len(found.labels) == 1:
        console.print(f"labels: all artists have {found.labels[0].name}, so there is nothing to compare")
    even = Table("how evenly", "value, 95%")
    for name, interval in vars(found.even).items():
        even.add_row(name.replace("_", " "), _share(interval))
    console.print(even)
    floors = found.floors
    for name, asked in floors.asked.items():
        console.print(
            f"floor {name}: {asked:.0%} of a shelf asked for; met in {floors.met[name]:.1%} of "
            f"{floors.answers:,} answers, {floors.short[name]:.2f} slots short on average",
            highlight=False,
        )
    if not floors.asked:
        console.print(f"floors: none of {floors.answers:,} logged answers had one", highlight=False)


def _two_sided(
    root: Path, experiment: str | None, loop: str | None, surface: str, home: Path | None, as_json: bool
) -> None:
    from serving.creators.sides import of_experiment, of_loop

    if experiment is not None and loop is not None:
        raise BadInput("--experiment and --loop are two questions: ask one")
    with console.status("reading both sides"):
        if experiment is not None:
            found = of_experiment(open_home(home), experiment, datetime.now(UTC), surface)
        else:
            folder = root / "loops" / str(loop)
            if not folder.is_dir():
                raise BadInput(f"there is no loop {loop}: run `recsys loop --name {loop}` first")
            found = of_loop({at.name: at for at in sorted(folder.iterdir()) if at.is_dir()}, surface)
    if as_json:
        print_json([sides.to_dict() for sides in found])
        return
    for sides in found:
        _show_sides(sides)


def _show_sides(sides: Sides) -> None:
    """Listeners' side, then creators'."""
    table = Table(f"{sides.name} less {sides.other}", sides.other, sides.name, "difference, 95%")
    for name, effect in sides.listeners.items():
        one, other = sides.means[name]
        interval = effect.interval
        table.add_row(
            f"a listener's {name.replace('_', ' ')}", f"{other:.3f}", f"{one:.3f}",
            f"{effect.effect:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]" if effect.se > 0 else "the same",
        )  # fmt: skip
    for tier, share in sides.shares.items():
        table.add_row(
            f"slots of artists: {tier}",
            "",
            "",
            f"{share.value:+.2%} [{share.low:+.2%}, {share.high:+.2%}]",
        )
    for name in ("gini", "top_share", "reached"):
        table.add_row(
            f"artists: {name.replace('_', ' ')}",
            _share(getattr(sides.even_other, name)),
            _share(getattr(sides.even, name)),
            "",
        )
    for tier, effect in sides.artists.items():
        interval = effect.interval
        table.add_row(
            f"an artist's streams, launched: {tier}", "", "",
            f"{effect.effect:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]",
        )  # fmt: skip
    console.print(table)


def _share(interval: object) -> str:
    from recsys.evaluation.bootstrap import Interval

    assert isinstance(interval, Interval)
    return f"{interval.value:.1%} [{interval.low:.1%}, {interval.high:.1%}]"


def _day(text: str | None) -> datetime | None:
    """Midnight of a day, UTC."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise BadInput(f"no day: {text}; write one like 2026-12-01") from None


def _labels(path: Path | None) -> pl.DataFrame | None:
    import polars as pl

    if path is None:
        return None
    if not path.exists():
        raise BadInput(f"there is no file {path}")
    frame = pl.read_csv(path)
    if not {"artist_id", "label"} <= set(frame.columns):
        raise BadInput(f"{path} needs the columns artist_id and label")
    return frame
