"""Estimators against exact expectations: every (context, item) in the share that the logging policy gives it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandits.ope import single
from bandits.ope.lists import Lists
from bandits.ope.terms import Terms

CONTEXTS, ITEMS = 3, 4
RNG = np.random.default_rng(5)
LOGGING, TARGET = (RNG.dirichlet(np.full(ITEMS, 2.0), CONTEXTS) for _ in range(2))
REWARD = RNG.uniform(-1, 2, (CONTEXTS, ITEMS))
AT, ITEM = (part.ravel() for part in np.indices((CONTEXTS, ITEMS)))
WEIGHT = (TARGET / LOGGING).ravel()
TRUTH = float((TARGET * REWARD).sum(axis=1).mean())


def expected(terms: Terms) -> float:
    """The ratio of expectations over contexts (even) and items (by the logging policy)."""
    share = LOGGING.ravel() / CONTEXTS
    return float((share @ terms.top) / (share @ terms.bottom))


def test_ips_and_snips_have_the_value_of_the_target_as_expectation() -> None:
    assert expected(single.ips(WEIGHT, REWARD.ravel())) == pytest.approx(TRUTH, abs=1e-12)
    assert expected(single.snips(WEIGHT, REWARD.ravel())) == pytest.approx(TRUTH, abs=1e-12)


@given(st.lists(st.floats(-10, 10), min_size=CONTEXTS * ITEMS, max_size=CONTEXTS * ITEMS))
def test_dr_is_right_with_exact_propensities_whatever_the_model_says(model: list[float]) -> None:
    q = np.array(model).reshape(CONTEXTS, ITEMS)
    terms = single.dr(WEIGHT, REWARD.ravel(), q.ravel(), (TARGET * q).sum(axis=1)[AT])
    assert expected(terms) == pytest.approx(TRUTH, abs=1e-9)


@given(st.floats(0, 1e300), st.floats(0, 50))
def test_with_a_right_model_every_kin_of_dr_is_right(shrinkage: float, threshold: float) -> None:
    own = WEIGHT, REWARD.ravel(), REWARD.ravel(), (TARGET * REWARD).sum(axis=1)[AT]
    for terms in (
        single.dm(WEIGHT, own[3]),
        single.dr_shrunk(*own, shrinkage),
        single.switch_dr(*own, threshold),
    ):
        assert expected(terms) == pytest.approx(TRUTH, abs=1e-9)


@given(
    st.one_of(st.floats(0, None, allow_infinity=True), st.sampled_from([0.0, 1e-320, 5e-324, np.inf])),
    st.floats(0, 1e150),
)
def test_shrunk_weights_are_finite_at_every_lambda_and_never_above_the_weight(lam: float, w: float) -> None:
    kept = single.shrunk(np.array([0.0, w]), lam)
    assert np.isfinite(kept).all()
    assert kept[0] == 0
    assert 0 <= kept[1] <= w


def test_shrinkage_runs_from_the_direct_method_to_dr() -> None:
    q = RNG.normal(size=(CONTEXTS, ITEMS))
    own = WEIGHT, REWARD.ravel(), q.ravel(), (TARGET * q).sum(axis=1)[AT]
    assert single.dr_shrunk(*own, 0.0).value == single.dm(WEIGHT, own[3]).value
    assert single.dr_shrunk(*own, np.inf).value == pytest.approx(single.dr(*own).value, abs=1e-12)
    assert single.switch_dr(*own, np.inf).value == single.dr(*own).value
    assert single.switch_dr(*own, 0.0).value == single.dm(WEIGHT, own[3]).value


def test_mips_is_right_where_rewards_follow_the_embedding_although_an_item_is_never_logged() -> None:
    category = np.array([0, 0, 1, 1])
    logging = np.array([[0.5, 0.0, 0.3, 0.2]])  # item 1 never: its category is
    target = np.array([[0.1, 0.4, 0.2, 0.3]])
    reward = np.array([1.0, 3.0])[category]
    items = np.flatnonzero(logging[0])
    alike = (category == category[items][:, None]).astype(float)
    rows = [Lists.square(np.repeat(p, len(items), axis=0)) for p in (target, logging)]
    terms = single.mips(*rows, Lists.square(alike), reward[items])
    assert logging[0, items] @ terms.top == pytest.approx(float(target[0] @ reward), abs=1e-12)


def test_mips_uses_the_joint_of_embedding_dimensions_not_the_product_of_their_marginals() -> None:
    # Two dimensions that always agree: item 0 is (0, 0), item 1 is (1, 1); logged (0, 0).
    target, logging = Lists.square(np.array([[0.9, 0.1]])), Lists.square(np.array([[0.5, 0.5]]))
    joint = Lists.square(np.array([[1.0 * 1.0, 0.0 * 0.0]]))
    assert single.mips(target, logging, joint, np.ones(1)).value == pytest.approx(1.8)
    product_of_marginals = (0.9 / 0.5) ** 2
    assert product_of_marginals == pytest.approx(3.24)


def test_the_logging_policy_as_its_own_target_has_its_own_mean() -> None:
    reward, ones = RNG.normal(size=200), np.ones(200)
    assert single.ips(ones, reward).value == pytest.approx(float(reward.mean()), abs=1e-15)
    assert single.snips(ones, reward).value == pytest.approx(float(reward.mean()), abs=1e-15)


@given(st.floats(-5, 5))
def test_a_constant_added_to_rewards_moves_the_self_normalised_estimate_by_it(shift: float) -> None:
    reward, weight = np.array([0.0, 1.0, 2.0, 0.5]), np.array([0.2, 1.5, 3.0, 0.1])
    moved = single.snips(weight, reward + shift).value - single.snips(weight, reward).value
    assert moved == pytest.approx(shift, abs=1e-9)


def test_lists_find_take_and_sum() -> None:
    lists = Lists(np.array([3, 5, 5, 9, 1]), np.array([0, 2, 2, 5]))
    assert lists.find(np.array([5, 3, 1])).tolist() == [1, -1, 4]
    assert lists.take(np.array([2, 0])).values.tolist() == [5, 9, 1, 3, 5]
    assert lists.sums().tolist() == [8.0, 0.0, 15.0]
