"""Live listeners: the world of the logs goes on under any policy, with common luck and real feedback."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from bandits.uniformity import check
from recsys.errors import BadInput
from recsys.events import parse_batch
from recsys.home import Home
from recsys.lake import Lake
from recsys.rewards import attribute
from recsys.simulation import PROFILES, simulate
from recsys.simulation.catalog import Catalog
from recsys.simulation.listen import HOME, Played
from recsys.simulation.live import (
    DayFigures,
    Ledger,
    Linear,
    Lived,
    LiveDay,
    LiveSettings,
    LiveWorld,
    Policy,
    Popular,
    Random,
    Requests,
    Served,
    days,
    retention,
)
from recsys.simulation.live.figures import gini, top_share
from recsys.simulation.live.linear import epsilon_greedy
from recsys.simulation.live.policies import Quiet, distinct

MINI = PROFILES["tiny"].model_copy(update={"listeners": 150, "days": 8, "tracks": 600, "artists": 80})
WHOLE = LiveSettings(tick_minutes=1440, measured=0)
VALUED = LiveSettings(tick_minutes=1440, measured=60)
START = 5


@dataclass
class Start:
    """The world as its logs leave it, and policies that have learned from them."""

    world: LiveWorld
    linear: Linear
    popular: Popular


@pytest.fixture(scope="module")
def begun() -> Start:
    catalog = Catalog.make(MINI)
    linear, popular = Linear.of(catalog, MINI.listeners), Popular.of(catalog)

    def watch(day: LiveDay) -> None:
        linear.learn(day)
        popular.learn(day)

    return Start(LiveWorld.at(MINI, catalog, START, watch=watch), linear, popular)


@pytest.fixture
def start(begun: Start) -> Start:
    return copy.deepcopy(begun)


def live(world: LiveWorld, policy: Policy, settings: LiveSettings = WHOLE, count: int = 3) -> list[Lived]:
    return list(days(world, policy, settings, count))


def rows(lived: list[Lived], listeners: int | None = None) -> dict[str, NDArray[np.generic]]:
    """Every column of pages and plays of some days, of the first listeners."""
    out: dict[str, list[NDArray[np.generic]]] = {}
    for day in (each.day for each in lived):
        for part in (day.shown, day.played):
            mine = day.sessions.row[part.session] < (listeners or MINI.listeners)
            for f in fields(part):
                if f.name != "session":
                    out.setdefault(f"{type(part).__name__}.{f.name}", []).append(getattr(part, f.name)[mine])
            key = day.sessions.key[part.session[mine]]
            out.setdefault(f"{type(part).__name__}.key", []).append(key)
    return {name: np.concatenate(columns) for name, columns in out.items()}


def assert_equal(a: dict[str, NDArray[np.generic]], b: dict[str, NDArray[np.generic]]) -> None:
    for name, column in a.items():
        np.testing.assert_array_equal(column, b[name], err_msg=name)


@dataclass
class Told(Quiet):
    """Shows what a function of the requests says."""

    page: Callable[[Requests], NDArray[np.integer]]
    name: str = "told"

    def __post_init__(self) -> None:
        super().__post_init__()

    def serve(self, requests: Requests) -> Served:
        track = np.asarray(self.page(requests), np.int32)
        return Served(track, np.ones(track.shape), self.name)


def test_the_world_goes_on_exactly_where_its_logs_end(tmp_path: Path) -> None:
    home = Home.of(tmp_path).make()
    simulate(MINI, home, workers=1)
    logged = Lake(home.lake).scan("events").filter(pl.col("kind") == "play_end").collect()
    played: list[LiveDay] = []
    world = LiveWorld.at(MINI, Catalog.load(home.world / "catalog.npz"), MINI.days, watch=played.append)
    ends = np.sort(np.concatenate([d.played.start + d.played.ms for d in played]))
    np.testing.assert_array_equal(ends, np.sort(logged["ts"].dt.epoch("ms").to_numpy()))
    assert world.day == MINI.days


def test_two_runs_are_equal_in_every_row_for_any_batch_and_any_tick(start: Start) -> None:
    def run(batch: int, minutes: int) -> dict[str, NDArray[np.generic]]:
        again = copy.deepcopy(start)
        settings = LiveSettings(batch=batch, tick_minutes=minutes, measured=0)
        return rows(live(again.world, again.linear, settings))

    one = run(4096, 1440)
    assert len(one["Played.track"]) > 1_000
    for batch, minutes in ((4096, 1440), (7, 1440), (64, 30)):
        assert_equal(one, run(batch, minutes))


def test_a_listener_s_luck_does_not_depend_on_the_others(start: Start) -> None:
    few = start.world.only(60)
    whole = rows(live(start.world, Random(start.world.catalog), count=1), 60)
    assert_equal(whole, rows(live(few, Random(few.catalog), count=1), 60))
    assert len(whole["Played.track"]) > 100


def test_two_policies_meet_the_same_luck(start: Start) -> None:
    a = rows(live(copy.deepcopy(start.world), start.popular, count=1))
    b = rows(live(start.world, start.linear, count=1))
    np.testing.assert_array_equal(a["Shown.key"], b["Shown.key"])
    both = (a["Shown.track"] >= 0) & (b["Shown.track"] >= 0)
    assert (a["Shown.seen"] == b["Shown.seen"])[both].all()
    same = both & (a["Shown.track"] == b["Shown.track"])
    assert same.any()
    assert (a["Shown.played"] == b["Shown.played"])[same].all()


def test_another_luck_is_another_future_of_the_same_listeners(start: Start) -> None:
    other = copy.deepcopy(start.world)
    other.luck = 1
    a, b = (live(world, start.popular, count=1)[0].day for world in (start.world, other))
    assert len(a.sessions)
    assert not np.array_equal(a.sessions.key, b.sessions.key)
    np.testing.assert_array_equal(start.world.listeners.taste, other.listeners.taste)


def liked(world: LiveWorld, sign: int) -> Told:
    """The ten open tracks that each listener's tastes like best, or worst: it sees what no service can."""

    def page(requests: Requests) -> NDArray[np.integer]:
        taste = world.listeners.tastes_on(requests.listener, requests.day).mean(1)
        open_ = world.catalog.open_on(requests.day)[:, requests.country].T
        worth = np.where(open_, sign * (taste @ world.catalog.latent.T), -np.inf)
        return np.argsort(-worth, axis=1)[:, :10]

    return Told(page)


