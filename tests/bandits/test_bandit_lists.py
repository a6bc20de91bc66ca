"""Slots nobody looked at, and shelves that lead with a track: examination models and (item, reason) pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.bandit import Bandit
from bandits.examination import at_positions, cascade, dependent_clicks, examination, looked_at
from bandits.linear import LinearModel, LinearSettings
from bandits.logistic import LogisticModel, LogisticSettings, sigmoid
from bandits.pairs import PairRules, by_reason, pairs
from bandits.rules import Thompson
from bandits.uniformity import check
from recsys.errors import BadInput
from recsys.slate import Problem, Rules, Shelf, fill, propensities

few = settings(deadline=None, max_examples=25)

THETA = np.array([1.0, 0.6, 0.3, 0.15])


@few
@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=6), min_size=1, max_size=6), st.integers(0, 99))
def test_a_cascade_stops_at_the_first_reward_and_dependent_clicks_at_the_last(slates, seed):
    slate = np.repeat(np.arange(len(slates)) * 10, [len(s) for s in slates])
    position = np.concatenate([np.arange(len(s)) for s in slates])
    reward = np.concatenate([np.array(s, float) for s in slates])
    first, last = [], []
    for one in slates:
        hits = np.flatnonzero(one)
        first += [1.0 if not len(hits) or k <= hits[0] else 0.0 for k in range(len(one))]
        last += [1.0 if not len(hits) or k <= hits[-1] else 0.0 for k in range(len(one))]
    order = np.random.default_rng(seed).permutation(len(slate))
    assert cascade(slate[order], position[order], reward[order]).tolist() == np.array(first)[order].tolist()
    assert dependent_clicks(slate, position, reward).tolist() == last


def test_a_skip_does_not_satisfy_a_listener():
    slate, position = np.zeros(3, int), np.arange(3)
    assert cascade(slate, position, np.array([-0.5, 1.0, 0.0])).tolist() == [1, 1, 0]
    assert cascade(slate, position, np.array([0.3, 1.0, 0.0]), satisfied=0.5).tolist() == [1, 1, 0]
    assert cascade(np.empty(0, int), np.empty(0, int), np.empty(0)).tolist() == []


def clicks(seed: int, n: int = 6_000):
    """Slates of four under a position-based model: contexts, positions, clicks, true weights."""
    rng = np.random.default_rng(seed)
    weight = np.array([0.4, 0.2, -0.2])
    x = np.concatenate([rng.uniform(-1, 1, (n, 2)), np.ones((n, 1))], axis=1)[:, [2, 0, 1]]
    position = np.arange(n) % 4
    return x, position, (rng.random(n) < THETA[position] * (x @ weight)).astype(float), weight


def test_position_based_learning_is_unbiased_where_plain_learning_is_not():
    x, position, y, weight = clicks(0)
    zeros = np.zeros(len(y), int)
    plain = LinearModel(LinearSettings(dim=3)).partial_fit(x, zeros, y)
    aware = LinearModel(LinearSettings(dim=3)).partial_fit(
        x * at_positions(position, THETA)[:, None], zeros, y
    )
    assert np.abs(aware.mean(np.eye(3))[:, 0] - weight).max() < 0.04
    assert plain.mean(np.eye(3))[0, 0] < 0.6 * weight[0]


def test_an_unclicked_slot_counts_as_much_as_it_was_probably_looked_at():
    value = np.array([0.9, 0.9, 0.1, 0.5])
    weights = looked_at(np.array([0, 3, 3, 2]), np.array([0.0, 0.0, 0.0, 1.0]), value, THETA)
    np.testing.assert_allclose(weights, [1.0, 0.15 * 0.1 / (1 - 0.135), 0.15 * 0.9 / (1 - 0.015), 1.0])
    rng = np.random.default_rng(0)  # frequencies agree: looked at, given that nothing was clicked
    seen = rng.random(200_000) < 0.6
    clicked = seen & (rng.random(200_000) < 0.5)
    expected = looked_at(np.array([1]), np.zeros(1), np.array([0.5]), THETA)[0]
    assert seen[~clicked].mean() == pytest.approx(expected, abs=0.01)


def test_a_logistic_model_with_these_weights_finds_the_attraction():
    x, position, y, _ = clicks(1, n=20_000)
    model = LogisticModel(LogisticSettings(dim=3))
    plain = LogisticModel(LogisticSettings(dim=3))
    for rows in np.array_split(np.arange(len(y)), 100):
        weights = looked_at(position[rows], y[rows], model.mean(x[rows])[:, 0], THETA)
        model.partial_fit(x[rows], np.zeros(len(rows), int), y[rows], weights=weights)
        plain.partial_fit(x[rows], np.zeros(len(rows), int), y[rows])
    middle = np.array([[1.0, 0.0, 0.0]])
    assert model.mean(middle)[0, 0] == pytest.approx(0.4, abs=0.05)
    assert plain.mean(middle)[0, 0] < 0.3


def test_examination_is_found_from_logged_slots_under_a_policy_that_plays_favourites():
    rng = np.random.default_rng(0)
    n, k = 60_000, 6
    attraction = np.linspace(0.1, 0.6, k)
    favour = np.exp(3 * attraction) / np.exp(3 * attraction).sum()
    position = np.arange(n) % 4
    item = rng.choice(k, n, p=favour)
    y = (rng.random(n) < THETA[position] * attraction[item]).astype(float)
    found = examination(position, y, favour[item], np.full(n, k))
    assert (np.abs(found.theta - THETA) < 4 * found.se + 1e-12).all()
    assert found.se[1:].max() < 0.03
    assert found.slots.tolist() == [15_000] * 4


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: at_positions(np.array([4]), THETA), "covers 4"),
        (lambda: at_positions(np.array([0]), np.array([1.2])), r"0\.\.1"),
        (lambda: examination(np.array([0]), np.ones(1), np.zeros(1), np.ones(1, int)), "epsilon"),
        (lambda: examination(np.array([0, 2]), np.ones(2), np.ones(2), np.ones(2, int)), "position 1"),
        (lambda: examination(np.array([0, 1]), np.zeros(2), np.ones(2), np.ones(2, int)), "position 0"),
        (lambda: pairs(np.zeros((2, 2), bool), np.ones((2, 1)), np.ones(1)), "nothing to choose"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(call, match):
    with pytest.raises(BadInput, match=match):
        call()


def own_pairs(seed: int = 0):
    rng = np.random.default_rng(seed)
    eligible = rng.random((8, 3)) < 0.6
    eligible[0] = True
    return pairs(eligible, rng.normal(size=(8, 2)), np.array([1.0, -1.0]))


def test_features_of_a_pair_sit_in_its_reason_s_own_block():
    eligible = np.array([[True, True], [False, True]])
    own = pairs(eligible, np.array([[5.0], [7.0]]), np.array([2.0]))
    assert own.ids.tolist() == [0, 1, 3]
    assert own.features.tolist() == [
        [5.0, 1.0, 2.0, 5.0, 0.0, 0.0, 0.0],
        [5.0, 0.0, 0.0, 0.0, 1.0, 2.0, 5.0],
        [7.0, 0.0, 0.0, 0.0, 1.0, 2.0, 7.0],
    ]


def page(own, utility: np.ndarray, cap: int) -> Problem:
    n = len(own.ids)
    shelf = Shelf("lead", 3, np.ones(n, bool))
    return Problem(own.ids, utility, np.arange(n), (shelf,), Rules(0, 0), effects=(PairRules(own, cap),))


@few
@given(st.integers(0, 200))
def test_an_item_comes_once_and_a_reason_as_often_as_its_cap_says(seed):
    own = own_pairs(seed)
    bandit = Bandit(LinearModel(LinearSettings(dim=own.features.shape[1])), Thompson(epsilon=0.5))
    utility, policy = bandit.slots(own.features, seed)
    for cap in (0, 1, 2):
        rows = [s.row for s in fill(page(own, utility, cap), policy, seed)]
        assert len(set(own.item[rows].tolist())) == len(rows)
        counts = np.bincount(own.reason[rows])
        assert not cap or counts.max() <= cap
        if cap == 0:
            assert len(rows) == 3


def test_pairs_are_drawn_as_stated_and_reasons_sum_up():
    own = own_pairs()
    bandit = Bandit(LinearModel(LinearSettings(dim=own.features.shape[1])), Thompson(epsilon=0.1))
    utility, policy = bandit.slots(own.features, 4)
    problem = page(own, utility, 1)
    prefix = [s.row for s in fill(problem, policy, 4)]
    stated = propensities(problem, policy, 4, prefix)
    for p in stated:
        assert by_reason(p, own).sum() == pytest.approx(1)
    assert by_reason(stated[1], own)[own.reason[prefix[0]]] == 0
    rng = np.random.default_rng(0)
    rows = [
        np.array([policy.pick(utility, np.ones(len(p), bool), u)[0] for u in rng.random(3_000)])
        for p in stated[:1]
    ]
    assert not check(stated[:1], rows, 1).rejected()


def test_a_bandit_learns_which_reason_suits_which_situation():
    rng = np.random.default_rng(0)
    eligible, items = np.ones((5, 2), bool), rng.normal(size=(5, 2))
    model = LogisticModel(LogisticSettings(dim=2 + 2 * 4))
    for _ in range(600):
        own = pairs(eligible, items, np.array([rng.choice([-1.0, 1.0])]))
        row = rng.integers(len(own.ids))
        likes = sigmoid(2.0 * own.features[0, 3] * (1 - 2 * own.reason[row]))
        model.partial_fit(own.features[row], [0], [float(rng.random() < likes)])
    for situation, better in ((1.0, 0), (-1.0, 1)):
        own = pairs(eligible, items, np.array([situation]))
        value = model.mean(own.features)[:, 0]
        assert value[own.reason == better].mean() > value[own.reason != better].mean() + 0.3
