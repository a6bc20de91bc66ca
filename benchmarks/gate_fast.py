"""One run of the gate's rules on fast live listeners: days of the champion's logs, the off-policy stage, the canary.

The rules are those of serving/gating (off_policy.judged, canary.judge, trial.document); only the releases are heads
over linear features (gate_policies.py), so that hundreds of runs fit into minutes.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from bandits.ope.frame import Target
from benchmarks.gate_policies import I64, JUDGED, Arms, Head, moved
from experiments.assign import assign_many
from experiments.config import Config
from recsys.plays import Outcome
from recsys.simulation.catalog import Catalog
from recsys.simulation.listen import HOME
from recsys.simulation.live import Linear, LiveDay, LiveSettings, LiveWorld, Values
from recsys.simulation.live.figures import Ledger
from recsys.simulation.live.run import Clock, live_day
from recsys.simulation.profiles import Profile
from recsys.simulation.shard import epoch_day
from serving.gating.canary import CHALLENGER, CHAMPION, Judged, judge
from serving.gating.off_policy import judged as judged_off_policy
from serving.gating.record import Check
from serving.gating.settings import GateSettings
from serving.gating.trial import Plan, document

PROFILE = Profile(
    name="gate", listeners=6000, tracks=6000, artists=700, days=30, parents=8, leaves=4, library=64
)
START, LOG_DAYS = 24, 5
TEMPERATURE, NOISE = 0.5, 1.5
"""Of the champion: its draw, and its noise, which leaves room for a better one."""
_WHOLE_DAY = 1440


@dataclass(frozen=True)
class Setting:
    """The morning from which all runs start."""

    world: LiveWorld
    model: Linear
    spread: float
    champion: Head
    faults: tuple[Head, ...]

    def arms(self, head: Head, luck: int) -> Arms:
        return Arms(moved(self.model), head, self.spread, TEMPERATURE, luck)


def setting(profile: Profile = PROFILE) -> Setting:
    """The world on the first day of the runs, the champion, and the gross faults."""
    catalog = Catalog.make(profile)
    model, early = Linear.of(catalog, profile.listeners), Linear.of(catalog, profile.listeners)
    stale: list[Linear] = []

    def watch(day: LiveDay) -> None:
        if day.day == 1:
            stale.append(moved(model))
            early._fit(_few(day, 30))
        model.learn(day)
        early.restore({**early.state(), "counts": model.counts, "genre": model.genre, "artist": model.artist})

    world = LiveWorld.at(profile, catalog, START, watch=watch)
    spread = _spread(world, model)
    champion = Head("champion", model.weights, NOISE, 1)
    faults = (
        Head("sign flip", -model.weights, NOISE, 2),
        Head("stale features", model.weights, NOISE, 3, stale=stale[0]),
        Head("half-trained", early.weights, NOISE, 4),
    )
    return Setting(world, model, spread, champion, faults)


def _few(day: LiveDay, pages: int) -> LiveDay:
    """The day with its first pages alone."""
    shown = day.shown
    return replace(day, shown=type(shown)(*(getattr(shown, f)[:pages] for f in shown.__dataclass_fields__)))


def _spread(world: LiveWorld, model: Linear) -> float:
    """Mean standard deviation of the scores of a page's candidates, over a day."""
    found: list[float] = []

    class Watched(Arms):
        def _scores(self, *args: Any) -> Any:
            score = super()._scores(*args)
            found.extend(float(np.std(row[np.isfinite(row)])) for row in score)
            return score

    head = Head("plain", model.weights, 0.0, 0)
    lived(copy.deepcopy(world), Watched(moved(model), head, 1.0, 0.01), 0)
    return float(np.mean(found))


def lived(world: LiveWorld, arms: Arms, measured: int = 0) -> tuple[LiveDay, Values | None]:
    """One day; world and policy move on."""
    settings = LiveSettings(tick_minutes=_WHOLE_DAY, measured=measured)
    done = live_day(world, arms, settings, Ledger.of(world), Clock())
    return done.day, done.values


