"""Calibration: the listener's mix, and that the greedy gains end at the least divergence there is."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.epsilon_greedy import EpsilonGreedy
from recsys.plays import Outcome
from recsys.rerank.calibration import Calibration, divergence, genre_mix
from recsys.slate import Floats, Problem, Rules, Shelf, fill, propensities

SHELF = "made_for_you"


def problem(genre: list[int], mix: Floats | None, size: int, utility: Floats | None = None) -> Problem:
    n = len(genre)
    effect = Calibration(np.array(genre), mix, 1.0, shelves=(SHELF,))
    return Problem(
        np.arange(n),
        np.zeros(n) if utility is None else utility,
        np.arange(n),
        (Shelf(SHELF, size, np.ones(n, bool)),),
        Rules(0, 0),
        effects=(effect,),
    )


def counts(genre: list[int], rows: list[int], genres: int) -> Floats:
    own = np.array([genre[row] for row in rows], np.int64)
    return np.bincount(own[own >= 0], minlength=genres).astype(float)


@st.composite
def tastes(draw: st.DrawFn) -> tuple[list[int], Floats, int]:
    """(genre of each candidate, mix, size of the shelf)."""
    genres = draw(st.integers(1, 4))
    genre = draw(st.lists(st.integers(0, genres - 1), min_size=1, max_size=8))
    raw = np.array(draw(st.lists(st.floats(0, 1), min_size=genres, max_size=genres))) + 1e-3
    raw[draw(st.integers(0, genres - 1))] += 0.1
    return genre, raw / raw.sum(), draw(st.integers(1, len(genre)))


@settings(max_examples=120, deadline=None)
@given(tastes(), st.integers(0, 99))
def test_at_equal_utilities_no_slate_at_all_is_better_calibrated(
    case: tuple[list[int], Floats, int], seed: int
) -> None:
    genre, mix, size = case
    rows = [s.row for s in fill(problem(genre, mix, size), EpsilonGreedy(0), seed)]
    own = divergence(mix, counts(genre, rows, len(mix)), size)
    best = min(
        divergence(mix, counts(genre, list(chosen), len(mix)), size)
        for chosen in itertools.combinations(range(len(genre)), size)
    )
    assert own <= best + 1e-6  # ties are broken by steps of one unit in the last place


@settings(max_examples=60, deadline=None)
@given(tastes())
def test_gains_are_the_fall_of_the_divergence(case: tuple[list[int], Floats, int]) -> None:
    genre, mix, size = case
    p = problem(genre, mix, size)
    slots = fill(p, EpsilonGreedy(1.0), 3)
    for upto in range(size):
        gains = p.effects[0].utility(np.zeros(len(genre)), p.shelves[0], slots[:upto])
        rows = [s.row for s in slots[:upto]]
        now = divergence(mix, counts(genre, rows, len(mix)), size)
        for i in range(len(genre)):
            then = divergence(mix, counts(genre, [*rows, i], len(mix)), size)
            assert gains[i] == pytest.approx(now - then, abs=1e-9)


def test_a_match_costs_nothing_and_a_miss_costs() -> None:
    mix = np.array([0.7, 0.3])
    assert divergence(mix, np.array([7, 3]), 10) == pytest.approx(0, abs=1e-12)
    assert divergence(mix, np.array([10, 0]), 10) > divergence(mix, np.array([8, 2]), 10) > 0


def test_a_shelf_takes_the_listeners_proportions() -> None:
    genre = [0] * 20 + [1] * 20
    rows = [s.row for s in fill(problem(genre, np.array([0.7, 0.3]), 10), EpsilonGreedy(0), 1)]
    assert counts(genre, rows, 2).tolist() == [7, 3]


def test_without_a_mix_nothing_changes() -> None:
    utility = np.linspace(1, 0, 6)
    p = problem([0, 1, 0, 1, -1, 0], None, 4, utility)
    assert [s.row for s in fill(p, EpsilonGreedy(0), 1)] == [0, 1, 2, 3]
    assert p.effects[0].utility(utility, p.shelves[0], []) is utility


def test_an_unknown_genre_is_taken_at_its_mean_and_counts_for_nothing() -> None:
    mix = np.array([0.6, 0.4])
    p = problem([-1, 0, 1, -1], mix, 4)
    before = p.effects[0].utility(np.zeros(4), p.shelves[0], [])
    assert before[0] == pytest.approx(mix @ before[1:3])
    slots = [s for s in fill(p, EpsilonGreedy(1), 1) if s.row in (0, 3)]
    after = problem([-1, 0, 1, -1], mix, 4).effects[0].utility(np.zeros(4), p.shelves[0], slots)
    assert np.array_equal(before, after)
    everything = fill(problem([-1, -1, -1], mix, 9), EpsilonGreedy(0.5), 2)
    assert len(everything) == 3


def test_the_mix_weighs_recent_finished_plays_and_leaves_skips_out() -> None:
    finish, skip, partial = int(Outcome.FINISH), int(Outcome.SKIP), int(Outcome.PARTIAL)
    none = np.zeros(0, np.int64)
    mix = genre_mix(np.array([0, 1]), np.array([finish, finish]), none, 2, half_life=1.0)
    assert mix == pytest.approx([1 / 3, 2 / 3])
    mix = genre_mix(np.array([0, 1, 1, -1]), np.array([finish, partial, skip, finish]), none, 2, 1e9)
    assert mix == pytest.approx([2 / 3, 1 / 3])
    assert genre_mix(np.array([0, -1]), np.array([skip, finish]), np.array([0]), 1) is None
    assert genre_mix(none, none, np.array([0, 0]), 1) is None


def test_few_plays_lean_on_what_is_offered() -> None:
    finish = np.full(1, int(Outcome.FINISH))
    mix = genre_mix(np.array([0]), finish, np.array([0, 1, 1, 1, -1]), 2, prior_plays=4)
    assert mix == pytest.approx([(1 + 1) / 5, 3 / 5])
    many = genre_mix(np.zeros(400, int), np.repeat(finish, 400), np.array([1]), 2, half_life=100.0)
    assert many is not None
    assert many[0] > 0.95


@settings(max_examples=40, deadline=None)
@given(tastes(), st.floats(0, 1), st.integers(0, 99))
def test_propensities_stay_exact(case: tuple[list[int], Floats, int], epsilon: float, seed: int) -> None:
    genre, mix, size = case
    utility = np.random.default_rng(seed).normal(size=len(genre))
    p, policy = problem(genre, mix, size, utility), EpsilonGreedy(epsilon)
    slots = fill(p, policy, seed)
    along = propensities(p, policy, seed, [slot.row for slot in slots])
    assert [float(d[s.row]) for d, s in zip(along, slots, strict=True)] == [s.propensity for s in slots]
    assert all(abs(d.sum() - 1) < 1e-12 for d in along)
