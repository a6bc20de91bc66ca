"""Expected 28-day return of a home's experiments, by a surrogate learned from the home's own past.

learned = learn(home); answer = expect(home, "ranker", now)

What teaches are listeners whose 28 days are over: those of past experiments, arm by arm, and those of the log, followed
from several days on (each start is a policy of its own, so that what changes with time counts into the gap).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from experiments.config import Config
from experiments.experiment import Experiment
from experiments.long_term.check import Surrogacy, surrogacy
from experiments.long_term.effects import LongTermEffect, long_term_effect
from experiments.long_term.signals import BEFORE_DAYS, Told, returned, signals
from experiments.long_term.state import load, save
from experiments.long_term.surrogate import Surrogate, SurrogateSettings, fit
from experiments.report.schedule import Schedule
from experiments.report.units import exposed
from recsys.errors import BadInput, NotReady, UnknownId
from recsys.home import Home
from recsys.ingest import caught_up
from serving.experiment_report import config_of
from serving.trials import folder

STARTS = 5
"""Days of the log from which listeners are followed."""


@dataclass(frozen=True)
class Learned:
    """A surrogate that was kept, and how well it tells those who taught, each by the fold that has not seen them."""

    surrogate: Surrogate
    version: str
    found: Surrogacy
    rows: int
    path: Path


@dataclass(frozen=True)
class Expected:
    """One arm against the control."""

    arm: str
    control: str
    effect: LongTermEffect
    waiting: int  # units of both arms whose first days are not over


def path_of(home: Home) -> Path:
    """Where a home keeps its surrogate."""
    return folder(home) / "surrogate.json"


def learn(home: Home, settings: SurrogateSettings | None = None) -> Learned:
    """Learns from everybody whose days are over, and keeps what was learned.

    Raises:
        NotReady: the log is shorter than the horizon.
        BadInput: too few listeners.
    """
    settings = settings or SurrogateSettings()
    events, tracks = _events(home)
    days = _days(events)[:-1]  # the last one may not be over
    if not days:
        raise NotReady("the log holds no whole day yet")
    parts = _past(home, events, settings, days[-1]) + _log(events, settings, days)
    if not parts:
        raise NotReady(
            f"the log holds {len(days)} days: a surrogate of {settings.horizon} days learns once that "
            "many are over for somebody; --horizon takes fewer"
        )
    frames, outcomes, names = [], [], []
    for name, units in parts:
        told = Told.of(_around(events, units, settings.horizon), units, tracks)
        frames.append(signals(told, units, settings.days))
        outcomes.append(returned(told, units, settings.days, settings.horizon)["return_days"].to_numpy())
        names += [name] * len(units)
    frame, outcome, policy = pl.concat(frames), np.concatenate(outcomes), np.array(names)
    made = fit(frame, outcome, policy, settings)
    version = save(path_of(home), made)
    return Learned(made, version, surrogacy(made, frame, outcome, policy), len(frame), path_of(home))


def expect(home: Home, name: str, now: datetime, confidence: float = 0.95) -> list[Expected]:
    """What an experiment's first days say of the month: each treatment against the control.

    Raises:
        UnknownId: no such experiment. BadInput: not one of listeners with a question, or not started.
        NotReady: no surrogate was learned, or no arm's first days are over.
    """
    surrogate = load(path_of(home))
    experiment = _asked(config_of(home), name)
    events, tracks = _events(home)
    schedule = Schedule.of(experiment)
    if schedule.start > now:
        raise BadInput(f"{name} starts at {schedule.start:%Y-%m-%d %H:%M} UTC: nothing can be read before")
    until = schedule.until(now)
    units = exposed(events, name, experiment.unit, schedule.start, until).units
    last = min(_days(events)[-1], until.date() - timedelta(days=1))
    over = units.filter(pl.col("exposed_day") + timedelta(days=surrogate.settings.days - 1) <= last)
    if over.filter(pl.col("arm") == experiment.control).height < 2 or over["arm"].n_unique() < 2:
        raise NotReady(f"the first {surrogate.settings.days} days of {name} are not over for any two arms")
    told = Told.of(_around(events, over, surrogate.settings.days), over, tracks)
    frame = signals(told, over, surrogate.settings.days)
    arms = over["arm"]
    treatments = [arm.name for arm in experiment.arms if arm.name != experiment.control]
    control = frame.filter(arms == experiment.control)

    def of(arm: str) -> Expected:
        pair = pl.col("arm").is_in([arm, experiment.control])
        effect = long_term_effect(surrogate, frame.filter(arms == arm), control, confidence)
        waiting = units.filter(pair).height - over.filter(pair).height
        return Expected(arm, experiment.control, effect, waiting)

    return [of(arm) for arm in treatments if (arms == arm).sum() >= 2]


def _events(home: Home) -> tuple[pl.LazyFrame, pl.DataFrame | None]:
    """All that the log and the lake hold."""
    lake = caught_up(home)
    if not lake.has("events"):
        raise NotReady("the lake holds no events: import or simulate some first")
    tracks = lake.scan("tracks").select("track_id", "artist_id").collect() if lake.has("tracks") else None
    return lake.scan("events"), tracks


def _days(events: pl.LazyFrame) -> list[date]:
    """The days of which the log holds events, in order."""
    found = events.select(pl.col("day").unique().sort()).collect()["day"].drop_nulls().to_list()
    if not found:
        raise NotReady("the lake holds no events: import or simulate some first")
    return found


def _around(events: pl.LazyFrame, units: pl.DataFrame, days: int) -> pl.LazyFrame:
    """Events of the days that these units' signals need."""
    first, last = units["exposed_day"].min(), units["exposed_day"].max()
    assert isinstance(first, date)
    assert isinstance(last, date)
    return events.filter(
        pl.col("day").is_between(first - timedelta(days=BEFORE_DAYS), last + timedelta(days=days))
    )