def test_a_listener_served_what_they_dislike_is_less_satisfied(start: Start) -> None:
    satisfaction = {}
    for sign in (1, -1):
        world = copy.deepcopy(start.world)
        lived = live(world, liked(world, sign), count=8)
        satisfaction[sign] = lived[-1].figures.satisfaction
    assert satisfaction[-1] < satisfaction[1] - 0.005


def test_the_less_satisfied_return_later_and_more_of_them_leave_for_good(start: Start) -> None:
    gaps, gone = {}, {}
    for satisfied in (0.6, 0.0):
        world = copy.deepcopy(start.world)
        ledger = Ledger.of(world)
        for _ in range(10):
            world.memory.satisfaction[:] = satisfied
            list(days(world, start.popular, WHOLE, 1, ledger))
        active = np.array(ledger.active)
        first = np.array([np.argmax(a) if a.any() else 99 for a in active[1:].T])[active[0]]
        gaps[satisfied], gone[satisfied] = first.mean(), world.memory.gone.sum()
    assert gaps[0.0] > gaps[0.6] + 0.5
    assert gone[0.0] > gone[0.6]


def test_what_is_shown_to_everyone_is_played_more_where_nobody_recommends(start: Start) -> None:
    catalog = start.world.catalog
    always = np.flatnonzero(catalog.open_on(START).all(1) & (catalog.release < 0))
    pushed, spared = always[:10], always[-10:]
    found = {}
    for name, tracks in (("pushed", pushed), ("spared", spared)):
        page = np.asarray(tracks)
        world = copy.deepcopy(start.world)
        lived = live(world, Told(lambda r, page=page: np.tile(page, (len(r), 1))), count=6)  # type: ignore[misc]
        organic = [d.day.played.track[d.day.played.source != HOME] for d in lived[2:]]
        found[name] = np.isin(np.concatenate(organic), pushed).mean()
        found[name, "buzz"] = world.recent[pushed].sum()
    assert found["pushed", "buzz"] > found["spared", "buzz"]
    assert found["pushed"] > found["spared"]


