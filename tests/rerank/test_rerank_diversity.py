"""MMR and DPP against the textbook formulas, along any placed prefix; and what must not break them."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.epsilon_greedy import EpsilonGreedy
from recsys.rerank.dpp import JITTER, Dpp, kernel
from recsys.rerank.mmr import Mmr
from recsys.slate import Floats, ListEffect, Problem, Rules, Shelf, Slot, fill, propensities

SHELF = "made_for_you"


def unit(n: int, d: int, seed: int) -> Floats:
    vectors = np.random.default_rng(seed).normal(size=(n, d))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def shelf(n: int, size: int | None = None, name: str = SHELF) -> Shelf:
    return Shelf(name, size or n, np.ones(n, bool))


def on(rows: list[int], name: str = SHELF) -> list[Slot]:
    return [Slot(row, name, i, 1.0) for i, row in enumerate(rows)]


def problem(utility: Floats, effect: ListEffect, size: int) -> Problem:
    n = len(utility)
    return Problem(np.arange(n), utility, np.arange(n), (shelf(n, size),), Rules(0, 0), effects=(effect,))


@st.composite
def prefixes(draw: st.DrawFn) -> tuple[int, int, int, list[int]]:
    """(n, d, seed, some distinct rows in any order)."""
    n = draw(st.integers(1, 9))
    order = draw(st.permutations(range(n)))
    return n, draw(st.integers(1, 6)), draw(st.integers(0, 10_000)), order[: draw(st.integers(0, n))]


@settings(max_examples=80, deadline=None)
@given(prefixes())
def test_dpp_gains_are_ratios_of_determinants_along_any_prefix(case: tuple[int, int, int, list[int]]) -> None:
    n, d, seed, rows = case
    vectors, utility = unit(n, d, seed), np.random.default_rng(seed).normal(size=n)
    effect, likeness = Dpp(vectors, 0.7, (SHELF,)), kernel(vectors)
    for upto in range(len(rows) + 1):  # asked slot by slot, as `fill` does
        placed = rows[:upto]
        gains = effect.utility(utility, shelf(n), on(placed))
        base = np.linalg.slogdet(likeness[np.ix_(placed, placed)])[1]
        for i in sorted(set(range(n)) - set(placed)):
            whole = [*placed, i]
            ratio = np.linalg.slogdet(likeness[np.ix_(whole, whole)])[1] - base
            assert gains[i] == pytest.approx(utility[i] + 0.7 * ratio, abs=1e-6)


@settings(max_examples=80, deadline=None)
@given(prefixes())
def test_mmr_equals_its_formula_along_any_prefix(case: tuple[int, int, int, list[int]]) -> None:
    n, d, seed, rows = case
    vectors, utility = unit(n, d, seed), np.random.default_rng(seed).normal(size=n)
    effect = Mmr(vectors, 0.4, (SHELF,))
    for upto in range(len(rows) + 1):
        placed = rows[:upto]
        found = effect.utility(utility, shelf(n), on(placed))
        for i in range(n):
            nearest = max((float(vectors[i] @ vectors[j]) for j in placed), default=0.0)
            assert found[i] == pytest.approx(utility[i] - 0.4 * nearest)


@pytest.mark.parametrize("kind", [Mmr, Dpp])
def test_another_prefix_starts_again(kind: type[Mmr] | type[Dpp]) -> None:
    vectors, utility = unit(7, 3, 1), np.arange(7.0)
    used = kind(vectors, 0.5, (SHELF,))
    for rows in ([1, 2, 3], [1, 4], [], [4, 1], [2]):
        fresh = kind(vectors, 0.5, (SHELF,)).utility(utility, shelf(7), on(rows))
        assert np.array_equal(used.utility(utility, shelf(7), on(rows)), fresh)


@pytest.mark.parametrize("kind", [Mmr, Dpp])
def test_other_shelves_neither_feel_nor_feed_it(kind: type[Mmr] | type[Dpp]) -> None:
    vectors, utility = unit(5, 3, 1), np.arange(5.0)
    effect = kind(vectors, 0.5, (SHELF, "second"))
    assert effect.utility(utility, shelf(5, name="popular"), on([1], "popular")) is utility
    alone = effect.utility(utility, shelf(5, name="second"), on([2], "second"))
    both = effect.utility(utility, shelf(5, name="second"), [*on([0, 1]), *on([2], "second")])
    assert np.array_equal(alone, both)


@pytest.mark.parametrize("kind", [Mmr, Dpp])
@pytest.mark.parametrize(
    "vectors",
    [
        np.tile(unit(1, 4, 0), (12, 1)),
        np.zeros((12, 4)),
        np.full((12, 4), np.nan),
        np.full((12, 4), np.inf),
        unit(12, 2, 3),
        unit(1, 4, 0),
    ],
    ids=["all the same", "zero", "nan", "infinite", "more slots than dimensions", "one candidate"],
)
def test_strange_vectors_give_whole_slates_and_finite_utilities(
    kind: type[Mmr] | type[Dpp], vectors: Floats
) -> None:
    n = len(vectors)
    effect, utility = kind(vectors, 1.0, (SHELF,)), np.linspace(1, 0, n)
    slots = fill(problem(utility, effect, size=n + 5), EpsilonGreedy(0.3), seed=4)
    assert sorted(slot.row for slot in slots) == list(range(n))
    for upto in range(n + 1):
        assert np.isfinite(effect.utility(utility, shelf(n), slots[:upto])).all()


def test_a_twin_costs_what_the_kernel_says_and_no_more() -> None:
    vectors = np.array([[1.0, 0], [1.0, 0], [0, 1.0]])
    gains = Dpp(vectors, 1.0, (SHELF,)).utility(np.zeros(3), shelf(3), on([0]))
    assert gains[2] == pytest.approx(0)
    assert gains[1] == pytest.approx(np.log(1 - (1 - JITTER) ** 2))


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 8), st.integers(0, 999), st.sampled_from([Mmr, Dpp]), st.floats(0, 1))
def test_propensities_are_exact_conditional_ones_under_exploration(
    n: int, seed: int, kind: type[Mmr] | type[Dpp], epsilon: float
) -> None:
    vectors, utility = unit(n, 3, seed), np.random.default_rng(seed).normal(size=n)
    policy, p = EpsilonGreedy(epsilon), problem(utility, kind(vectors, 0.5, (SHELF,)), n)
    slots = fill(p, policy, seed)
    along = propensities(p, policy, seed, [slot.row for slot in slots])
    assert [float(d[s.row]) for d, s in zip(along, slots, strict=True)] == [s.propensity for s in slots]
    assert all(abs(d.sum() - 1) < 1e-12 and (d >= 0).all() for d in along)


def test_the_slates_probabilities_sum_to_one_over_all_slates() -> None:
    vectors, utility, policy = unit(4, 2, 5), np.array([1.0, 0.9, 0.2, 0.1]), EpsilonGreedy(0.4)
    total = 0.0
    for rows in itertools.permutations(range(4), 3):
        p = problem(utility, Dpp(vectors, 0.5, (SHELF,)), 3)
        along = propensities(p, policy, 1, list(rows))
        total += float(np.prod([d[row] for d, row in zip(along, rows, strict=True)]))
    assert total == pytest.approx(1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999))
def test_greedy_dpp_is_near_the_best_of_all_slates(seed: int) -> None:
    """log det S is submodular and, with utilities above the jitter's greatest cost, monotone: greedy ≥ (1 - 1/e) best
    (Nemhauser, Wolsey & Fisher 1978), found by trying every slate."""
    vectors, weight = unit(7, 3, seed), 0.1
    utility = 1.0 + np.random.default_rng(seed).random(7)
    likeness = kernel(vectors)

    def worth(rows: list[int]) -> float:
        return float(utility[rows].sum() + weight * np.linalg.slogdet(likeness[np.ix_(rows, rows)])[1])

    slots = fill(problem(utility, Dpp(vectors, weight, (SHELF,)), 3), EpsilonGreedy(0), seed)
    best = max(worth(list(rows)) for rows in itertools.combinations(range(7), 3))
    assert worth([slot.row for slot in slots]) >= (1 - 1 / np.e) * best


def test_diversity_grows_with_the_weight() -> None:
    vectors, utility = unit(40, 4, 2), np.random.default_rng(2).random(40)
    for kind in (Mmr, Dpp):
        spread = []
        for weight in (0.0, 0.5, 50.0):
            rows = [
                s.row for s in fill(problem(utility, kind(vectors, weight, (SHELF,)), 8), EpsilonGreedy(0), 1)
            ]
            gram = vectors[rows] @ vectors[rows].T
            spread.append(1 - gram[np.triu_indices(8, 1)].mean())
        assert spread[0] < spread[1] < spread[2]
