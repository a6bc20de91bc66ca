"""Slate estimators against exact expectations over all slates of a small world."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandits.ope import slates
from bandits.ope.lists import Lists
from bandits.ope.slate_law import additive_weights, law, marginals
from bandits.ope.terms import Terms
from recsys.errors import BadInput

ITEMS, SLOTS = 5, 3
RNG = np.random.default_rng(11)


def plackett_luce(score: np.ndarray, epsilon: float) -> Callable[[tuple[int, ...]], np.ndarray]:
    def next_slot(prefix: tuple[int, ...]) -> np.ndarray:
        rest = np.ones(ITEMS, bool)
        rest[list(prefix)] = False
        weight = np.exp(score) * rest
        return epsilon * rest / rest.sum() + (1 - epsilon) * weight / weight.sum()

    return next_slot


SCORE = RNG.normal(size=ITEMS)
OWN, OTHER = plackett_luce(1.5 * SCORE, 0.1), plackett_luce(-0.5 * SCORE, 0.3)
ALL, LOGGING = law(OTHER, ITEMS, SLOTS)
_, TARGET = law(OWN, ITEMS, SLOTS)
REAL = np.ones(ALL.shape, bool)
PAIR = RNG.normal(size=(ITEMS, ITEMS))
ADDITIVE = SCORE[ALL] * np.array([1.0, 0.7, 0.4])
CASCADE = ADDITIVE + np.column_stack([np.zeros(len(ALL)), PAIR[ALL[:, :-1], ALL[:, 1:]]])
BELOW = ADDITIVE + np.column_stack([PAIR[ALL[:, :-1], ALL[:, 1:]], np.zeros(len(ALL))])


def steps(policy: Callable[[tuple[int, ...]], np.ndarray]) -> np.ndarray:
    """(slates, SLOTS, ITEMS) conditional distributions along every slate."""
    return np.array([[policy(tuple(row[:k].tolist())) for k in range(SLOTS)] for row in ALL])


P_OWN, P_OTHER = steps(OWN), steps(OTHER)
RATIO = np.take_along_axis(P_OWN / np.where(P_OTHER > 0, P_OTHER, 1), ALL[:, :, None], 2)[:, :, 0]
M_OWN, M_OTHER = marginals(ALL, TARGET, ITEMS), marginals(ALL, LOGGING, ITEMS)
MARGINAL = (M_OWN / M_OTHER)[np.arange(SLOTS), ALL]


def truth(reward: np.ndarray) -> float:
    return float(TARGET @ reward.sum(axis=1))


def expected(terms: Terms) -> float:
    return float(LOGGING @ terms.top)


def test_the_law_sums_to_one_and_its_marginals_too() -> None:
    assert LOGGING.sum() == pytest.approx(1, abs=1e-12)
    assert M_OWN.sum(axis=1) == pytest.approx(np.ones(SLOTS), abs=1e-12)
    assert (RATIO.prod(axis=1) == pytest.approx(TARGET / LOGGING)) is True


@pytest.mark.parametrize("reward", [ADDITIVE, CASCADE, BELOW], ids=["additive", "cascade", "interaction"])
def test_standard_slate_ips_is_right_whatever_rewards_hang_on(reward: np.ndarray) -> None:
    assert expected(slates.slate_ips(RATIO, reward)) == pytest.approx(truth(reward), abs=1e-10)


def test_reward_interaction_ips_is_right_in_a_cascade_and_wrong_where_slots_below_matter() -> None:
    assert expected(slates.reward_interaction_ips(RATIO, CASCADE, REAL)) == pytest.approx(
        truth(CASCADE), abs=1e-10
    )
    assert abs(expected(slates.reward_interaction_ips(RATIO, BELOW, REAL)) - truth(BELOW)) > 0.01


def test_independent_ips_and_pseudo_inverse_are_right_where_rewards_add_up_and_wrong_in_a_cascade() -> None:
    weight = additive_weights(ALL, LOGGING, TARGET, ITEMS)
    for reward, right in ((ADDITIVE, True), (CASCADE, False)):
        for terms in (slates.independent_ips(MARGINAL, reward, REAL), slates.pseudo_inverse(weight, reward)):
            assert (abs(expected(terms) - truth(reward)) < 1e-9) is right
    assert weight @ LOGGING == pytest.approx(1, abs=1e-9)


@given(st.lists(st.floats(-3, 3), min_size=SLOTS * ITEMS, max_size=SLOTS * ITEMS))
def test_cascade_dr_is_right_in_a_cascade_whatever_the_model_says(model: list[float]) -> None:
    q = np.array(model).reshape(SLOTS, ITEMS)
    q_logged = q[np.arange(SLOTS), ALL]
    q_target = (P_OWN * q).sum(axis=2)
    terms = slates.cascade_dr(RATIO, CASCADE, q_logged, q_target, REAL)
    assert expected(terms) == pytest.approx(truth(CASCADE), abs=1e-8)


def test_slots_drawn_by_themselves_need_no_enumeration() -> None:
    every = np.indices((3, 3)).reshape(2, -1).T
    p, q = RNG.dirichlet(np.ones(3), 2), RNG.dirichlet(np.ones(3), 2)
    logging, target = (d[0][every[:, 0]] * d[1][every[:, 1]] for d in (p, q))
    ratio = (q / p)[np.arange(2), every]
    closed = slates.factored_weight(ratio, np.ones(every.shape, bool))
    assert closed == pytest.approx(additive_weights(every, logging, target, 3), abs=1e-8)


def test_shorter_slates_are_padded_without_effect() -> None:
    first = np.array([0, 3, 5])
    ratio, reward = np.array([0.5, 2.0, 1.5, 0.8, 1.1]), np.array([1.0, 0.0, 1.0, 1.0, 1.0])
    padded = slates.padded(Lists(ratio, first), 1.0), slates.padded(Lists(reward, first), 0.0)
    real = slates.present(Lists(ratio, first))
    assert real.tolist() == [[True, True, True], [True, True, False]]
    terms = slates.slate_ips(*padded)
    assert terms.top == pytest.approx([0.5 * 2 * 1.5 * 2, 0.8 * 1.1 * 2])
    assert slates.reward_interaction_ips(*padded, real).top == pytest.approx([0.5 + 1.5, 0.8 + 0.88])


def test_items_that_the_logging_policy_never_places_at_a_slot_are_refused() -> None:
    logging = np.where((ALL[:, 0] == 2), 0.0, LOGGING)
    with pytest.raises(BadInput, match="never does"):
        additive_weights(ALL, logging / logging.sum(), TARGET, ITEMS)


def test_too_many_slates_are_refused_with_the_way_out() -> None:
    with pytest.raises(BadInput, match="fewer slots or items"):
        law(OWN, 40, 5)
