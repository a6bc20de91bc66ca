"""The policies that teach and judge the surrogate: named apart, true to their shapes, and exact after a restart."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.surrogate_judge import kendall
from benchmarks.surrogate_policies import HELD_OUT, TRAINING, Mixed, Shaped, half, shaped
from recsys.simulation import PROFILES
from recsys.simulation.catalog import Catalog
from recsys.simulation.live import LiveSettings, LiveWorld, Policy, Random, Requests, days

PROFILE = PROFILES["tiny"].model_copy(update={"listeners": 60, "tracks": 600, "artists": 80})
LIVE = LiveSettings(slots=20, tick_minutes=1440, measured=0)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.make(PROFILE)


def lived(catalog: Catalog, policy: Policy, count: int = 3) -> tuple[LiveWorld, list[np.ndarray]]:
    world = LiveWorld.at(PROFILE, catalog, 3, policy.learn)
    return world, [each.day.shown.track for each in days(world, policy, LIVE, count)]


def test_at_least_twelve_policies_are_judged_and_none_of_them_teaches() -> None:
    assert len(HELD_OUT) >= 12
    assert not set(HELD_OUT) & set(TRAINING)


def test_a_shape_shows_only_what_it_may(catalog: Catalog) -> None:
    rested = shaped(epsilon=0.3, rested=True)(catalog, PROFILE.listeners)
    new = shaped(groups=("new",))(catalog, PROFILE.listeners)
    assert isinstance(rested, Shaped)
    world = LiveWorld.at(PROFILE, catalog, 3, rested.learn)
    history = rested.history.copy()
    first = next(iter(days(world, rested, LIVE, 1))).day
    row = first.sessions.row[first.shown.session]
    assert not (first.shown.track[:, :, None] == history[row][:, None, :])[first.shown.track >= 0].any()
    _, pages = lived(catalog, new, 1)
    shown = pages[0][pages[0] >= 0]
    assert len(shown)
    assert ((3 - catalog.release[shown]) < 30).all()
    short = shaped(slots=4)(catalog, PROFILE.listeners)
    assert (lived(catalog, short, 1)[1][0][:, 4:] == -1).all()


def test_aims_differ_in_what_they_learn_from(catalog: Catalog) -> None:
    policies = [shaped(aim)(catalog, PROFILE.listeners) for aim in ("start", "stream", "finish")]
    world = LiveWorld.at(PROFILE, catalog, 3)
    day = next(iter(days(world, Random(catalog), LIVE, 1))).day
    start, stream, finish = (policy.worth(day.played) for policy in policies if isinstance(policy, Shaped))
    assert (start >= stream).all()
    assert (stream >= finish).all()
    assert start.sum() > stream.sum() > finish.sum() > 0


def test_half_of_the_pages_are_each_ones_own_and_a_restart_changes_nothing(catalog: Catalog) -> None:
    make = half(lambda c, _: Random(c), shaped())
    policy, again = make(catalog, PROFILE.listeners), make(catalog, PROFILE.listeners)
    world, _ = lived(catalog, policy, 2)
    again.restore({name: array.copy() for name, array in policy.state().items()})
    asked: list[Requests] = []
    first, second = [], []
    serve = policy.serve
    policy.serve = lambda requests: (asked.append(requests), serve(requests))[1]  # type: ignore[method-assign]
    next(iter(days(world, policy, LIVE, 1)))
    assert isinstance(policy, Mixed)
    for requests in asked:
        page = again.serve(requests).track
        first.append((page == policy.first.serve(requests).track[:, : page.shape[1]]).all(1))
        second.append((page == again.second.serve(requests).track[:, : page.shape[1]]).all(1))
    one, two = np.concatenate(first), np.concatenate(second)
    assert (one | two).all()
    assert 0.2 < one.mean() < 0.8


def test_kendalls_tau_counts_pairs_of_different_policies() -> None:
    a, b = np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])
    assert kendall(a, b, np.arange(3)) == pytest.approx(1 / 3)
    assert kendall(a, a, np.array([0, 0, 2])) == 1
