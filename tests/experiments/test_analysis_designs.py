"""Designs beyond two arms of listeners: switchbacks, two sides, graphs, interleaving: intervals hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from experiments.analysis.bipartite import bipartite
from experiments.analysis.interleave import Interleaved, optimised, team_draft
from experiments.analysis.preference import preference, score
from experiments.analysis.regression import fit, fit_clustered, fit_cosine, fit_hac
from experiments.analysis.switchback import randomisation_p, switchback, washed
from experiments.analysis.two_sided import two_sided
from recsys.errors import BadInput

RUNS = 300
WITHIN = 0.04  # three standard deviations of a share of 95% in so many runs


def schedule(rng: np.random.Generator, periods: int = 280) -> np.ndarray:
    return np.repeat(rng.integers(0, 2, periods // 2), 2)


def market(rng: np.random.Generator, treated: np.ndarray, now: float, later: float) -> np.ndarray:
    """Demand with a daily season, correlated errors, an effect now and one a period later."""
    error = np.zeros(len(treated))
    for t in range(1, len(treated)):
        error[t] = 0.4 * error[t - 1] + rng.normal()
    season = 2 * np.sin(2 * np.pi * np.arange(len(treated)) / 24)
    return 5 + season + now * treated + later * np.r_[0, treated[:-1]] + error


def test_switchback_intervals_hold_the_whole_effect_with_carry_over():
    rng, held, tests = np.random.default_rng(0), [], []
    for _ in range(RUNS):
        on = schedule(rng)
        values = market(rng, on, 1.0, 0.5)
        found = switchback(values, on, lags=1, season=np.arange(len(on)) % 24)
        held.append(found.total.interval.covers(1.5))
        quiet = switchback(market(rng, on, 1.0, 0.0), on, lags=1, season=np.arange(len(on)) % 24)
        tests.append((found.carry_over_p < 0.05, quiet.carry_over_p < 0.05))
    assert np.mean(held) == pytest.approx(0.945, abs=WITHIN)
    power, level = np.mean(tests, axis=0)
    assert power > 0.6
    assert level < 0.1


def test_washing_out_drops_the_periods_after_each_switch_of_each_series():
    on = np.array([1, 1, 1, 0, 0, 1, 1, 1])
    assert washed(on, 1).tolist() == [False, True, True, False, True, False, True, True]
    assert washed(on, 2, np.array([0, 0, 0, 0, 0, 0, 1, 1])).sum() == 1


def test_redrawing_the_schedule_gives_an_exact_test():
    rng = np.random.default_rng(1)
    p = [
        randomisation_p(market(rng, on, 0, 0), on, lambda r: schedule(r, 60), 99, seed)
        for seed, on in enumerate(schedule(rng, 60) for _ in range(200))
    ]
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.065)
    on = schedule(rng)
    assert randomisation_p(market(rng, on, 3, 0), on, schedule, 199) < 0.02


def test_a_switchback_that_never_switches_is_refused():
    with pytest.raises(BadInput, match="both arms"):
        switchback(np.arange(50.0), np.ones(50, int))


def graph(rng: np.random.Generator, listeners: int = 1500, artists: int = 200) -> tuple[np.ndarray, ...]:
    popularity = rng.dirichlet(np.full(artists, 0.7))
    listener = np.repeat(np.arange(listeners), 5)
    artist = rng.choice(artists, len(listener), p=popularity)
    return listener, artist, rng.exponential(size=len(listener))


def test_artists_effects_through_listeners_hold_where_listeners_are_shared():
    rng = np.random.default_rng(2)
    listener, artist, weight = graph(rng)
    share = np.zeros((200, 1500))
    np.add.at(share, (artist, listener), weight)
    share /= np.maximum(share.sum(1, keepdims=True), 1e-12)
    held = []
    for _ in range(RUNS):
        on = rng.integers(0, 2, 1500)
        outcome = 3 + 2 * share @ on + 2 * share @ rng.normal(size=1500) + 0.1 * rng.normal(size=200)
        found = bipartite(listener, artist, weight, on, outcome)
        held.append(found.effect.interval.covers(2.0))
    assert np.mean(held) == pytest.approx(0.945, abs=WITHIN)
    assert 100 < found.effective < 1500


def test_shared_audiences_need_the_listeners_errors():
    """Artists in pairs with one audience: rows double, knowledge does not."""
    rng = np.random.default_rng(3)
    listener, artist, weight = graph(rng, 800, 100)
    on, base = rng.integers(0, 2, 800), rng.normal(size=100)
    one = bipartite(listener, artist, weight, on, base)
    twice = bipartite(
        np.tile(listener, 2), np.r_[artist, artist + 100], np.tile(weight, 2), on, np.tile(base, 2)
    )
    assert twice.effect.effect == pytest.approx(one.effect.effect)
    assert twice.effect.se == pytest.approx(one.effect.se)
    assert twice.naive_se == pytest.approx(one.naive_se / np.sqrt(2))


def test_a_graph_without_variation_is_refused():
    with pytest.raises(BadInput, match="do not vary"):
        bipartite(np.array([0, 0, 0]), np.arange(3), np.ones(3), np.array([1, 0]), np.ones(3))


def test_two_sided_intervals_hold_with_effects_of_both_sides():
    rng, held = np.random.default_rng(4), []
    listener, artist = np.divmod(np.arange(60 * 50), 50)
    for _ in range(RUNS):
        a, b = rng.permutation(60) % 2, rng.permutation(50) % 2
        noise = rng.normal(size=60)[listener] + rng.normal(size=50)[artist] + rng.normal(size=3000)
        outcome = noise + a[listener] * b[artist] + 0.5 * a[listener]
        found = two_sided(outcome, listener, artist, a[listener], b[artist])
        held.append(
            [
                found.both.interval.covers(1.5),
                found.listener_spillover.interval.covers(0.5),
                found.artist_spillover.interval.covers(0.0),
                found.interaction.interval.covers(1.0),
            ]
        )
    assert (np.mean(held, axis=0) > 0.95 - WITHIN).all()


def test_two_sides_need_four_cells():
    with pytest.raises(BadInput, match="four cells"):
        two_sided(np.ones(4), np.arange(4), np.arange(4), np.array([0, 1, 0, 1]), np.zeros(4, int))


def test_robust_errors_agree_where_rows_are_independent_and_part_where_they_are_not():
    rng = np.random.default_rng(5)
    x = np.stack([np.ones(4000), rng.integers(0, 2, 4000)], 1).astype(float)
    y = x[:, 1] + rng.normal(size=4000)
    errors = [
        fit(y, x, "HC3").combine(np.array([0, 1.0]))[1],
        fit_clustered(y, x, np.arange(4000)).combine(np.array([0, 1.0]))[1],
        fit_hac(y, x, 5).combine(np.array([0, 1.0]))[1],
    ]
    assert errors == pytest.approx([errors[0]] * 3, rel=0.05)
    assert fit_cosine(y, x).combine(np.array([0, 1.0]))[1] == pytest.approx(errors[0], rel=0.25)
    group = np.repeat(np.arange(80), 50)
    alike = y + rng.normal(size=80)[group]
    x[:, 1] = group % 2
    plain, clustered = fit(alike, x), fit_clustered(alike, x, group)
    assert clustered.covariance[1, 1] > 10 * plain.covariance[1, 1]


RANKINGS = st.tuples(st.permutations(range(9)), st.permutations(range(9))).map(lambda r: (r[0][:5], r[1][:5]))


@given(RANKINGS, st.integers(0, 100))
@settings(deadline=None)
def test_team_draft_takes_from_the_tops_without_repeats_and_shares_the_slots(rankings, seed):
    a, b = rankings
    shown = team_draft(a, b, 5, np.random.default_rng(seed))
    assert len(set(shown.items.tolist())) == len(shown.items) == 5
    for cut in range(1, 6):
        assert abs(shown.credit[:cut].sum()) <= 1
    for who, ranking in ((1.0, a), (-1.0, b)):
        own = shown.items[shown.credit == who].tolist()
        assert own == sorted(own, key=list(ranking).index)


@given(RANKINGS, st.sampled_from(["inverse_rank", "rank_difference"]))
@settings(max_examples=40, deadline=None)
def test_an_optimised_mixture_is_unbiased_in_every_slot_and_keeps_both_orders(rankings, credit):
    a, b = rankings
    mixture = optimised(a, b, 5, credit)
    assert mixture.probability.sum() == pytest.approx(1)
    assert np.abs(mixture.probability @ mixture.credit).max() == pytest.approx(mixture.bias, abs=1e-6)
    assert mixture.bias == 0
    for row in mixture.items.tolist():
        for cut in range(1, 6):
            top = set(row[:cut])
            assert any(top == {*a[:i], *b[:j]} for i in range(cut + 1) for j in range(cut + 1))


def test_equal_rankings_leave_no_list_to_choose_and_no_credit():
    mixture = optimised([3, 1, 2], [3, 1, 2], 3)
    assert mixture.items.tolist() == [[3, 1, 2]]
    assert not mixture.credit.any()


def test_lists_with_repeats_or_too_many_slots_are_refused():
    with pytest.raises(BadInput, match="twice"):
        team_draft([1, 1], [2], 2, np.random.default_rng(0))
    with pytest.raises(BadInput, match="12 slots"):
        optimised(list(range(20)), list(range(20)), 13)


def clicks(shown: Interleaved, like: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.random(len(shown.items)) < like[shown.items]


@pytest.mark.parametrize("way", ["team draft", "optimised"])
def test_random_clicks_prefer_nobody_and_taste_prefers_the_better_ranking(way):
    rng, a, b = np.random.default_rng(6), list(range(8)), [4, 5, 6, 7, 0, 1, 2, 3]
    taste = np.array([0.4, 0.35, 0.3, 0.3, 0.1, 0.1, 0.1, 0.1])
    mixture = optimised(a, b, 6)
    draw = (lambda: team_draft(a, b, 6, rng)) if way == "team draft" else (lambda: mixture.draw(rng))

    def scores(like: np.ndarray, n: int) -> np.ndarray:
        lists = [draw() for _ in range(n)]
        return np.array([score(shown, clicks(shown, like, rng)) for shown in lists])

    random = [preference(scores(np.full(8, 0.2), 200)).mean_credit.p_value < 0.05 for _ in range(100)]
    assert np.mean(random) < 0.13
    found = preference(scores(taste, 600))
    assert found.mean_credit.interval.low > 0
    assert found.lead.interval.low > 0
    assert found.sign_p < 0.001


def test_lists_of_one_listener_are_one_voice():
    rng = np.random.default_rng(7)
    taste = np.sign(rng.normal(size=40))
    listener = np.repeat(np.arange(40), 30)
    together, apart = preference(taste[listener], listener), preference(taste[listener])
    assert together.lead.effect == apart.lead.effect
    assert together.lead.se > 4 * apart.lead.se
    up = int((taste > 0).sum())
    assert together.sign_p == pytest.approx(stats.binomtest(up, 40).pvalue)
