"""Every learned policy draws what it states: arms, and slates under caps, floors, diversity and a loss bound."""

from __future__ import annotations

import numpy as np
import pytest

from bandits.bandit import Bandit, drawn
from bandits.bootstrap import BootstrapModel, BootstrapSettings
from bandits.bounded import Bounded, BoundedSlots
from bandits.epsilon_greedy import EpsilonGreedy
from bandits.linear import LinearModel, LinearSettings
from bandits.logistic import LogisticModel, LogisticSettings
from bandits.neural_linear import NeuralLinear, NeuralLinearSettings, joint
from bandits.rules import Greedy, InverseGap, Optimistic, PlackettLuce, Thompson
from bandits.softmax import Softmax
from bandits.uniformity import check
from recsys.errors import BadInput
from recsys.rerank.floors import Floor, Floors
from recsys.rerank.mmr import Mmr
from recsys.slate import Problem, Rules, Shelf, at_quantile, break_ties, fill, propensities

N, V = 40, 3
DIM = 1 + 2 * V


def bandits() -> list[Bandit]:
    plain = {"dim": DIM}
    return [
        Bandit(LinearModel(LinearSettings(**plain)), Greedy(0.2)),
        Bandit(LinearModel(LinearSettings(**plain)), PlackettLuce(0.5, 0.01)),
        Bandit(LinearModel(LinearSettings(**plain)), InverseGap(20.0)),
        Bandit(LinearModel(LinearSettings(**plain)), Optimistic(1.0, 0.1)),
        Bandit(LinearModel(LinearSettings(**plain)), Thompson(256, 1.0, 0.01)),
        Bandit(LogisticModel(LogisticSettings(**plain)), Thompson(256, 1.0, 0.01)),
        Bandit(NeuralLinear(NeuralLinearSettings(**plain)), Thompson(256, 1.0, 0.01)),
        Bandit(BootstrapModel(BootstrapSettings(**plain)), Thompson(256, 1.0, 0.01)),
        Bandit(LinearModel(LinearSettings(**plain)), Bounded(Thompson(256, 1.0, 0.3), 0.02)),
    ]


every_bandit = pytest.mark.parametrize("bandit", bandits(), ids=lambda b: b.name)


