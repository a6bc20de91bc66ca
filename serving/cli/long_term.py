"""`recsys experiment surrogate|long-term`: what a week of a test says of the month."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from serving.cli.common import HomeOption, JsonOption, console, open_home, print_json
from serving.cli.experiment import NameArgument
from serving.cli.experiment_report import UntilOption, experiment, moment

__all__ = ["experiment", "long_term", "surrogate"]


@experiment.command()
def surrogate(
    days: Annotated[int, typer.Option(min=2, max=28, help="First days whose signals are read.")] = 7,
    horizon: Annotated[int, typer.Option(min=8, max=366, help="Days whose end is foretold.")] = 28,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn to tell how often listeners will come back within 28 days from their first 7.

    It learns from everybody in the lake whose days are over: arms of past experiments, and the log itself. What is kept
    is one file beside the experiments; `recsys experiment long-term` reads it.
    """
    from experiments.long_term.surrogate import SurrogateSettings
    from recsys.errors import BadInput
    from serving.long_term import learn

    if horizon <= days:
        raise BadInput(f"--horizon {horizon} has to be later than --days {days}")
    with console.status("following listeners"):
        made = learn(open_home(home), SurrogateSettings(days=days, horizon=horizon))
    if as_json:
        print_json(
            {"version": made.version, "gap": made.surrogate.gap, "rows": made.rows, **asdict(made.found)}
        )
        return
    table = Table("who taught", "listeners", "days returned", "foretold", "off by")
    for row in made.found.direct:
        table.add_row(
            row.policy,
            f"{row.units:,}",
            f"{row.true:.3f}",
            f"{row.told:.3f}",
            f"{row.direct:+.3f} ± {1.96 * row.se:.3f}",
        )
    console.print(table)
    console.print(
        f"days {days + 1} to {horizon} from the first {days}: {made.found.explained:.0%} of the variance "
        f"between listeners; a new policy may be off by {made.surrogate.gap:.3f} days (1 sd)",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"{made.path} (version {made.version})", highlight=False, soft_wrap=True)


@experiment.command("long-term")
def long_term(
    name: NameArgument, until: UntilOption = None, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """What an experiment's first days say of 28-day return, beside its primary metric.

    Needs `recsys experiment surrogate` first. The interval holds three errors: few listeners, few who taught, and that
    a new policy may act past its signals.
    """
    from serving.long_term import expect

    with console.status(f"reading the first days of {name}"):
        found = expect(open_home(home), name, moment(until))
    if as_json:
        print_json([asdict(each) for each in found])
        return
    table = Table("arm", "units", "expected days", "control", "difference", "95%", "waiting")
    for each in found:
        effect = each.effect
        interval = effect.total.interval
        table.add_row(
            each.arm,
            f"{sum(effect.units):,}",
            f"{effect.treatment:.3f}",
            f"{effect.control:.3f}",
            f"{effect.total.effect:+.3f}",
            f"[{interval.low:+.3f}, {interval.high:+.3f}]",
            f"{each.waiting:,}",
        )
    console.print(table)
    for each in found:
        if not each.effect.transfers:
            console.print(
                f"{each.arm}: fewer than three policies taught, so the interval leaves out that a new one may differ"
            )
