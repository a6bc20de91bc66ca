"""What the dashboard says of each experiment, from the config that runs and the newest stored report.

dashboard(cards(config, shelf, now))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from experiments.config import Config, Holdout
from experiments.experiment import Experiment
from experiments.report.record import State
from experiments.report.schedule import planned_end
from experiments.report.shelf import Shelf
from experiments.report.views import lights, row_of

DAY = timedelta(days=1)
Light = tuple[str, str]
"""A standing of views.STANDINGS (or `none`), and its words."""
NO_LIGHT: Light = ("none", "no report yet")


@dataclass(frozen=True)
class Card:
    """One line of the dashboard.

    Attributes:
        state: by the config's times, as of now; the report may be of an earlier state.
        day, of: the day of the test that is under way, and the planned number of days.
        lift, low, high: of the primary metric as the report believes it; of the arm of `arm`.
        standing: of the primary metric; "" without a report.
        note: of a flag or holdout, what it does.
        link: of the report; "" without one.
    """

    name: str
    kind: Literal["experiment", "flag", "holdout"]
    state: State
    description: str = ""
    owner: str = ""
    day: int | None = None
    of: int | None = None
    units: int | None = None
    decision: str = ""
    sentence: str = ""
    ratio: Light = NO_LIGHT
    guardrails: Light = NO_LIGHT
    metric: str = ""
    arm: str = ""
    lift: float | None = None
    low: float | None = None
    high: float | None = None
    standing: str = ""
    next_look: str | None = None
    data_until: str | None = None
    note: str = ""
    link: str = ""


def cards(
    config: Config, shelf: Shelf, now: datetime, link: Callable[[str], str] = "{}.html".format
) -> list[Card]:
    """A card for each experiment, flag and holdout; and for experiments that left the config, but have a report.

    Args:
        link: where the report of an experiment is, by its name.
    """
    found = [_of_experiment(e, shelf.newest(e.name), now, link(e.name)) for e in config.experiments]
    found += [_of_holdout(h, now) for h in config.holdouts]
    gone = sorted(set(shelf.names()) - {e.name for e in config.experiments})
    left = [(name, shelf.newest(name)) for name in gone]
    return found + [_gone(name, report, link(name)) for name, report in left if report is not None]


def state_of(experiment: Experiment, now: datetime) -> State:
    """Where an experiment stands at a time."""
    if not experiment.active:
        return "draft"
    end, stopped = planned_end(experiment), experiment.stopped
    if stopped is not None and now >= stopped and (end is None or stopped < end):
        return "stopped"
    if end is not None and now >= end:
        return "ended"
    return "scheduled" if experiment.start is not None and now < experiment.start else "running"


def _of_experiment(
    experiment: Experiment, report: Mapping[str, Any] | None, now: datetime, link: str
) -> Card:
    facts: dict[str, Any] = {
        "name": experiment.name,
        "description": experiment.description,
        "owner": experiment.owner,
        "state": state_of(experiment, now),
    }
    if experiment.is_flag:
        return Card(kind="flag", note=_arms(experiment), **facts)
    facts |= {"kind": "experiment", "metric": experiment.question.primary if experiment.question else ""}
    facts |= _days(experiment, now)
    return Card(**facts | _read(report, link))


def _days(experiment: Experiment, now: datetime) -> dict[str, int | None]:
    start, stop = experiment.start, experiment.stop
    planned = getattr(experiment.question and experiment.question.stopping, "days", None)
    of = round((stop - start) / DAY) if start and stop else None
    of = min(filter(None, (of, planned)), default=None)
    if start is None or now < start:
        return {"day": None, "of": of}
    day = (min(filter(None, (now, experiment.end))) - start) // DAY + 1
    return {"day": min(day, of) if of else day, "of": of}


def _read(report: Mapping[str, Any] | None, link: str) -> dict[str, Any]:
    """What a stored report adds; one of another version adds what it can."""
    if report is None:
        return {}
    try:
        verdict, light = report["verdict"], lights(report)
        facts = {
            "units": sum(arm["units"] for arm in report["arms"]),
            "decision": verdict["decision"],
            "sentence": verdict["sentence"],
            "next_look": verdict["next_look"],
            "data_until": report["data_until"],
            "ratio": light["ratio"],
            "guardrails": light["guardrails"],
        }
        return facts | _primary(report) | {"link": link}
    except (KeyError, TypeError):
        return {"sentence": "Its report was written by another version: make it anew."}


def _primary(report: Mapping[str, Any]) -> dict[str, Any]:
    """The primary metric of the arm that the verdict names, else of the first treatment."""
    rows = [row for row in report["metrics"] if row["role"] == "primary"]
    arm = report["verdict"]["arm"]
    raw = next((row for row in rows if row["arm"] == arm), rows[0] if rows else None)
    if raw is None:
        return {}
    low, high = row_of(raw).believed
    several = len(rows) > 1
    return {
        "metric": raw["metric"],
        "arm": raw["arm"] if several else "",
        "lift": row_of(raw).estimate,
        "low": low,
        "high": high,
        "standing": raw["standing"],
    }


def _of_holdout(holdout: Holdout, now: datetime) -> Card:
    state: State = "running"
    if holdout.start is not None and now < holdout.start:
        state = "scheduled"
    if holdout.stop is not None and now >= holdout.stop:
        state = "ended"
    where = "all experiments" if holdout.layers is None else f"experiments in {', '.join(holdout.layers)}"
    note = f"{100 * holdout.share:g}% of {holdout.unit}s are kept out of {where}"
    return Card(holdout.name, "holdout", state, note=note)


def _arms(flag: Experiment) -> str:
    share = flag.history()[-1][1]
    arms = ", ".join(f"{arm.name} {100 * arm.weight:g}%" for arm in flag.arms)
    return arms if share == 1 else f"{arms}; for {100 * share:g}% of {flag.unit}s"


def _gone(name: str, report: Mapping[str, Any], link: str) -> Card:
    """An experiment that is in no file any more: all that is known stands in its report."""
    state = report.get("state")
    known = state if state in ("ended", "stopped") else "ended"
    facts = {key: report.get(key) or "" for key in ("description", "owner")}
    days = {"day": report.get("days"), "of": report.get("planned_days")}
    return Card(
        **{"name": name, "kind": "experiment", "state": known, **facts, **days, **_read(report, link)}
    )