def taught(bandit: Bandit, seed: int) -> np.ndarray:
    """Teaches the bandit some listening; returns features (N, DIM) of a request's candidates."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(N, V))
    for _ in range(20):
        x = joint(rng.normal(size=V), vectors)
        bandit.partial_fit(x[:5], np.zeros(5, int), rng.integers(0, 2, 5))
    return joint(rng.normal(size=V), vectors)


def problem(utility: np.ndarray, seed: int) -> Problem:
    """Two shelves under caps, a floor for rare tracks and diversity."""
    rng = np.random.default_rng([seed, 1])
    n = len(utility)
    unit = rng.normal(size=(n, 4))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    first = Shelf("made_for_you", 5, np.ones(n, bool))
    return Problem(
        ids=np.arange(100, 100 + n),
        utility=utility,
        artist=rng.integers(0, 12, n),
        shelves=(first, Shelf("second", 2, rng.random(n) < 0.5)),
        rules=Rules(artist_cap_shelf=1, artist_cap_slate=2),
        effects=(Mmr(unit, 0.1),),
        quotas=(Floors([Floor("rare", rng.random(n) < 0.3, 0.2)], 1.0),),
    )


def with_quantiles(own: Problem, policy, seed: int, u: np.ndarray) -> tuple[list[int], list[float]]:
    """`recsys.slate.fill` with given quantiles: rows and propensities."""

    class At:
        name = policy.name
        draws = iter(u)

        def pick(self, utility, allowed, _u):
            return policy.pick(utility, allowed, float(next(self.draws)))

    slots = fill(own, At(), seed)
    return [s.row for s in slots], [s.propensity for s in slots]


def slate_policy(bandit: Bandit, seed: int):
    features = taught(bandit, seed)
    utility, policy = bandit.slots(features, seed)
    return problem(utility, seed), policy


@every_bandit
@pytest.mark.parametrize(
    ("contexts", "draws"), [(3, 10_000), pytest.param(20, 50_000, marks=pytest.mark.slow)]
)
def test_slots_follow_their_stated_conditional_distribution_under_constraints(bandit, contexts, draws):
    """Contexts x 7 slots x draws; the slow test below draws whole slates."""
    stated, rows = [], []
    for seed in range(contexts):
        own, policy = slate_policy(bandit.fit(*empty()), seed)
        prefix = [slot.row for slot in fill(own, policy, seed)]
        stated += propensities(own, policy, seed, prefix)
    rng = np.random.default_rng(0)
    for p in stated:
        assert p.sum() == pytest.approx(1)
        rows.append(drawn(np.broadcast_to(p, (draws, len(p))), rng.random(draws)))
    assert len(stated) == contexts * 7
    assert not check(stated, rows, 1).rejected()


def empty():
    return np.empty((0, DIM)), [], []


@pytest.mark.slow
@every_bandit
def test_whole_slates_drawn_end_to_end_follow_the_product_of_their_propensities(bandit):
    """8 contexts x 800 slates; at three slots the draws with the commonest prefix are held to its distribution."""
    stated, rows = [], []
    for seed in range(8):
        own, policy = slate_policy(bandit.fit(*empty()), seed)
        rng = np.random.default_rng([seed, 7])
        slates = np.array([with_quantiles(own, policy, seed, rng.random(7))[0] for _ in range(800)])
        prefix: list[int] = []
        for position in range(3):
            same = slates[(slates[:, :position] == prefix).all(1)]
            stated.append(propensities(own, policy, seed, [*prefix, *same[0, position:]])[position])
            rows.append(same[:, position])
            prefix.append(int(np.bincount(same[:, position]).argmax()))
    assert not check(stated, rows, 1).rejected()


@every_bandit
def test_a_pick_is_the_stated_distribution_s_quantile_and_fill_records_its_probability(bandit):
    own, policy = slate_policy(bandit.fit(*empty()), 3)
    u = np.random.default_rng(5).random(7)
    rows, recorded = with_quantiles(own, policy, 3, u)
    stated = propensities(own, policy, 3, rows)
    assert [at_quantile(p, v)[0] for p, v in zip(stated, u, strict=True)] == rows
    np.testing.assert_allclose(recorded, [p[row] for p, row in zip(stated, rows, strict=True)])


@every_bandit
def test_the_same_seed_gives_the_same_slate_and_utilities_may_be_shifted(bandit):
    features = taught(bandit.fit(*empty()), 2)
    utility, policy = bandit.slots(features, 9)
    again, policy_again = bandit.slots(features, 9)
    own, shifted = problem(utility, 2), problem(again - 64.0, 2)
    slots = fill(own, policy, 9)
    assert [s.row for s in slots] == [s.row for s in fill(shifted, policy_again, 9)]
    np.testing.assert_allclose(
        [s.propensity for s in slots], [s.propensity for s in fill(shifted, policy_again, 9)]
    )


@every_bandit
def test_arms_are_drawn_as_stated_and_only_where_allowed(bandit):
    kinds = {"linear": LinearModel, "logistic": LogisticModel, "bootstrap": BootstrapModel}
    kind = kinds.get(bandit.model.kind, NeuralLinear)
    arms = Bandit(kind(kind.Settings(dim=2, arms=6)), bandit.rule)
    rng = np.random.default_rng(1)
    arms.partial_fit(rng.normal(size=(80, 2)), rng.integers(0, 6, 80), rng.integers(0, 2, 80))
    contexts = rng.normal(size=(5, 2))
    allowed = rng.random((5, 6)) < 0.7
    allowed[:, 2] = True
    chosen = arms.select(np.repeat(contexts, 800, 0), 17, np.repeat(allowed, 800, 0))
    stated = arms.distribution(contexts, 17, allowed)
    rows = np.arange(len(chosen.arms))
    np.testing.assert_allclose(chosen.propensities, stated[rows // 800, chosen.arms], atol=1e-12)
    assert not stated[~allowed].any()
    assert not check(list(stated), list(chosen.arms.reshape(5, -1)), 1).rejected()


def test_a_thompson_policy_that_states_its_mean_s_choice_is_rejected():
    """The test can fail: draws of a Thompson policy against what the greedy one would state."""
    bandit = Bandit(LinearModel(LinearSettings(dim=DIM)), Thompson(256, 1.0, 0.05))
    own, policy = slate_policy(bandit, 0)
    prefix = [slot.row for slot in fill(own, policy, 0)]
    stated = propensities(own, policy, 0, prefix)
    wrong = propensities(own, EpsilonGreedy(0.05), 0, prefix)
    rng = np.random.default_rng(0)
    rows = [drawn(np.broadcast_to(p, (5_000, len(p))), rng.random(5_000)) for p in stated]
    assert check(wrong, rows, 1).rejected()


@pytest.mark.parametrize("policy", [EpsilonGreedy(0.5), Softmax(1.0, 0.1)], ids=lambda p: p.name)
def test_a_bounded_slate_loses_no_more_than_its_bound_against_the_greedy_one(policy):
    """Exact where values add up: expected loss of each slot, and the worth of whole slates against the greedy slate."""
    rng = np.random.default_rng(0)
    utility = rng.normal(size=N)
    own = Problem(
        np.arange(N), utility, rng.integers(0, 9, N), (Shelf("only", 6, np.ones(N, bool)),), Rules(2, 2)
    )
    bound = 0.3
    tight = BoundedSlots(policy, bound, slots=6)
    greedy = utility[[s.row for s in fill(own, EpsilonGreedy(0.0), 0)]].sum()
    worth = []
    for _ in range(600):
        rows, _ = with_quantiles(own, tight, 0, rng.random(6))
        worth.append(utility[rows].sum())
        assert slot_losses(own, tight, rows) <= bound
    lost = greedy - np.array(worth)
    assert lost.mean() <= bound + 3 * lost.std() / np.sqrt(600)
    free = [utility[with_quantiles(own, policy, 0, rng.random(6))[0]].sum() for _ in range(300)]
    assert greedy - np.mean(free) > bound  # the bound does bind


def slot_losses(own: Problem, policy, rows: list[int]) -> float:
    """Expected losses of the slots along a slate, summed."""
    utility = break_ties(own.utility, own.ids, 0)
    stated = propensities(own, policy, 0, rows)
    best = propensities(own, EpsilonGreedy(0.0), 0, rows)
    return float(sum((b - p) @ utility for p, b in zip(stated, best, strict=True)))


def test_candidates_need_a_model_without_arms_and_rows_need_something_allowed():
    bandit = Bandit(LinearModel(LinearSettings(dim=2, arms=3)), Greedy(0.1))
    with pytest.raises(BadInput, match="arms=1"):
        bandit.slots(np.ones((4, 2)), 0)
    with pytest.raises(BadInput, match="at least one"):
        bandit.select(np.ones((2, 2)), 0, np.array([[True, True, True], [False, False, False]]))
    with pytest.raises(BadInput, match="slot"):
        BoundedSlots(EpsilonGreedy(0.1), 0.1, 0)


def test_fit_forgets_what_was_learned_before():
    bandit = Bandit(LinearModel(LinearSettings(dim=2, arms=2)), Greedy(0.0))
    bandit.partial_fit(np.ones((9, 2)), np.zeros(9, int), np.ones(9))
    bandit.fit(np.ones((9, 2)), np.ones(9, int), np.ones(9))
    assert bandit.select(np.ones((1, 2)), 0).arms[0] == 1
    assert bandit.distribution(np.ones(2), 0).tolist() == [[0.0, 1.0]]
