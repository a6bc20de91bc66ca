"""List-making: caps and separation as masks, ties, exact propensities."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.epsilon_greedy import EpsilonGreedy
from recsys.slate import (
    Bools,
    Floats,
    Problem,
    Rules,
    Shelf,
    Slot,
    at_quantile,
    break_ties,
    fill,
    propensities,
)

GREEDY = EpsilonGreedy(0.0)


def problem(n: int = 12, rules: Rules | None = None, size: int = 4, shelves: int = 2) -> Problem:
    ids = np.arange(n, dtype=np.int64)
    everything = np.ones(n, bool)
    return Problem(
        ids=ids,
        utility=np.linspace(1, 0, n),
        artist=ids // 3,
        shelves=tuple(Shelf(f"s{i}", size, everything) for i in range(shelves)),
        rules=rules or Rules(0, 0, 0),
    )


def test_without_rules_greedy_takes_the_best_in_order() -> None:
    slots = fill(problem(), GREEDY, seed=1)
    assert [slot.row for slot in slots] == list(range(8))
    assert all(slot.propensity == 1.0 for slot in slots)


def test_a_track_is_never_on_two_shelves() -> None:
    rows = [slot.row for slot in fill(problem(), EpsilonGreedy(0.5), seed=3)]
    assert len(set(rows)) == len(rows)


def test_an_artist_cap_holds_on_the_shelf_and_on_the_slate() -> None:
    p = problem(rules=Rules(artist_cap_shelf=1, artist_cap_slate=1))
    slots = fill(p, GREEDY, seed=1)
    assert [slot.row for slot in slots] == [0, 3, 6, 9]


def test_artists_are_separated_across_pages() -> None:
    rules = Rules(0, 0, artist_gap=2)
    p = Problem(**{**problem(rules=rules, shelves=1).__dict__, "recent_artists": (5, 0)})
    artists = [0, *(int(p.artist[slot.row]) for slot in fill(p, GREEDY, seed=1))]
    assert all(artists[i] not in artists[max(0, i - 2) : i] for i in range(1, len(artists)))


def test_a_shelf_shows_only_its_members() -> None:
    member = np.arange(12) % 2 == 1
    p = Problem(**{**problem().__dict__, "shelves": (Shelf("odd", 10, member),)})
    assert [slot.row for slot in fill(p, GREEDY, seed=1)] == [1, 3, 5, 7, 9, 11]


def test_the_same_seed_gives_the_same_slate_and_another_seed_another() -> None:
    policy, p = EpsilonGreedy(0.6), problem(60, size=10)
    assert fill(p, policy, 7) == fill(p, policy, 7)
    assert fill(p, policy, 7) != fill(p, policy, 8)


def test_propensities_along_a_slate_are_those_it_was_drawn_with() -> None:
    policy, p = EpsilonGreedy(0.4), problem(20, Rules(1, 2, 0))
    slots = fill(p, policy, 11)
    along = propensities(p, policy, 11, [slot.row for slot in slots])
    assert [float(d[s.row]) for d, s in zip(along, slots, strict=True)] == [s.propensity for s in slots]
    assert all(abs(d.sum() - 1) < 1e-12 for d in along)


def test_ties_break_by_the_requests_seed_and_never_reorder_distinct_scores() -> None:
    utility, ids = np.array([1.0, 2.0, 1.0, 1.0]), np.arange(4)
    firsts = {int(np.argsort(-break_ties(utility, ids, seed))[1]) for seed in range(40)}
    assert firsts == {0, 2, 3}
    assert all(break_ties(utility, ids, seed).argmax() == 1 for seed in range(40))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 1.0, 1.0 + 1e-12, -3.0, np.nan, np.inf]), min_size=1, max_size=30),
    st.integers(),
)
def test_broken_ties_keep_the_order_and_are_distinct(values: list[float], seed: int) -> None:
    utility = np.array(values)
    broken = break_ties(utility, np.arange(len(values)), seed)
    finite = np.where(np.isfinite(utility), utility, -np.inf)
    assert len(np.unique(broken)) == len(values)
    assert np.isfinite(broken).all()
    for i in range(len(values)):
        assert ((finite < finite[i]) <= (broken < broken[i])).all()


def test_a_draw_is_the_inverse_of_the_cumulative_sum() -> None:
    p = np.array([0.0, 0.25, 0.0, 0.75, 0.0])
    assert [at_quantile(p, u)[0] for u in (0.0, 0.2499, 0.25, 0.9999999)] == [1, 1, 3, 3]


def test_a_list_effect_sees_what_was_placed_and_shapes_the_next_draw() -> None:
    class Alternate:
        """Even and odd rows take turns, and each placed slot halves the utilities."""

        def utility(self, utility: Floats, _shelf: Shelf, slots: Sequence[Slot]) -> Floats:
            return utility * 0.5 ** len(slots)

        def allowed(self, _shelf: Shelf, slots: Sequence[Slot]) -> Bools | None:
            return np.arange(6) % 2 != slots[-1].row % 2 if slots else None

    n = 6
    problem = Problem(
        np.arange(n),
        np.arange(n, dtype=float),
        np.arange(n),
        (Shelf("one", n, np.ones(n, bool)),),
        Rules(),
        effects=(Alternate(),),
    )
    slots = fill(problem, EpsilonGreedy(0), seed=1)
    assert [slot.row for slot in slots] == [5, 4, 3, 2, 1, 0]
    assert next(slot.propensity for slot in fill(problem, EpsilonGreedy(1), 1)) == pytest.approx(1 / n)
    rows = [slot.row for slot in fill(problem, EpsilonGreedy(0.5), 3)]
    for at, chances in enumerate(propensities(problem, EpsilonGreedy(0.5), 3, rows)):
        assert chances.sum() == pytest.approx(1)
        assert chances[rows[at]] > 0
        assert at == 0 or not chances[rows[at - 1] % 2 :: 2].any()