def values(given: Setting, head: Head, lucks: Sequence[int]) -> pl.DataFrame:
    """True value of every page of the first day, under some lucks; the same pages for every head."""
    parts = []
    for luck in lucks:
        world = copy.deepcopy(given.world)
        world.luck = luck
        _, found = lived(world, given.arms(head, luck), 10**6)
        assert found is not None
        columns = {"gain": found.served - found.random, "room": found.oracle - found.random}
        parts.append(pl.DataFrame({"luck": luck, "key": found.key, "listener": found.listener, **columns}))
    return pl.concat(parts).sort("luck", "key")


@dataclass
class Week:
    """The champion's logs of one luck, and how the world stands after them."""

    world: LiveWorld
    arms: Arms

    @classmethod
    def of(cls, given: Setting, luck: int, judged: tuple[Head, ...]) -> Week:
        world = copy.deepcopy(given.world)
        world.luck = luck
        arms = given.arms(given.champion, luck)
        arms.judged = judged
        for _ in range(LOG_DAYS):
            lived(world, arms)
        return cls(world, arms)

    def check(self, head: Head, settings: GateSettings) -> Check:
        """The off-policy stage."""
        logged = self.arms.logged
        item, pages = np.concatenate(logged.item), sum(map(len, logged.item))
        whole = (item >= 0).all(1)
        flat = whole.repeat(JUDGED)
        target = np.nan_to_num(np.concatenate(logged.target[head.name])).ravel()[flat]
        frame = pl.DataFrame(
            {
                "request_id": np.arange(pages).repeat(JUDGED)[flat],
                "listener": np.concatenate(logged.listener).repeat(JUDGED)[flat],
                "slot": np.tile(np.arange(JUDGED), pages)[flat],
                "item": item.ravel()[flat],
                "propensity": np.concatenate(logged.propensity).ravel()[flat],
                "reward": np.concatenate(logged.reward).ravel()[flat],
            }
        )
        assert settings.off_policy is not None
        return judged_off_policy(frame, Target(head.name, target), settings.off_policy)


@dataclass
class Book:
    """What the units of a canary did, day by day."""

    first: I64  # (listeners,) day of exposure; -1 none
    arm: I64  # (listeners,) at exposure
    days: list[pl.DataFrame] = field(default_factory=list)
    counts: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def of(cls, listeners: int) -> Book:
        return cls(np.full(listeners, -1), np.full(listeners, -1))

    def add(self, number: int, day: LiveDay, arm: I64, start: datetime) -> None:
        """Day `number` from 0; `arm` (listeners,) of today, -1 outside."""
        who = day.sessions.row
        asked = who[day.shown.session]
        new = np.unique(asked[(self.first[asked] < 0) & (arm[asked] >= 0)])
        self.first[new], self.arm[new] = number, arm[new]
        self.counts.append(tuple(int((self.arm == a).sum()) for a in (0, 1)))  # type: ignore[arg-type]
        n, unit = len(self.first), np.flatnonzero(self.first >= 0)
        played, home = day.played, day.played.source == HOME
        skipped = home & (played.outcome == Outcome.SKIP)

        def total(rows: Any, weights: Any = None) -> Any:
            return np.bincount(rows, weights, minlength=n)[unit].astype(np.float64)

        self.days.append(
            pl.DataFrame(
                {
                    "unit": unit,
                    "arm": np.array([CHAMPION, CHALLENGER])[self.arm[unit]],
                    "exposed_day": [start.date() + timedelta(days=int(d)) for d in self.first[unit]],
                    "day": [start.date() + timedelta(days=number)] * len(unit),
                    "reward": total(who[played.session[home]], played.reward[home]),
                    "shown": total(asked, day.shown.seen.sum(1)),
                    "shown_skipped": total(who[played.session[skipped]]),
                    "shown_played": total(who[played.session[home]]),
                    "hours": total(who[played.session], played.ms / 3_600_000),
                    "days": np.ones(len(unit)),
                    "failed": np.zeros(len(unit)),
                    "answers": total(asked),
                    "slow": np.zeros(len(unit)),
                }
            )
        )


