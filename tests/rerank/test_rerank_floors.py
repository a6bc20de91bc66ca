"""Floors: met wherever the bound allows it, and the bound is never exceeded, whatever is drawn."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.epsilon_greedy import EpsilonGreedy
from recsys.rerank.floors import Floor, Floors
from recsys.slate import Bools, Floats, Problem, Rules, Shelf, fill, propensities

SHELF = "made_for_you"


def floors(new: Bools, share: float, bound: float, tail: Bools | None = None) -> Floors:
    own = [Floor("new", new, share)]
    return Floors([*own, Floor("tail", tail, share)] if tail is not None else own, bound, (SHELF,))


def problem(utility: Floats, quota: Floors | None, size: int, artist: list[int] | None = None) -> Problem:
    n = len(utility)
    return Problem(
        np.arange(n),
        utility,
        np.arange(n) if artist is None else np.array(artist),
        (Shelf(SHELF, size, np.ones(n, bool)),),
        Rules(2, 0) if artist else Rules(0, 0),
        quotas=() if quota is None else (quota,),
    )


def test_the_last_slots_are_given_and_only_as_many_as_are_missing() -> None:
    utility, new = np.linspace(1, 0.9, 20), np.arange(20) >= 12
    rows = [s.row for s in fill(problem(utility, floors(new, 0.3, 1.0), 10), EpsilonGreedy(0), 1)]
    assert rows == [0, 1, 2, 3, 4, 5, 6, 12, 13, 14]


def test_slots_that_meet_a_floor_by_themselves_cost_nothing() -> None:
    utility, new = np.linspace(1, 0, 12), np.arange(12) % 2 == 0
    quota = floors(new, 0.5, 0.0)
    rows = [s.row for s in fill(problem(utility, quota, 8), EpsilonGreedy(0), 1)]
    assert rows == list(range(8))
    assert quota.loss(rows) == 0


def test_a_floor_out_of_reach_of_the_bound_is_left_short_and_counted() -> None:
    utility, new = np.append(np.linspace(1, 0.5, 20), [-100.0, -100.0]), np.arange(22) >= 20
    quota = floors(new, 0.2, 0.01)
    p = problem(utility, quota, 10)
    slots = fill(p, EpsilonGreedy(0), 1)
    assert [s.row for s in slots] == list(range(10))
    assert quota.short(p.shelves[0], slots) == {"new": 2}
    assert quota.loss([s.row for s in slots]) == 0


def test_where_there_are_no_such_tracks_the_shelf_is_full_all_the_same() -> None:
    quota = floors(np.zeros(6, bool), 1.0, 1.0)
    p = problem(np.linspace(1, 0, 6), quota, 6)
    slots = fill(p, EpsilonGreedy(0), 1)
    assert len(slots) == 6
    assert quota.short(p.shelves[0], slots) == {"new": 6}


def test_one_hopeless_floor_does_not_take_slots_for_the_other() -> None:
    utility, tail = np.linspace(1, 0.8, 20), np.arange(20) >= 10
    quota = floors(np.zeros(20, bool), 0.3, 1.0, tail)
    rows = [s.row for s in fill(problem(utility, quota, 10), EpsilonGreedy(0), 1)]
    assert rows == [0, 1, 2, 3, 4, 5, 6, 10, 11, 12]


def test_an_artist_cap_never_empties_the_shelf() -> None:
    utility, new = np.linspace(1, 0.9, 8), np.arange(8) < 4
    quota = floors(new, 1.0, 1.0)
    slots = fill(problem(utility, quota, 6, artist=[0, 0, 0, 0, 1, 1, 2, 2]), EpsilonGreedy(0), 1)
    assert [s.row for s in slots] == [0, 1, 4, 5, 6, 7]


def test_other_shelves_are_left_alone() -> None:
    allowed, quota = np.ones(4, bool), floors(np.zeros(4, bool), 1.0, 1.0)
    other = Shelf("popular", 4, np.ones(4, bool))
    assert quota.narrow(np.arange(4.0), allowed, other, []) is allowed
    assert quota.short(other, []) == {}


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Floats, Bools, Bools, int, float, float, int]:
    """(utility, new, tail, size, share, bound, seed)."""
    n, seed = draw(st.integers(1, 14)), draw(st.integers(0, 9999))
    rng = np.random.default_rng(seed)
    utility = rng.normal(size=n) * draw(st.sampled_from([0.0, 1e-3, 1.0, 50.0]))
    share, bound = (
        draw(st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0])),
        draw(st.sampled_from([0.0, 0.05, 0.5, 1.0])),
    )
    return utility, rng.random(n) < 0.3, rng.random(n) < 0.5, draw(st.integers(1, n + 2)), share, bound, seed


@settings(max_examples=200, deadline=None)
@given(worlds(), st.sampled_from([0.0, 0.3, 1.0]), st.booleans())
def test_the_bound_is_never_exceeded_and_propensities_stay_exact(
    world: tuple[Floats, Bools, Bools, int, float, float, int], epsilon: float, capped: bool
) -> None:
    utility, new, tail, size, share, bound, seed = world
    quota, policy = floors(new, share, bound, tail), EpsilonGreedy(epsilon)
    artist = [i // 3 for i in range(len(utility))] if capped else None
    p = problem(utility, quota, size, artist)
    slots = fill(p, policy, seed)
    rows = [slot.row for slot in slots]
    assert quota.loss(rows) <= quota.allowance(rows) + 1e-9
    assert len(rows) == len(fill(problem(utility, None, size, artist), policy, seed)) or capped
    along = propensities(p, policy, seed, rows)
    assert [float(d[s.row]) for d, s in zip(along, slots, strict=True)] == [s.propensity for s in slots]
    assert all(abs(d.sum() - 1) < 1e-12 for d in along)


@settings(max_examples=150, deadline=None)
@given(worlds(), st.booleans())
def test_the_whole_shelf_loses_no_more_than_the_bound_against_the_best_without_floors(
    world: tuple[Floats, Bools, Bools, int, float, float, int], capped: bool
) -> None:
    utility, new, tail, size, share, bound, seed = world
    artist = [i // 3 for i in range(len(utility))] if capped else None
    quota = floors(new, share, bound, tail)
    rows = [s.row for s in fill(problem(utility, quota, size, artist), EpsilonGreedy(0), seed)]
    best = [s.row for s in fill(problem(utility, None, size, artist), EpsilonGreedy(0), seed)]
    assert len(rows) == len(best)
    lost = float(utility[best].sum() - utility[rows].sum())
    assert -1e-9 <= lost <= quota.loss(rows) + 1e-9
    assert quota.loss(rows) <= quota.allowance(rows) + 1e-9


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_a_single_floor_is_met_wherever_any_slate_meets_it_within_a_loose_bound(
    world: tuple[Floats, Bools, Bools, int, float, float, int],
) -> None:
    utility, new, _, size, share, _, seed = world
    quota = floors(new, share, 1e12)
    rows = [s.row for s in fill(problem(utility, quota, size), EpsilonGreedy(0), seed)]
    free = len(rows) - quota._floors[0].needed(size)
    if free >= 1 and quota.allowance(rows) > 0:  # with nothing left alone there is nothing to lose
        assert new[rows].sum() >= min(quota._floors[0].needed(size), new.sum(), len(rows))


def test_within_the_bound_a_floor_costs_as_little_as_the_cheapest_of_all_slates_that_meet_it() -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        utility, new = rng.normal(size=8), np.arange(8) % 3 == 0
        quota = floors(new, 0.5, 1e9)
        rows = [s.row for s in fill(problem(utility, quota, 4), EpsilonGreedy(0), seed)]
        cheapest = max(
            utility[list(chosen)].sum()
            for chosen in itertools.combinations(range(8), 4)
            if new[list(chosen)].sum() >= 2
        )
        assert utility[rows].sum() == pytest.approx(cheapest)


@pytest.mark.parametrize(
    ("share", "size", "slots"), [(0.1, 10, 1), (0.3, 10, 3), (0.25, 10, 3), (0.0, 10, 0)]
)
def test_a_share_is_rounded_up_to_slots(share: float, size: int, slots: int) -> None:
    assert Floor("new", np.zeros(1, bool), share).needed(size) == slots
