"""Mixed worlds: arms served by their policies in one world, tests read by the product's report, stopped by its rule."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest

from benchmarks import live_ab_worlds as worlds
from benchmarks.live_ab_worlds import CONTROL, NAME, TREATMENT, Warm
from experiments.assign import assign_many
from experiments.config import Config
from experiments.report.build import build
from experiments.report.units import exposed
from recsys.errors import BadInput
from recsys.simulation.listen import HOME
from recsys.simulation.live import (
    Blend,
    LiveSettings,
    Policy,
    Popular,
    Random,
    Requests,
    Served,
    days,
)
from recsys.simulation.live.day import OPENED_MS
from serving.loop.arms import Arms
from serving.loop.trial import reports, told_until

SETTINGS = LiveSettings(tick_minutes=10_080, measured=0)


@pytest.fixture(scope="module")
def warm() -> Warm:
    return Warm.made(listeners=800, logged=2, lived=3, tracks=1000)


def mixed(own: Warm, salt: str, new: Policy | None = None, **asks: Any) -> Arms:
    """A test of today's policy against a new one, or against itself."""
    old = own.policy(worlds.SHARE)
    return Arms(worlds.config(own.start, salt, **asks), {CONTROL: old, TREATMENT: new or old}, NAME)


def log_of(own: Warm, arms: Arms, count: int) -> pl.DataFrame:
    return pl.concat([arms.log(own.world, lived.day) for lived in days(own.world, arms, SETTINGS, count)])


def test_a_mixed_world_of_one_policy_is_the_world_of_that_policy_row_by_row(warm: Warm) -> None:
    one, other = warm.again(1), warm.again(1)
    plain = list(days(one.world, one.policy(worlds.SHARE), SETTINGS, 4))
    arms = mixed(other, "same")
    both = list(days(other.world, arms, SETTINGS, 4))
    for a, b in zip(plain, both, strict=True):
        for part in ("shown", "played"):
            first, second = getattr(a.day, part), getattr(b.day, part)
            for name in vars(first):
                np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    np.testing.assert_array_equal(one.base.gram, other.base.gram)  # it learned once from each day
    assert any(len(lived.day.played.track) > 100 for lived in both)


def test_who_is_in_which_arm_is_what_assignment_says_and_exposure_is_the_first_request_after_the_start(
    warm: Warm,
) -> None:
    own = warm.again(2)
    arms = mixed(own, "whose", Random(own.world.catalog))
    asked: list[tuple[str, int, bool]] = []
    log = []
    for lived in days(own.world, arms, SETTINGS, 3):
        s = lived.day.sessions
        rows = lived.day.shown.session
        users = own.world.user_ids[s.row[rows]]
        asked += zip(users, (s.start[rows] - OPENED_MS).tolist(), s.incognito[rows].tolist(), strict=True)
        log.append(arms.log(own.world, lived.day))
    start = int(warm.start.timestamp() * 1000)
    first: dict[str, int] = {}
    for user, at, hidden in sorted(asked, key=lambda row: row[1]):
        if at >= start and not hidden:
            first.setdefault(user, at)
    told = exposed(pl.concat(log).lazy(), NAME, "listener", warm.start, warm.start + timedelta(days=30)).all
    assert dict(zip(told["unit"], told["exposed_at"].dt.epoch("ms"), strict=True)) == first
    said = assign_many(arms.config, told["unit"].to_list(), start)[NAME]
    assert [(CONTROL, TREATMENT)[number] for number in said] == told["arm"].to_list()
    assert set(said) == {0, 1}


def test_listeners_of_an_arm_see_their_policy_and_before_the_start_everybody_sees_the_controls(
    warm: Warm,
) -> None:
    own = warm.again(3)
    chart = Popular.of(own.world.catalog)
    chart.counts = own.chart.counts.copy()
    arms = Arms(
        worlds.config(warm.start, "sees"), {CONTROL: chart, TREATMENT: Random(own.world.catalog)}, NAME
    )
    start = int(warm.start.timestamp() * 1000)
    seen = {True: [0, 0], False: [0, 0]}
    for lived in days(own.world, arms, SETTINGS, 5):
        s, shown = lived.day.sessions, lived.day.shown
        at = s.start[shown.session] - OPENED_MS
        arm = assign_many(arms.config, list(own.world.user_ids), start)[NAME][s.row[shown.session]]
        treated = (arm == 1) & (at >= start)
        for who in (True, False):
            some = shown.propensity[treated == who]
            seen[who][0] += len(some)
            seen[who][1] += int((some == 1.0).all(axis=1).sum())  # the chart is certain, random is not
    assert seen[True][0] > 10
    assert seen[True][1] == 0
    assert seen[False][0] == seen[False][1] > 10


def test_what_the_report_counts_is_what_listeners_did(warm: Warm) -> None:
    own = warm.again(4)
    arms = mixed(own, "counts", Random(own.world.catalog))
    config, log, reward = arms.config, [], {}
    begin = int(warm.start.timestamp() * 1000)
    until = warm.start + timedelta(days=4)
    end = int(until.timestamp() * 1000)
    while told_until(own.world) < until:
        for lived in days(own.world, arms, SETTINGS, 1):
            played, s = lived.day.played, lived.day.sessions
            for i in np.flatnonzero(played.source == HOME):
                opened = s.start[played.session[i]] - OPENED_MS
                if begin <= opened < end - 6 * 3_600_000 and not s.incognito[played.session[i]]:
                    user = own.world.user_ids[s.row[played.session[i]]]
                    reward[user] = reward.get(user, 0.0) + float(played.reward[i])
            log.append(arms.log(own.world, lived.day))
    whole = pl.concat(log).filter(
        pl.col("ts") < until - timedelta(hours=6)
    )  # whole sessions near the end aside
    found = worlds.sums(whole, config, [4])
    units = exposed(whole.lazy(), NAME, "listener", warm.start, until).units
    for arm in (CONTROL, TREATMENT):
        mine = units.filter(pl.col("arm") == arm)["unit"].to_list()
        total, listener_days = found[arm][0]
        assert total == pytest.approx(sum(reward.get(user, 0.0) for user in mine), rel=0.05)
        first = units.filter(pl.col("arm") == arm)["exposed_day"]
        assert listener_days == sum((until.date() - day).days for day in first)
    assert sum(abs(part[0][0]) for part in found.values()) > 1


