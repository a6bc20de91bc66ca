"""Intervals over listeners: closed forms, coverage where it is promised, refusals."""

import numpy as np
import pytest

from bandits.ope import intervals, sequences
from bandits.ope.lists import Lists
from bandits.ope.reward_model import cross_fit
from bandits.ope.terms import Terms
from recsys.errors import BadInput


def terms_of(values: np.ndarray) -> Terms:
    return Terms.mean(values, np.ones(len(values)))


def test_with_one_decision_a_listener_the_interval_is_students() -> None:
    from scipy.stats import t

    x = np.random.default_rng(0).normal(size=40)
    units = terms_of(x).by_listener(np.arange(40))
    want = t.interval(0.95, 39, x.mean(), x.std(ddof=1) / np.sqrt(40))
    assert intervals.asymptotic(units) == pytest.approx(want, abs=1e-12)


def test_decisions_repeated_by_one_listener_add_no_certainty() -> None:
    x = np.random.default_rng(1).normal(size=50)
    once = terms_of(x).by_listener(np.arange(50))
    often = terms_of(np.repeat(x, 20)).by_listener(np.repeat(np.arange(50), 20))
    assert intervals.asymptotic(often) == pytest.approx(intervals.asymptotic(once), abs=1e-12)
    assert intervals.bootstrap(often) == pytest.approx(intervals.bootstrap(once), abs=1e-12)
    assert intervals.bernstein(often, -5, 5) == pytest.approx(intervals.bernstein(once, -5, 5), abs=1e-9)


def test_the_bootstrap_leans_where_terms_are_skewed_and_depends_on_its_seed_alone() -> None:
    x = np.random.default_rng(2).lognormal(sigma=1.2, size=200)
    units = terms_of(x).by_listener(np.arange(200))
    low, high = intervals.bootstrap(units, seed=3)
    assert high - units.value > 1.1 * (units.value - low)
    assert intervals.bootstrap(units, seed=3) == (low, high)
    assert intervals.bootstrap(units, seed=4) != (low, high)


def test_the_ratio_of_sums_is_no_wider_than_it_should_be() -> None:
    rng, hits, runs = np.random.default_rng(3), 0, 400
    for _ in range(runs):
        count = rng.poisson(5, 150) + 1
        who = np.repeat(np.arange(150), count)
        top = rng.normal(size=150)[who] + rng.normal(size=len(who)) + 2
        low, high = intervals.asymptotic(terms_of(top).by_listener(who))
        hits += low <= 2 <= high
    assert 0.92 <= hits / runs <= 0.98


