"""What `recsys experiment plan` reads and prints.

known = baselines(config, experiment, mean=2.1, sd=4.4, past=measured(config, experiment, events))
show(plan(experiment, known.baselines, by_day(daily=2000)), known)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table

from experiments.config import Config
from experiments.experiment import Experiment
from experiments.planning import Planned
from experiments.question import Baseline
from experiments.report.baseline import Past
from recsys.errors import BadInput
from serving.cli.common import console

LONGEST = 366
"""Days that a constant number of new units a day is followed for."""


@dataclass(frozen=True)
class Known:
    """What is known of a test's metrics before it runs.

    Attributes:
        sources: by metric, where each of mean, sd and rho is from: given, declared or lake.
    """

    baselines: dict[str, Baseline]
    sources: dict[str, dict[str, str]]


def complete(
    config: Config, experiment: Experiment, mean: float | None, sd: float | None, rho: float | None
) -> bool:
    """Whether nothing has to be measured: every metric has what a plan uses of it."""
    question = experiment.question
    if question is None:
        return True
    for name in question.metrics:
        metric, primary = config.metric(name), name == question.primary
        base = metric.baseline if metric is not None else None
        both = primary and mean is not None and sd
        adjusts = question.pre_days and metric is not None and metric.kind != "quantile"
        told = (primary and rho is not None) or (base is not None and base.rho is not None)
        if (base is None and not both) or (adjusts and not told):
            return False
    return True


def baselines(
    config: Config,
    experiment: Experiment,
    mean: float | None = None,
    sd: float | None = None,
    rho: float | None = None,
    past: Past | None = None,
) -> Known:
    """What is given of the primary metric, then what the config declares, then what the lake was measured to have.

    Raises:
        BadInput: mean and sd of the primary metric are known from nowhere.
    """
    question = experiment.question
    if question is None:
        return Known({}, {})
    given = {"mean": mean, "sd": sd or None, "rho": rho}
    out, sources = {}, {}
    for name in question.metrics:
        metric = config.metric(name)
        parts: dict[str, Mapping[str, float | None]] = {
            "given": given if name == question.primary else {},
            "declared": _numbers(metric.baseline if metric is not None else None),
            "lake": _numbers(past.baselines.get(name) if past is not None else None),
        }
        found = {key: _first(parts, key) for key in ("mean", "sd", "rho")}
        if found["mean"] is None or found["sd"] is None:
            continue
        values = {key: parts[at][key] for key, at in found.items() if at is not None}
        out[name] = Baseline.model_validate(values)
        sources[name] = {key: at for key, at in found.items() if at is not None}
    if question.primary not in out:
        raise BadInput(f"give --mean and --sd of {question.primary}, or its baseline under metrics")
    return Known(out, sources)


def _numbers(base: Baseline | None) -> Mapping[str, float | None]:
    return {} if base is None else {"mean": base.mean, "sd": base.sd, "rho": base.rho}


def _first(parts: Mapping[str, Mapping[str, float | None]], key: str) -> str | None:
    """The first source that has a number."""
    return next((source for source, numbers in parts.items() if numbers.get(key) is not None), None)


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


def show(planned: Planned, known: Known, past: Past | None = None) -> None:
    """Prints a plan, and where its numbers are from."""
    console.print(f"{planned.experiment}: {planned.rule}", highlight=False)
    console.print(_known(known))
    for line in _measured(past):
        console.print(line, highlight=False)
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


def _known(known: Known) -> Table:
    table = Table("baseline", "mean", "sd", "rho", "from")
    for name, base in known.baselines.items():
        at = known.sources[name]
        told = {f"{source}: {', '.join(k for k in at if at[k] == source)}" for source in at.values()}
        from_ = "; ".join(sorted(told)) if len(set(at.values())) > 1 else at["mean"]
        table.add_row(
            name, f"{base.mean:.4g}", f"{base.sd:.4g}", "" if base.rho is None else f"{base.rho:.2f}", from_
        )
    return table


def _measured(past: Past | None) -> list[str]:
    if past is None:
        return []
    of = f"lake: {past.units:,} units from {past.first} to {past.last} ({past.days} days)"
    return [of, *(f"note: {note}" for note in past.notes)]


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