def test_a_log_of_answers_alone_gives_the_same_verdict(warm: Warm) -> None:
    found = []
    for whole in (True, False):
        own = warm.again(5)
        arms = mixed(own, "answers")
        arms.whole = whole
        log = log_of(own, arms, 4)
        now = told_until(own.world)
        report = build(arms.config, NAME, log.filter(pl.col("ts") < now).lazy(), now)
        row = report.row("reward", TREATMENT)
        found.append((report.verdict, row.effect.effect, row.effect.se, len(log)))
    assert found[0][:3] == found[1][:3]
    assert found[0][3] > 2 * found[1][3]


def test_the_same_seed_lives_the_same_test_and_another_does_not(warm: Warm) -> None:
    one, again, other = (log_of(own, mixed(own, "seed"), 2) for own in map(warm.again, (6, 6, 7)))
    assert one.equals(again)
    assert not one.equals(other)


def test_a_guardrail_that_is_breached_ends_its_test_before_any_planned_look(warm: Warm) -> None:
    own = warm.again(8)
    harm = Counted(own.world.catalog)
    guardrail = {"metric": "home_skips", "margin": 0.1}
    arms = mixed(own, "harm", harm, primary="hours", guardrails=[guardrail])
    found = list(reports(own.world, arms, own.before, SETTINGS))
    last = found[-1]
    assert last.verdict.decision == "do_not_ship"
    assert last.verdict.sentence.startswith("Do not ship: its guardrail home_skips (")
    assert last.verdict.sentence.endswith("is breached. Stop it now.")
    assert last.days < 7
    assert all(report.verdict.decision == "keep_running" for report in found[:-1])
    served = harm.served
    log_of(own, arms, 2)
    assert harm.served == served > 0  # everybody has the control's policy again
    assert arms.running.stopped == datetime.fromisoformat(last.data_until)


@dataclass
class Counted(Random):
    """Any track that is open, and how many pages of them."""

    served: int = 0

    def serve(self, requests: Requests) -> Served:
        self.served += len(requests)
        return super().serve(requests)


@pytest.mark.slow
def test_a_rule_without_guardrails_reads_at_its_looks_and_ends_at_the_end(warm: Warm) -> None:
    own = warm.again(9)
    found = list(reports(own.world, mixed(own, "ends"), own.before, SETTINGS, daily=False))
    assert [report.days for report in found] == [7, 10, 14][: len(found)]
    assert all(report.verdict.decision == "keep_running" for report in found[:-1])
    assert found[-1].verdict.decision in ("ship", "do_not_ship")


def test_a_blend_replaces_nested_slots_and_its_ends_are_its_parts(warm: Warm) -> None:
    own = warm.again(10)
    catalog = own.world.catalog
    pages = {}
    for share in (0.0, 0.3, 0.6, 1.0):
        world, base = copy.deepcopy((own.world, own.base))
        [lived] = days(world, Blend(base, Random(catalog), share), SETTINGS, 1)
        pages[share] = lived.day.shown.track
    [alone] = days(copy.deepcopy(own.world), copy.deepcopy(own.base), SETTINGS, 1)
    [random] = days(copy.deepcopy(own.world), Random(catalog), SETTINGS, 1)
    np.testing.assert_array_equal(pages[0.0], alone.day.shown.track)
    np.testing.assert_array_equal(pages[1.0], random.day.shown.track)
    few, many = (pages[share] != pages[0.0] for share in (0.3, 0.6))
    assert 0.2 < few.mean() < 0.4 < many.mean() < 0.7
    assert (few & ~many).mean() < 0.01  # but for repeats of what is on the page


def test_arms_that_would_need_a_service_and_arms_without_a_policy_are_refused(warm: Warm) -> None:
    config = worlds.config(warm.start, "refused")
    with pytest.raises(BadInput, match="one policy for each arm"):
        Arms(config, {CONTROL: warm.chart}, NAME)
    released = config.model_dump(mode="json", exclude_defaults=True)
    released["experiments"][0]["arms"][1]["release"] = "challenger"
    both = {CONTROL: warm.chart, TREATMENT: warm.chart}
    with pytest.raises(BadInput, match="arms that set nothing"):
        Arms(Config.model_validate_json(orjson.dumps(released)), both, NAME)


def test_arms_go_on_from_what_they_kept(warm: Warm) -> None:
    own = warm.again(11)
    arms = mixed(own, "kept", own.policy(0.1))
    log_of(own, arms, 2)
    other = warm.again(11)
    restored = mixed(other, "kept", other.policy(0.1))
    restored.restore({name: value.copy() for name, value in arms.state().items()})
    one, two = copy.deepcopy(own.world), copy.deepcopy(own.world)
    [a], [b] = days(one, arms, SETTINGS, 1), days(two, restored, SETTINGS, 1)
    np.testing.assert_array_equal(a.day.shown.track, b.day.shown.track)
