"""The mixed worlds of benchmarks/live_ab.py: a warm population, tests in it, and what is true of it.

warm = Warm.made(listeners=2000)                 # 12 days of log, 28 days with the control's policy
course(warm, share=0.4, number=3)                # one test, to its own stop
truth(warm, share=0.4, seed=1)                   # the mixed world's effect, and all-on minus all-off
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from experiments.config import Config
from experiments.experiment import Experiment
from experiments.planning import Planned, plan
from experiments.report.asked import asked
from experiments.report.baseline import Past, measured
from experiments.report.frame import daily
from experiments.report.record import Report
from experiments.report.schedule import Schedule
from experiments.report.units import exposed
from recsys.simulation import PROFILES
from recsys.simulation.catalog import Catalog
from recsys.simulation.live import (
    Blend,
    Linear,
    LiveDay,
    LiveSettings,
    LiveWorld,
    Policy,
    Popular,
    Random,
    days,
)
from recsys.simulation.sessions import MS_PER_DAY
from serving.loop.arms import Arms
from serving.loop.trial import reports, told_until

NAME, CONTROL, TREATMENT = "chart-slots", "control", "treatment"
SHARE = 0.5
"""Of the control's slots, those that show the chart's track."""
DAYS, LOGGED, LIVED = 14, 12, 28
SETTINGS = LiveSettings(tick_minutes=10_080, batch=1 << 20, measured=0)
TESTS, TRUTHS = 10_000, 50_000
"""Where the seeds of tests and of replicates for the truth begin: none is used for both, nor for choosing anything."""


@dataclass(frozen=True)
class Warm:
    """A population that has lived for weeks with the control's policy; never changed, only copied.

    Attributes:
        before: the log of the live weeks.
    """

    world: LiveWorld
    base: Linear
    chart: Popular
    before: pl.DataFrame

    @classmethod
    def made(cls, listeners: int, logged: int = LOGGED, lived: int = LIVED, tracks: int = 6000) -> Warm:
        size = {"listeners": listeners, "tracks": tracks, "artists": max(tracks // 9, 20)}
        profile = PROFILES["demo"].model_copy(update=size)
        catalog = Catalog.make(profile)
        base, chart = Linear.of(catalog, listeners, 0.0), Popular.of(catalog)

        def watch(day: LiveDay) -> None:
            for policy in (base, chart):
                policy.learn(day)

        world = LiveWorld.at(profile, catalog, logged, watch=watch)
        begin = datetime.fromtimestamp((world.epoch_ms + (world.day + lived) * MS_PER_DAY) / 1000, UTC)
        now = Blend(base, chart, SHARE)
        arms = Arms(
            config(begin + timedelta(days=1), "not-yet"), {CONTROL: now, TREATMENT: now}, NAME, whole=False
        )
        log = [arms.log(world, each.day) for each in days(world, arms, SETTINGS, lived)]
        return cls(world, base, chart, pl.concat(log))

    @property
    def start(self) -> datetime:
        """The first UTC midnight of which everything is still to come."""
        return told_until(self.world) + timedelta(days=2)

    def again(self, luck: int) -> Warm:
        """A copy whose listeners have another luck from this morning on."""
        world, base, chart = copy.deepcopy((self.world, self.base, self.chart))
        world.luck = luck
        return Warm(world, base, chart, self.before)

    def policy(self, share: float) -> Policy:
        """The control's policy with another share of slots that show the chart."""
        return Blend(self.base, self.chart, share)


def config(start: datetime, salt: str, mde: float = 0.2, **question: Any) -> Config:
    """The test as somebody would write it down; `question` adds to what it asks."""
    body = {"primary": "reward", "mde": mde, "stopping": {"rule": "group_sequential", "looks": 4}, **question}
    arms = [{"name": name, "weight": 0.5} for name in (CONTROL, TREATMENT)]
    skips = {"numerator": "shown_skipped", "denominator": "shown_played"}
    metrics = [
        {"name": "reward", "kind": "mean", "direction": "increase"},
        {"name": "home_skips", "kind": "ratio", "direction": "decrease", **skips},
    ]
    test = {"name": NAME, "salt": salt, "start": start, "stop": start + timedelta(days=DAYS), "arms": arms}
    return Config.model_validate({"metrics": metrics, "experiments": [{**test, "question": body}]})


def experiment_of(config: Config) -> Experiment:
    found = config.experiment(NAME)
    assert found is not None
    return found


def planned(warm: Warm) -> tuple[Past, Planned]:
    """What the product's planner makes of the weeks before: baseline, arrivals, and what the test can find."""
    asks = config(warm.start, "plan")
    past = measured(asks, experiment_of(asks), warm.before.lazy(), days=DAYS)
    return past, plan(experiment_of(asks), past.baselines, list(past.arrivals))


def course(warm: Warm, share: float, number: int, mde: float) -> dict[str, Any]:
    """One test to its own stop: each has its own salt, so other listeners in its arms, and its own luck."""
    own = warm.again(TESTS + number)
    test = config(own.start, f"test-{number}", mde)
    arms = Arms(test, {CONTROL: own.policy(SHARE), TREATMENT: own.policy(share)}, NAME, whole=False)
    last = list(reports(own.world, arms, _recent(own), SETTINGS, daily=False))[-1]
    return {"number": number, "share": share, **outcome(last)}


