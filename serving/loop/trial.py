"""An A/B test on live listeners in this process, from its first day to its own stop.

arms = Arms(config, {"control": old, "treatment": new}, experiment="mix")
for report in reports(world, arms, before, settings): print(report.data_until, report.verdict.sentence)

Each evening the day's log joins what was logged before, and the product's own report (experiments.report.build) reads
it, as `recsys experiment report` reads the lake. When its rule is done, or a guardrail is breached, the test ends: from
then on everybody gets the control's policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import polars as pl

from experiments.report.build import build
from experiments.report.record import Report
from experiments.report.schedule import Schedule
from experiments.report.verdict import final
from recsys.simulation.live import LiveSettings, LiveWorld, days
from recsys.simulation.sessions import MS_PER_DAY
from serving.loop.arms import Arms


def told_until(world: LiveWorld) -> datetime:
    """The UTC midnight up to which everything has happened, after some days were lived: simulated days are local, so
    the listeners farthest east are into the next one before it."""
    return datetime.fromtimestamp((world.epoch_ms + (world.day - 1) * MS_PER_DAY) / 1000, UTC)


def reports(
    world: LiveWorld, arms: Arms, before: pl.DataFrame, settings: LiveSettings, daily: bool = True
) -> Iterator[Report]:
    """Lives the test's days and yields a report after each one that is over, up to the one that ends it.

    Args:
        before: rows of `events` of the days before, up to this morning.
        daily: read every day, as guardrails ask for; else only on the days on which the question's rule looks, and at
            the end: without guardrails the other days' reports decide nothing.

    Raises:
        BadInput: the test has no planned end.
    """
    schedule = Schedule.of(arms.running)
    end = schedule.end or schedule.start + timedelta(days=365)
    due = {day for _, day in schedule.looks}
    log = before
    while told_until(world) < end:
        for lived in days(world, arms, settings, 1):
            log = pl.concat([log, arms.log(world, lived.day)])
        now = told_until(world)
        over = (now - timedelta(days=1)).date()
        if now <= schedule.start or not (daily or over in due or now >= end or not due):
            continue
        report = build(arms.config, arms.experiment, log.filter(pl.col("ts") < now).lazy(), now)
        done = final(report.verdict)
        if done and now < end:
            arms.stop(now)
        yield report
        if done:
            return
