"""ε-greedy draws from exactly the distribution it states, slot by slot; a policy that does not is rejected."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bandits.epsilon_greedy import EpsilonGreedy
from bandits.uniformity import check, holm, transform
from recsys.errors import BadInput
from recsys.slate import Problem, Rules, Shelf, at_quantile, fill, propensities

CONTEXTS = 20


def problem(seed: int, n: int = 30) -> Problem:
    rng = np.random.default_rng(seed)
    shelves = (
        Shelf("first", 4, np.ones(n, bool)),
        Shelf("second", 3, rng.random(n) < 0.6),
    )
    return Problem(
        ids=np.arange(100, 100 + n),
        utility=np.round(rng.random(n), 1),  # with ties
        artist=rng.integers(0, 6, n),
        shelves=shelves,
        rules=Rules(artist_cap_shelf=1, artist_cap_slate=2),
    )


@given(
    epsilon=st.floats(0, 1),
    allowed=st.lists(st.booleans(), min_size=1, max_size=20).filter(any),
    seed=st.integers(0, 1000),
)
def test_the_distribution_sums_to_one_inside_the_allowed_set(epsilon, allowed, seed):
    mask = np.array(allowed)
    utility = np.random.default_rng(seed).permutation(len(mask)).astype(float)
    p = EpsilonGreedy(epsilon).distribution(utility, mask)
    assert p.sum() == pytest.approx(1)
    assert np.all(p[~mask] == 0)
    best = np.argmax(np.where(mask, utility, -np.inf))
    assert p[best] == pytest.approx(1 - epsilon + epsilon / mask.sum())


def test_an_epsilon_outside_zero_to_one_is_refused():
    with pytest.raises(BadInput, match=r"0\.\.1"):
        EpsilonGreedy(1.5)


def drawn_slots(seed: int, draws: int, policy: EpsilonGreedy):
    """Stated distributions along one slate prefix, and rows drawn at each slot as `fill` draws them."""
    own = problem(seed)
    prefix = [slot.row for slot in fill(own, policy, seed)]
    stated = propensities(own, policy, seed, prefix)
    rng = np.random.default_rng([seed, 1])
    return stated, [drawn_rows(p, rng.random(draws)) for p in stated]


def drawn_rows(p: np.ndarray, u: np.ndarray) -> np.ndarray:
    """`recsys.slate.at_quantile` of many quantiles at once; held to it on the first hundred."""
    cumulative = np.cumsum(p)
    rows = np.searchsorted(cumulative, u * cumulative[-1], side="right")
    rows = np.minimum(rows, np.flatnonzero(p)[-1])
    assert rows[:100].tolist() == [at_quantile(p, float(v))[0] for v in u[:100]]
    return rows


def test_every_slot_follows_its_stated_conditional_distribution():
    """At least 20 fixed contexts x 50,000 draws a slot, Holm-corrected over all slots of all contexts."""
    stated, drawn = [], []
    for seed in range(CONTEXTS):
        slots, rows = drawn_slots(seed, 50_000, EpsilonGreedy(0.3))
        stated += slots
        drawn += rows
    assert len(stated) == CONTEXTS * 7
    assert not check(stated, drawn, 0).rejected()


@pytest.mark.parametrize("draws", [2_000, pytest.param(50_000, marks=pytest.mark.slow)])
def test_slots_filled_end_to_end_follow_their_stated_distribution(draws):
    """`fill` end to end over seeds: utilities without ties, so that the seed moves the draws alone."""
    policy = EpsilonGreedy(0.4)
    own = problem(3, n=8)
    own = Problem(own.ids, np.arange(8) / 8, own.artist, (Shelf("only", 2, np.ones(8, bool)),), own.rules)
    firsts = np.array([fill(own, policy, seed)[0].row for seed in range(draws)])
    stated = propensities(own, policy, 0, [int(firsts[0]), -1])[:1]
    assert not check(stated, [firsts], 0).rejected()


def moved(p: np.ndarray, share: float) -> np.ndarray:
    """p with `share` of its mass moved from the most likely candidate to the next."""
    out = p.copy()
    order = np.argsort(-p)
    out[order[0]] -= share
    out[order[1]] += share
    return out


def test_a_distribution_with_five_percent_of_its_mass_moved_is_rejected():
    stated, _ = drawn_slots(0, 1, EpsilonGreedy(0.3))
    rng = np.random.default_rng(0)
    drawn = [rng.choice(len(p), 50_000, p=moved(p, 0.05)) for p in stated]
    assert check(stated, drawn, 0).rejected()


def test_a_policy_that_ignores_a_cap_is_rejected():
    own, policy = problem(1), EpsilonGreedy(0.3)
    free = Problem(own.ids, own.utility, own.artist, own.shelves, Rules(0, 0))
    prefix = [slot.row for slot in fill(own, policy, 1)]
    stated = propensities(own, policy, 1, prefix)
    without_cap = propensities(free, policy, 1, prefix)
    rng = np.random.default_rng(0)
    drawn = [rng.choice(len(p), 5_000, p=p) for p in without_cap]
    verdict = check(stated, drawn, 0)
    assert verdict.impossible > 0
    assert verdict.rejected()


def test_the_transform_covers_the_unit_interval_once():
    stated = np.array([0.5, 0.2, 0.3])
    low = transform(stated, np.array([0, 1, 2]), np.zeros(3))
    high = transform(stated, np.array([0, 1, 2]), np.ones(3))
    assert sorted(zip(low, high, strict=True)) == [
        pytest.approx((0.0, 0.2)),
        pytest.approx((0.2, 0.5)),
        pytest.approx((0.5, 1.0)),
    ]


def test_holm_matches_a_worked_example():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])


@given(st.integers(1, 12), st.floats(0, 1), st.floats(0, 1, exclude_max=True), st.integers(0, 2**31))
def test_the_short_way_picks_what_the_written_out_distribution_gives(
    n: int, epsilon: float, u: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    utility, allowed = rng.permutation(n).astype(float), rng.random(n) < 0.7
    allowed[rng.integers(n)] = True
    policy = EpsilonGreedy(epsilon)
    p = policy.distribution(utility, allowed)
    edges = np.cumsum(p)
    assume(np.abs(edges - u).min() > 1e-9)
    row, probability = policy.pick(utility, allowed, u)
    assert row == at_quantile(p, u)[0]
    assert probability == pytest.approx(p[row])