def test_over_exposure_tires_and_a_rest_recovers(start: Start) -> None:
    world = start.world
    track, rows_ = 7, np.arange(40)
    for _ in range(6):
        one = np.ones(len(rows_), np.float32)
        world.memory.learn(rows_, np.full(len(rows_), track, np.int32), one, one)

    def finished() -> float:
        again = copy.deepcopy(world)
        lived = live(again, Told(lambda r: np.full((len(r), 1), track)), count=1)[0].day
        mine = lived.sessions.row[lived.shown.session] < len(rows_)
        return float(lived.shown.z[mine, 0].mean())

    tired = finished()
    world.memory.fatigue[:] = 0
    assert finished() > tired + 0.3


def test_a_world_and_its_policy_go_on_from_where_they_were_saved(start: Start, tmp_path: Path) -> None:
    live(start.world, start.linear, count=1)
    start.world.save(tmp_path / "world.npz")
    np.savez(tmp_path / "policy.npz", **start.linear.state())
    straight = rows(live(start.world, start.linear, count=2))
    world = LiveWorld.load(MINI, start.world.catalog, tmp_path / "world.npz")
    policy = Linear.of(world.catalog, MINI.listeners)
    with np.load(tmp_path / "policy.npz") as stored:
        policy.restore(dict(stored))
    assert_equal(straight, rows(live(world, policy, count=2)))


@dataclass
class Hearing(Random):
    """Random, and keeps what it hears with the time it was told."""

    hears = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.heard: list[tuple[int, pl.DataFrame]] = []
        self.asked: list[int] = []

    def serve(self, requests: Requests) -> Served:
        self.asked.append(int(requests.now.min()))
        return super().serve(requests)

    def hear(self, events: pl.DataFrame, now: int) -> None:
        self.heard.append((now, events))


def test_events_are_valid_and_lead_from_each_slot_to_what_came_of_it(start: Start) -> None:
    policy = Hearing(start.world.catalog)
    lived = live(start.world, policy, LiveSettings(measured=0), count=1)[0].day
    events = pl.concat([frame for _, frame in policy.heard])
    bodies = [{k: v for k, v in row.items() if v is not None} for row in events.to_dicts()]
    good, refused = parse_batch(bodies)
    assert len(good) == len(events)
    assert not refused
    assert events["event_id"].n_unique() == len(events)
    rewards = attribute(events.with_columns(day=pl.col("ts").dt.date()).lazy())
    home = lived.played.source == HOME
    assert len(rewards) == lived.shown.seen.sum()
    assert rewards["played"].sum() == home.sum() > 0
    np.testing.assert_allclose(rewards["reward"].sum(), lived.played.reward[home].sum(), atol=1e-3)
    np.testing.assert_allclose(rewards["propensity"].sum(), lived.shown.propensity[lived.shown.seen].sum())


def test_a_policy_hears_what_has_happened_and_nothing_of_the_future(start: Start) -> None:
    policy = Hearing(start.world.catalog)
    live(start.world, policy, LiveSettings(measured=0), count=1)
    for now, events in policy.heard:
        assert events["ts"].dt.epoch("ms").max() <= now  # type: ignore[operator]
    assert len(policy.heard) > 10
    assert policy.asked == sorted(policy.asked)


