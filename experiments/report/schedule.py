"""When a rule looks: planned looks in calendar time, as the last whole days before them.

plan = Schedule.of(experiment)
plan.looks                      # [(share of the planned time, last day that counts)]; empty: every day
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import ceil

from experiments.experiment import Experiment
from experiments.question import Fixed, GroupSequential
from experiments.report.record import State
from recsys.errors import BadInput


@dataclass(frozen=True)
class Schedule:
    """The time of a test.

    Attributes:
        start: the first moment. `end`: the planned one, None for a rule that needs none and has none.
        cut: the moment at which it was stopped before that, if it was.
        looks: share of the planned time and last whole UTC day before it, for each planned look that is taken: none
            before the question's `min_days` are over, but the end.
        first: the last whole day before these are over (or before the end): a rule that looks every day begins there.
    """

    start: datetime
    end: datetime | None
    cut: datetime | None
    looks: tuple[tuple[float, date], ...]
    first: date

    @classmethod
    def of(cls, experiment: Experiment) -> Schedule:
        """The schedule of an experiment that has a question and a start.

        Raises:
            BadInput: it asks nothing, or has no start; or its looks are less than a day apart.
        """
        question, start = experiment.question, experiment.start
        if question is None:
            raise BadInput(f"{experiment.name} is a flag: it asks nothing, and has no report")
        if start is None:
            raise BadInput(f"{experiment.name} has no start: `recsys experiment start {experiment.name}`")
        end = planned_end(experiment)
        days = None if end is None else (end - start) / timedelta(days=1)
        looks = tuple((share, _last_day(start, end, share)) for share in question.looks(days)) if end else ()
        at = [day for _, day in looks]
        if len(set(at)) < len(at) or (at and at[0] < start.date()):
            raise BadInput(f"{experiment.name}: planned looks must lie a whole day (UTC) apart, or more")
        cut = experiment.stopped if end is None or (experiment.stopped and experiment.stopped < end) else None
        first = (start + timedelta(days=max(question.min_days, 1) - 1)).date()
        first = first if end is None else max(start.date(), min(first, _last_day(start, end, 1.0)))
        return cls(start, end, cut, looks, first)

    @property
    def planned_days(self) -> int | None:
        return None if self.end is None else max(1, ceil((self.end - self.start) / timedelta(days=1)))

    def until(self, now: datetime) -> datetime:
        """The moment from which nothing counts, as seen from `now`."""
        return min(filter(None, (self.end, self.cut, now)))

    def state(self, now: datetime) -> State:
        """scheduled, running, stopped or ended."""
        if now < self.start:
            return "scheduled"
        if self.cut is not None and now >= self.cut:
            return "stopped"
        return "running" if self.end is None or now < self.end else "ended"

    def next_look(self, now: datetime) -> date | None:
        """The last day that the next look counts; None where none is left, or it looks every day by now."""
        days = [day for _, day in self.looks] or [self.first]
        return next((day for day in days if _midnight_after(day) > now.date()), None)

    def whole(self, now: datetime) -> date:
        """The last UTC day that is over, and counts: no rule looks at a part of a day."""
        return self.until(now).date() - timedelta(days=1)

    def days(self, now: datetime) -> int:
        """The day of the test that is under way, from 1: the planned length at its end."""
        return max(0, ceil((self.until(now) - self.start) / timedelta(days=1)))

    def due(self, until: date) -> dict[date, float]:
        """The planned looks that are over by a day: their last day, and the share of the time."""
        return {day: share for share, day in self.looks if day <= until}


def planned_end(experiment: Experiment) -> datetime | None:
    """Its `stop`, or so many days after its start as its stopping rule has, whichever is sooner."""
    rule = experiment.question.stopping if experiment.question is not None else None
    ends = [experiment.stop]
    if experiment.start is not None and isinstance(rule, Fixed | GroupSequential) and rule.days is not None:
        ends.append(experiment.start + timedelta(days=rule.days))
    return min((end for end in ends if end is not None), default=None)


def _last_day(start: datetime, end: datetime, share: float) -> date:
    return ((start + (end - start) * share) - timedelta(days=1)).date()


def _midnight_after(day: date) -> date:
    return day + timedelta(days=1)