def canary(week: Week, head: Head, luck: int, settings: GateSettings, small: bool) -> dict[str, Any]:
    """Lives the canary to its end; the stage that ended it, the rule, and the days.

    Args:
        small: whether the off-policy stage could not tell, and the share is halved.
    """
    world, arms, own = copy.deepcopy(week.world), week.arms.apart(), settings.canary
    arms.judged, arms.challenger = (), head
    begin = (epoch_day(world.profile) + world.day) * 86_400_000
    share = own.share / 2 if small else own.share
    name = f"{head.name.replace(' ', '-').replace('%', '')}-{luck}".replace("+", "p")
    plan = Plan(name, "2", "1", begin, share, own.wide_share, own.most_days, own.looks, settings.alpha)
    start, book = datetime.fromtimestamp(begin / 1000, UTC), Book.of(len(world.listeners))
    users = world.user_ids.tolist()
    for number in range(own.most_days):
        arm = _placed(plan, users, begin + number * 86_400_000)
        arms.placed = arm == 1
        day, _ = lived(world, arms)
        book.add(number, day, arm, start)
        found = judge(pl.concat(book.days), book.counts, start.date(), settings)
        if found.verdict in ("stopped", "better", "not_shown"):
            break
        if plan.wide is None and number + 1 >= own.days and found.safe:
            plan = replace(plan, wide=begin + (number + 1) * 86_400_000)
    return {**_ended(found, number + 1), "stage": "canary" if plan.wide is None else "wide"}


def resplit(
    given: Setting, luck: int, seeds: Sequence[int], settings: GateSettings
) -> Iterator[dict[str, Any]]:
    """The champion against itself: listeners live once, and every seed splits them by another salt."""
    world = copy.deepcopy(given.world)
    world.luck, own = luck, settings.canary
    begin = (epoch_day(world.profile) + world.day) * 86_400_000
    start, users = datetime.fromtimestamp(begin / 1000, UTC), world.user_ids.tolist()
    arms = given.arms(given.champion, luck)
    days = [lived(world, arms)[0] for _ in range(own.most_days)]
    for seed in seeds:
        plan = Plan(
            f"aa-{luck}-{seed}",
            "2",
            "1",
            begin,
            own.share,
            own.wide_share,
            own.most_days,
            own.looks,
            settings.alpha,
        )
        book = Book.of(len(users))
        for number, day in enumerate(days):
            arm = _placed(plan, users, begin + number * 86_400_000)
            book.add(number, day, arm, start)
            found = judge(pl.concat(book.days), book.counts, start.date(), settings)
            if found.verdict != "running":
                break
            if plan.wide is None and number + 1 >= own.days and found.safe:
                plan = replace(plan, wide=begin + (number + 1) * 86_400_000)
        yield {"seed": seed, "life": luck, **_ended(found, number + 1)}


def _placed(plan: Plan, users: list[str], morning: int) -> I64:
    """(listeners,) the arm of each at noon; -1: in none."""
    config = Config.model_validate(document(plan))
    return assign_many(config, users, morning + 43_200_000)[plan.experiment].astype(np.int64)


def _ended(found: Judged, days: int) -> dict[str, Any]:
    last = found.checks[-1]
    rule = next((c.rule for c in found.checks if c.outcome == "stopped"), last.rule)
    effect = found.effects.get("reward", {})
    relative = effect["difference"] / abs(effect[CHAMPION]) if effect else None
    se = effect["se"] / abs(effect[CHAMPION]) if effect else None
    promoted = found.verdict == "better"
    return {"promoted": promoted, "rule": rule, "days": days, "effect": relative, "se": se}


def one(week: Week, head: Head, luck: int, settings: GateSettings) -> dict[str, Any]:
    """A whole run: off-policy, then canary."""
    began = time.process_time()
    check = week.check(head, settings)
    about = {"off_policy": check.outcome, "off_policy_said": check.sentence}
    if check.outcome == "stopped":
        out = {"promoted": False, "stage": "off_policy", "rule": check.rule, "days": 0}
    else:
        out = canary(week, head, luck, settings, check.outcome == "unclear")
    return {"challenger": head.name, "seed": luck, **out, **about, "cpu_s": time.process_time() - began}