def _log(
    events: pl.LazyFrame, settings: SurrogateSettings, days: list[date]
) -> list[tuple[str, pl.DataFrame]]:
    """Listeners who had been heard of, followed from several days on, through days that the log holds without a gap."""
    held = set(days)
    starts = [
        day for day in days[1:] if held.issuperset(day + timedelta(days=i) for i in range(settings.horizon))
    ]
    starts = [day for day in starts if day >= days[0] + timedelta(days=BEFORE_DAYS)] or starts
    evenly = {round((len(starts) - 1) * i / (STARTS - 1)) for i in range(STARTS)} if starts else set()
    parts = []
    for start in (starts[i] for i in sorted(evenly)):
        known = events.filter(
            pl.col("kind") == "play_end", pl.col("day") < start, pl.col("consent_analytics").fill_null(True)
        )
        units = known.select(pl.col("user_id").alias("unit")).unique().sort("unit").collect()
        parts.append((f"log from {start}", units.with_columns(exposed_day=pl.lit(start))))
    return parts


def _past(
    home: Home, events: pl.LazyFrame, settings: SurrogateSettings, last: date
) -> list[tuple[str, pl.DataFrame]]:
    """Arms of this home's experiments, with the units whose horizon is over."""
    parts = []
    for experiment in config_of(home).experiments:
        if experiment.question is None or not experiment.active or experiment.unit != "listener":
            continue
        schedule = Schedule.of(experiment)
        until = schedule.start + timedelta(days=366)
        units = exposed(events, experiment.name, experiment.unit, schedule.start, until).units
        over = units.filter(pl.col("exposed_day") + timedelta(days=settings.horizon - 1) <= last)
        stays = schedule.cut or schedule.end  # an arm must have lasted as long as it is followed
        if stays is not None:
            over = over.filter(pl.col("exposed_day") + timedelta(days=settings.horizon) <= stays.date())
        parts += [
            (f"{experiment.name}/{arm}", part.select("unit", "exposed_day"))
            for (arm,), part in over.group_by(["arm"], maintain_order=True)
        ]
    return parts


def _asked(config: Config, name: str) -> Experiment:
    experiment = config.experiment(name)
    if experiment is None:
        raise UnknownId(f"no experiment is called {name}: `recsys experiment list` names them")
    if experiment.question is None or not experiment.active:
        raise BadInput(f"{name} is a flag or a draft: it has no arms to compare yet")
    if experiment.unit != "listener":
        raise BadInput(f"{name} is a test of {experiment.unit}s: who comes back is asked of listeners")
    return experiment