def _recent(warm: Warm) -> pl.DataFrame:
    """The days that adjust."""
    return warm.before.filter(pl.col("day") >= (warm.start - timedelta(days=15)).date())


def outcome(report: Report) -> dict[str, Any]:
    """How a test ended."""
    row = report.row("reward", TREATMENT) if report.metrics else None
    return {
        "decision": report.verdict.decision,
        "sentence": report.verdict.sentence,
        "days": report.days,
        "units": sum(arm.units for arm in report.arms),
        "estimate": None if row is None else row.estimate,
        "low": None if row is None else row.low,
        "high": None if row is None else row.high,
        "se": None if row is None else row.effect.se,
        "breached": [r.metric for r in report.metrics if r.standing == "breached"],
    }


def look_days(warm: Warm) -> list[int]:
    """Days of the test after which its rule looks."""
    plan = Schedule.of(experiment_of(config(warm.start, "looks")))
    return [(day - warm.start.date()).days + 1 for _, day in plan.looks]


def truth(warm: Warm, share: float, seed: int) -> dict[str, Any]:
    """What one replicate says of the estimand: at each look, and at the end, metric over listener-days since exposure.

    Mixed: the world is lived twice with the same luck, the second time with the arms' listeners exchanged, so that
    each listener is met under both policies while half of the others are under each. On: everybody has the new policy.
    """
    if share == SHARE:  # all of these are one world, row by row (tests/serving/test_mixed_worlds.py)
        same = all_off(warm, seed)["off"]
        return {"share": share, "seed": seed, "old": same, "new": same, "on": same}
    both = [mixed(warm, (SHARE, share), seed), mixed(warm, (share, SHARE), seed)]
    old = both[0][CONTROL] + both[1][TREATMENT]
    new = both[0][TREATMENT] + both[1][CONTROL]
    on = mixed(warm, (share, share), seed)
    everybody = on[CONTROL] + on[TREATMENT]
    return {"share": share, "seed": seed, "old": _mean(old), "new": _mean(new), "on": _mean(everybody)}


def all_off(warm: Warm, seed: int) -> dict[str, Any]:
    """The same, nobody having anything new."""
    off = mixed(warm, (SHARE, SHARE), seed)
    return {"seed": seed, "off": _mean(off[CONTROL] + off[TREATMENT])}


def mixed(warm: Warm, shares: tuple[float, float], seed: int) -> dict[str, np.ndarray]:
    """By arm, (looks, 2): reward and listener-days since exposure so far, from the report's own frames."""
    own = warm.again(TRUTHS + seed)
    test = config(own.start, f"truth-{seed}")
    policies = {arm: own.policy(share) for arm, share in zip((CONTROL, TREATMENT), shares, strict=True)}
    arms = Arms(test, policies, NAME, whole=False)
    end = own.start + timedelta(days=DAYS)
    log = []
    while told_until(own.world) < end:
        log += [arms.log(own.world, each.day) for each in days(own.world, arms, SETTINGS, 1)]
    return sums(pl.concat(log), test, look_days(own))


def sums(log: pl.DataFrame, test: Config, looks: list[int]) -> dict[str, np.ndarray]:
    """What `mixed` tells, of a log."""
    one = experiment_of(test)
    assert one.start is not None
    assert one.stop is not None
    found = exposed(log.lazy(), NAME, "listener", one.start, one.stop)
    values = [value for each in asked(test, one) if each.role == "primary" for value in each.values]
    last = (one.stop - timedelta(days=1)).date()
    frame = daily(log.lazy(), found.units, values, one.start.date(), last)
    frame = frame.filter(pl.col("day") >= pl.col("exposed_day"))
    out = {}
    for arm in (CONTROL, TREATMENT):
        mine = frame.filter(pl.col("arm") == arm)
        so_far = [mine.filter(pl.col("day") < (one.start + timedelta(days=n)).date()) for n in looks]
        out[arm] = np.array([[part["reward"].sum(), part["days"].sum()] for part in so_far])
    return out


def _mean(sums: np.ndarray) -> list[float]:
    return [float(reward / listener_days) for reward, listener_days in sums]


def guarded(warm: Warm, harm: bool, number: int, mde: float) -> dict[str, Any]:
    """A test with a guardrail that is read every day; with harm, the new policy shows any track that is open.

    Without harm both arms are the same, and the test is read at its end only: a breach on any day of it shows there.
    """
    own = warm.again(TESTS + 5_000 * (1 + harm) + number)
    asks = {"guardrails": [{"metric": "home_skips", "margin": 0.1}]}
    test = config(own.start, f"guarded-{harm}-{number}", mde, **asks)
    old = own.policy(SHARE)
    new = Random(own.world.catalog) if harm else old
    arms = Arms(test, {CONTROL: old, TREATMENT: new}, NAME, whole=False)
    found = list(reports(own.world, arms, _recent(own), SETTINGS, daily=harm))
    skips = [row for row in found[-1].metrics if row.metric == "home_skips"]
    told = {"breach_p": skips[0].breach_p, "skips": skips[0].effect.effect} if skips else {}
    return {"number": number, "harm": harm, **outcome(found[-1]), **told}


def smaller(warm: Warm, listeners: int) -> Warm:
    """The same with the first listeners only."""
    return replace(warm, world=warm.world.only(listeners))