def test_the_direct_methods_error_is_that_of_leaving_listeners_out() -> None:
    rng = np.random.default_rng(4)
    n, listeners, items = 600, 120, 4
    who, x = rng.integers(0, listeners, n), rng.normal(size=(n, 2))
    item = rng.integers(0, items, n)
    reward = x[:, 0] * (item - 1.5) + rng.normal(size=listeners)[who] + rng.normal(size=n)

    def features(rows: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        return np.column_stack([x[rows], chosen, x[rows, 0] * chosen])

    def value(kept: np.ndarray) -> tuple[float, float]:
        nonlocal x
        everything, x = x, x[kept]
        listener = np.unique(who[kept], return_inverse=True)[1]
        best = np.where(x[:, :1] > 0, [[0, 0, 0, 1.0]], [[1.0, 0, 0, 0]])
        eligible = Lists.square(np.tile(np.arange(items), (kept.sum(), 1)))
        fitted = cross_fit(features, item[kept], reward[kept], listener, eligible, Lists.square(best))
        correction = fitted.correction(np.zeros(kept.sum()))
        assert correction is not None
        x = everything
        plain = terms_of(fitted.q_target)
        return plain.value, intervals.standard_error(plain.plus(correction).by_listener(listener))

    _, stated = value(np.ones(n, bool))
    left_out = np.array([value(who != c)[0] for c in np.unique(who)])
    jackknife = np.sqrt((len(left_out) - 1) / len(left_out) * ((left_out - left_out.mean()) ** 2).sum())
    assert stated == pytest.approx(jackknife, rel=0.1)


def test_bernstein_holds_with_thirty_listeners() -> None:
    rng, hits, runs = np.random.default_rng(5), 0, 300
    for _ in range(runs):
        x = rng.binomial(1, 0.05, 30) * 10.0
        low, high = intervals.bernstein(terms_of(x).by_listener(np.arange(30)), 0, 10)
        hits += low <= 0.5 <= high
    assert hits / runs >= 0.95


def test_finite_sample_bounds_refuse_ratios_and_terms_outside_the_stated_bounds() -> None:
    w = np.array([1.0, 2.0, 3.0])
    with pytest.raises(BadInput, match="plain mean"):
        intervals.bernstein(Terms(w, w, w).by_listener(np.arange(3)), 0, 5)
    with pytest.raises(BadInput, match="leave the stated bounds"):
        intervals.bernstein(terms_of(w).by_listener(np.arange(3)), 0, 2.5)
    with pytest.raises(BadInput, match="two listeners"):
        intervals.asymptotic(terms_of(w).by_listener(np.zeros(3, np.int64)))


def test_betting_is_that_of_single_outcomes_where_each_listener_has_one() -> None:
    from experiments.sequential.bounded import betting

    x = np.random.default_rng(6).beta(1, 4, 500)
    units = terms_of(x).by_listener(np.arange(500))
    low, high = sequences.betting_sequence(units, 0, 1)
    want_low, want_high = betting(x, 0.05, grid=400)
    assert np.abs(low - want_low).max() <= 2 / 400
    assert np.abs(high - want_high).max() <= 2 / 400


@pytest.mark.parametrize("kind", ["asymptotic", "betting"])
def test_sequences_hold_at_every_look_where_a_fixed_interval_does_not(kind: str) -> None:
    rng, runs = np.random.default_rng(7), 100
    held = fixed = 0
    for _ in range(runs):
        who = np.repeat(np.arange(400), rng.integers(1, 4, 400))
        p = rng.beta(2, 6, 400)[who]
        units = terms_of((rng.random(len(who)) < p).astype(float)).by_listener(who)
        if kind == "asymptotic":
            low, high = sequences.asymptotic_sequence(units)
        else:
            low, high = sequences.betting_sequence(units, 0, 1, grid=100)
        held += not ((low > 0.25) | (high < 0.25)).any()
        n = np.arange(1, 401)
        mean = units.top.cumsum() / units.bottom.cumsum()
        error = np.sqrt(np.array([np.var(units.top[:i] - mean[i - 1] * units.bottom[:i]) for i in n]) / n)
        outside = np.abs(mean - 0.25) > 1.96 * error / (units.bottom.cumsum() / n)
        fixed += not outside[99:].any()
    assert held / runs >= 0.95
    assert fixed / runs < 0.9


def test_listeners_arrive_with_their_first_period_alone() -> None:
    terms = terms_of(np.array([1.0, 10.0, 100.0, 1000.0, 10000.0]))
    part, listener = sequences.arrivals(
        terms, np.array([1, 0, 1, 1, 2]), np.array([5, 0, 9, 40, 95]), period=10
    )
    units = part.by_listener(listener)
    assert units.top.tolist() == [
        10.0,
        101.0,
    ]  # listener 2's period has not passed, the third of listener 1 came later
    with pytest.raises(BadInput, match="shorter"):
        sequences.arrivals(terms, np.array([1, 0, 1, 1, 2]), np.array([5, 0, 9, 40, 95]), period=500)


def test_the_first_look_waits_for_the_effective_sample() -> None:
    who = np.arange(600)
    even, uneven = np.ones(600), np.where(who % 10 == 0, 8.0, 0.2)
    assert sequences.first_look(Terms.mean(even, even), who) == 200
    first = sequences.first_look(Terms.mean(uneven, uneven), who, effective=70)
    w = uneven[:first]
    assert w.sum() ** 2 / (w**2).sum() >= 70
    assert first > 300
    assert sequences.first_look(Terms.mean(even, even), who, effective=10, listeners=50) == 50
