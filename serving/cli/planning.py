"""What `recsys experiment plan` reads and prints.

show(plan(experiment, baselines(config, experiment), by_day(daily=2000)))
"""

from __future__ import annotations

from rich.table import Table

from experiments.config import Config
from experiments.experiment import Experiment
from experiments.planning import Planned
from experiments.question import Baseline
from recsys.errors import BadInput
from serving.cli.common import console

LONGEST = 366
"""Days that a constant number of new units a day is followed for."""


def baselines(
    config: Config,
    experiment: Experiment,
    mean: float | None = None,
    sd: float | None = None,
    rho: float | None = None,
) -> dict[str, Baseline]:
    """What the config knows of an experiment's metrics; the values given go before for its primary one.

    Raises:
        BadInput: mean and sd of the primary metric are neither given nor known.
    """
    question = experiment.question
    if question is None:
        return {}
    metrics = {name: config.metric(name) for name in question.metrics}
    known = {name: m.baseline for name, m in metrics.items() if m is not None and m.baseline is not None}
    base = known.get(question.primary)
    if base is not None:
        mean, sd = base.mean if mean is None else mean, sd or base.sd
        rho = base.rho if rho is None else rho
    if mean is None or not sd:
        raise BadInput(f"give --mean and --sd of {question.primary}, or its baseline under metrics")
    return known | {question.primary: Baseline(mean=mean, sd=sd, rho=rho)}


def by_day(daily: float | None, arrivals: str | None = None) -> list[float] | None:
    """Units so far at the end of each day, from a number a day or a list written with commas.

    Raises:
        BadInput: both, or a list that is not of numbers.
    """
    if daily and arrivals:
        raise BadInput("give --daily or --arrivals, not both")
    if arrivals is None:
        return [daily * (day + 1) for day in range(LONGEST)] if daily else None
    try:
        return [float(part) for part in arrivals.split(",")]
    except ValueError as error:
        raise BadInput("--arrivals are numbers with commas between, like 4000,7100,9600") from error


def show(planned: Planned) -> None:
    """Prints a plan."""
    console.print(f"{planned.experiment}: {planned.rule}", highlight=False)
    table = Table("metric", "to be told", "power", "units if read once", "under the rule", "CUPED saves")
    for need in planned.needs:
        what = "worse by" if need.margin else "change of"
        table.add_row(
            need.metric,
            f"{what} {_effect(need.effect, need.relative)}",
            f"{need.power:.1%}",
            f"{need.fixed:,}",
            f"{need.units:,}",
            f"{need.saved:.0%}",
        )
    console.print(table)
    shares = ", ".join(f"{name} {units:,}" for name, units in planned.arms.items())
    console.print(f"units in all: {planned.units:,} ({shares})", highlight=False)
    for line in _lines(planned):
        console.print(line, highlight=False)
    if planned.detectable:
        ahead = Table("days", "units", f"smallest change of {planned.needs[0].metric} that is found")
        for row in planned.detectable:
            ahead.add_row(str(row.days), f"{row.units:,}", _effect(row.effect, row.relative))
        console.print(ahead)


def _lines(planned: Planned) -> list[str]:
    price = f"the rule takes {planned.price:.2f} times the units of a test read once"
    if planned.expected is not None and planned.price > 1:
        price += f"; it stops after {planned.expected:.0%} of them on average if the change is there"
    out = [price]
    if planned.days is not None:
        out.append(f"enough units on day {planned.days}")
    if planned.unknown:
        out.append(f"not planned for, as no baseline is known: {', '.join(planned.unknown)}")
    return out


def _effect(effect: float, relative: float | None) -> str:
    return f"{effect:.4g}" if relative is None else f"{effect:.4g} ({relative:.2%})"