def test_a_tick_that_could_hold_two_sessions_of_a_listener_is_refused_where_events_are_heard(
    start: Start,
) -> None:
    with pytest.raises(BadInput, match="at most 45 minutes"):
        live(start.world, Hearing(start.world.catalog), WHOLE)


def test_stated_propensities_are_those_of_the_draws() -> None:
    score = np.array([[0.3, -np.inf, 0.9, 0.1, -0.5]])
    key = np.arange(6_000, dtype=np.uint64)
    place, stated = epsilon_greedy(np.repeat(score, len(key), axis=0), 0.4, key, 2)
    first = np.array([0.1, 0.0, 0.7, 0.1, 0.1])
    assert not check([first], [place[:, 0]], seed=0).rejected()
    np.testing.assert_allclose(stated[:, 0], first[place[:, 0]])
    after = place[:, 0] == 2
    second = np.array([0.6 + 0.4 / 3, 0.0, 0.0, 0.4 / 3, 0.4 / 3])
    assert not check([second], [place[after, 1]], seed=0).rejected()
    drawn = distinct(key, 5, 3)
    assert (np.diff(np.sort(drawn, axis=1), axis=1) > 0).all()
    assert not check([np.full(5, 0.2)], [drawn[:, 2]], seed=0).rejected()


def test_scores_shifted_by_a_constant_change_nothing_and_all_negative_ones_are_not_inverted() -> None:
    key = np.arange(200, dtype=np.uint64)
    score = -1 - np.random.default_rng(0).random((200, 12))
    place, stated = epsilon_greedy(score, 0.2, key, 4)
    moved = epsilon_greedy(score + 5, 0.2, key, 4)
    np.testing.assert_array_equal(place, moved[0])
    np.testing.assert_array_equal(stated, moved[1])
    np.testing.assert_array_equal(epsilon_greedy(score, 0.0, key, 1)[0][:, 0], score.argmax(1))


def test_values_are_measured_on_the_same_pages_for_every_policy(start: Start) -> None:
    a = live(copy.deepcopy(start.world), Random(start.world.catalog), VALUED, 1)[0]
    b = live(start.world, start.linear, VALUED, 1)[0]
    assert a.values is not None
    assert b.values is not None
    assert len(a.values) > 10
    np.testing.assert_array_equal(a.values.key, b.values.key)
    np.testing.assert_allclose(a.values.oracle, b.values.oracle)
    np.testing.assert_allclose(a.values.random, b.values.random)
    assert (b.values.oracle >= b.values.served - 1e-9).mean() > 0.99
    assert b.figures.true_value > a.figures.true_value + 0.1
    assert np.isnan(a.figures.exploration_loss)
    assert np.isfinite(b.figures.exploration_loss)


def test_retention_and_concentration_are_what_they_say() -> None:
    active = [np.array(day) for day in ([True, True, False], [True, False, True], [False, True, False])]
    np.testing.assert_allclose(retention(active, 1)[:2], [0.5, 0.0])
    np.testing.assert_allclose(retention(active, 2)[0], 1.0)
    assert np.isnan(retention(active, 2)[1:]).all()
    assert gini(np.array([1.0, 1, 1, 1])) == pytest.approx(0)
    assert gini(np.array([0.0, 0, 0, 1])) == pytest.approx(0.75)
    assert top_share(np.arange(100.0), 0.01) == pytest.approx(99 / 4950)


def test_figures_count_what_happened(start: Start) -> None:
    ledger = Ledger.of(start.world)
    lived = list(days(start.world, start.popular, WHOLE, 2, ledger))
    figures: DayFigures = lived[1].figures
    played: Played = lived[1].day.played
    assert figures.plays == len(played.track)
    assert figures.hours == pytest.approx(played.ms.sum() / 3.6e6)
    assert figures.listeners == len(np.unique(lived[1].day.sessions.row)) == ledger.active[1].sum()
    assert ledger.exposed.sum() == sum(each.figures.seen for each in lived)
