"""Laws of every exploration rule: probabilities, shifts, signs, masks, ties, and the bound on what exploring costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bandits.bounded import Bounded, bounded, loss
from bandits.draws import Draws, best, won
from bandits.epsilon_greedy import EpsilonGreedy
from bandits.rules import Greedy, InverseGap, Optimistic, PlackettLuce, Thompson
from bandits.softmax import Softmax
from recsys.errors import BadInput

few = settings(deadline=None, max_examples=25)

RULES = [
    Greedy(0.2),
    Greedy(0.0),
    PlackettLuce(0.5, 0.05),
    InverseGap(10.0),
    Optimistic(1.0, 0.05),
    Thompson(256, 1.0, 0.05),
    Bounded(Thompson(256, 1.0, 0.05), 0.1),
    Bounded(PlackettLuce(2.0), 0.05),
]
ids = [rule.name for rule in RULES]


def case(seed: int, n: int = 3, k: int = 7) -> tuple[np.ndarray, np.ndarray, Draws]:
    """Values on a grid of 1/64 (shifts of them are exact), a mask, and draws."""
    rng = np.random.default_rng(seed)
    allowed = rng.random((n, k)) < 0.7
    allowed[np.arange(n), rng.integers(0, k, n)] = True
    return np.round(rng.normal(size=(n, k)) * 64) / 64, allowed, Draws(0.5 * rng.normal(size=(256, n, k)))


@pytest.mark.parametrize("rule", RULES, ids=ids)
@few
@given(seed=st.integers(0, 10_000), shift=st.integers(-100, 100))
def test_probabilities_sum_to_one_inside_the_mask_and_a_shift_changes_nothing(rule, seed, shift):
    value, allowed, draws = case(seed)
    p = rule.probabilities(value, allowed, draws)
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-12)
    assert (p >= 0).all()
    assert not p[~allowed].any()
    np.testing.assert_allclose(rule.probabilities(value + shift, allowed, draws), p, atol=1e-12)


@pytest.mark.parametrize("rule", RULES, ids=ids)
@few
@given(seed=st.integers(0, 10_000))
def test_scores_that_are_all_negative_are_not_turned_round(rule, seed):
    value, allowed, draws = case(seed)
    value = value - value.max() - 1
    p = rule.probabilities(value, allowed, draws)
    worth = (p * value).sum(1)
    uniform = (allowed * value).sum(1) / allowed.sum(1)
    slack = (
        0.6 if isinstance(rule, Thompson | Optimistic) else 1e-12
    )  # draws of width 1/2 may put others first
    assert (worth >= uniform - slack).all()
    assert (worth <= np.where(allowed, value, -np.inf).max(1) + 1e-12).all()


@pytest.mark.parametrize("rule", RULES, ids=ids)
def test_a_better_value_is_not_less_likely_under_symmetric_draws(rule):
    value = np.array([[-3.0, -1.0, -2.0]])
    half = np.random.default_rng(0).normal(size=(128, 1, 1))
    draws = Draws(np.repeat(np.concatenate([half, -half]), 3, axis=2))  # moves all alike
    p = rule.probabilities(value, np.ones((1, 3), bool), draws)[0]
    assert p[1] >= p[2] >= p[0]
    assert p[1] > 1 / 3


@pytest.mark.parametrize("rule", RULES, ids=ids)
def test_what_is_not_finite_sinks_and_equal_values_share(rule):
    everything = np.ones((1, 4), bool)
    flat = Draws(np.zeros((256, 1, 4)))
    p = rule.probabilities(np.array([[1.0, np.nan, np.inf, -np.inf]]), everything, flat)[0]
    assert p[0] == p.max()
    assert p[0] > 0.5 or isinstance(rule, PlackettLuce | InverseGap)
    p = rule.probabilities(np.full((1, 4), -7.0), everything, flat)[0]
    np.testing.assert_allclose(p, 0.25, atol=1e-12)


@few
@given(seed=st.integers(0, 10_000), epsilon=st.floats(0, 1), temperature=st.floats(0.05, 5))
def test_batched_rules_equal_the_slot_policies_of_the_same_name(seed, epsilon, temperature):
    rng = np.random.default_rng(seed)
    value, allowed = rng.permutation(9).astype(float), rng.random(9) < 0.6
    allowed[rng.integers(9)] = True
    for slot, rule in (
        (EpsilonGreedy(epsilon), Greedy(epsilon)),
        (Softmax(temperature, epsilon), PlackettLuce(temperature, epsilon)),
    ):
        p = rule.probabilities(value[None], allowed[None], None)[0]
        np.testing.assert_allclose(p, slot.distribution(value, allowed), atol=1e-12)


def test_inverse_gap_weighting_by_hand():
    p = InverseGap(10.0).probabilities(np.array([[1.0, 0.5, 0.0]]), np.ones((1, 3), bool), None)[0]
    np.testing.assert_allclose(p, [1 - 1 / 8 - 1 / 13, 1 / 8, 1 / 13])


@few
@given(seed=st.integers(0, 10_000))
def test_leaving_out_the_hopeless_changes_no_probability(seed):
    rng = np.random.default_rng(seed)
    value, allowed = rng.normal(size=(1, 60)), rng.random((1, 60)) < 0.5
    allowed[0, 3] = True
    draws = 0.3 * rng.normal(size=(64, 1, 60))
    plain = best(value + draws[:, 0], np.repeat(allowed, 64, 0)).mean(0)
    np.testing.assert_allclose(won(value, allowed, Draws(draws))[0], plain, atol=1e-12)


def test_many_rows_give_what_single_rows_give(monkeypatch):
    value, allowed, draws = case(5, n=40)
    whole = won(value, allowed, draws)
    monkeypatch.setattr("bandits.draws._CHUNK", 256 * 7 * 3)
    np.testing.assert_array_equal(won(value, allowed, draws), whole)


@few
@given(seed=st.integers(0, 10_000), bound=st.floats(0, 2))
@example(seed=2065, bound=5e-324)
@example(seed=2065, bound=3e-308)
def test_the_expected_loss_never_exceeds_the_bound_and_no_more_is_given_up_than_needed(seed, bound):
    value, allowed, draws = case(seed)
    p = Thompson(256, 1.0, 0.3).probabilities(value, allowed, draws)
    before, q = loss(p, value, allowed), bounded(p, value, allowed, bound)
    after = loss(q, value, allowed)
    assert (after <= bound).all()
    np.testing.assert_allclose(after, np.minimum(before, bound), atol=1e-9)
    np.testing.assert_allclose(q.sum(1), 1, atol=1e-12)
    assert not q[~allowed].any()


def test_a_bounded_rule_keeps_its_support_and_spares_what_has_no_value():
    value = np.array([[1.0, 0.0, np.nan]])
    q = Bounded(Greedy(0.9), 0.01).probabilities(value, np.ones((1, 3), bool), None)[0]
    assert q[1] == pytest.approx(0.01)
    assert q[2] == 0


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Greedy(1.5), r"0\.\.1"),
        (lambda: PlackettLuce(0.0), "temperature"),
        (lambda: InverseGap(-1.0), "gamma"),
        (lambda: Thompson(0), "sample"),
        (lambda: Thompson(256, np.nan), "scale"),
        (lambda: Bounded(Greedy(0.1), -1.0), "bound"),
    ],
)
def test_settings_out_of_range_are_refused(make, match):
    with pytest.raises(BadInput, match=match):
        make()
