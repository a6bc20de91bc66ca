"""The earlier recommender's propensities are exact: probability transforms of its draws are uniform."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from recsys.simulation.exposure import EPSILON, SLOTS, conditional, place, without_repeats
from recsys.simulation.rng import F64, keys, normals, stream, uniforms


def contexts(n: int, candidates: int) -> F64:
    rng = np.random.default_rng(5)
    score = rng.normal(0, 1.5, (n, candidates))
    score[rng.random(score.shape) < 0.2] = -np.inf
    return score


def transformed(score: F64, draws: int) -> F64:
    """(draws, SLOTS) randomised probability integral transform of each placed candidate."""
    many = np.repeat(score[None], draws, axis=0)
    key = keys(stream(9, "test"), np.arange(draws))
    chosen, propensity = place(many, uniforms(key, SLOTS))
    v = np.random.default_rng(1).random(chosen.shape)
    left, out = np.isfinite(many), np.empty(chosen.shape)
    for slot in range(SLOTS):
        p = conditional(many, left)
        rows = np.arange(draws)
        below = np.where(np.arange(p.shape[1]) < chosen[:, slot, None], p, 0).sum(1)
        np.testing.assert_allclose(p[rows, chosen[:, slot]], propensity[:, slot], rtol=1e-12)
        out[:, slot] = below + v[:, slot] * propensity[:, slot]
        left[rows, chosen[:, slot]] = False
    return out


def test_probability_transforms_of_every_slot_are_uniform() -> None:
    p_values = [
        stats.kstest(column, "uniform").pvalue
        for score in contexts(4, 24)
        for column in transformed(score, 8_000).T
    ]
    assert min(p_values) > 0.01 / len(p_values)


def test_a_distribution_with_a_twentieth_of_its_mass_moved_is_rejected() -> None:
    score = contexts(1, 24)[0]
    truth = conditional(score[None], np.isfinite(score)[None])[0]
    claimed = truth.copy()
    claimed[np.argmax(truth)] -= 0.05
    claimed[np.argsort(-truth)[1]] += 0.05
    draws = np.random.default_rng(2).choice(len(truth), 50_000, p=truth)
    seen = np.bincount(draws, minlength=len(truth))
    kept = claimed > 0
    assert stats.chisquare(seen[kept], 50_000 * claimed[kept] / claimed[kept].sum()).pvalue < 1e-6


@given(st.integers(0, 2**31), st.integers(SLOTS, 40))
@settings(max_examples=30, deadline=None)
def test_a_conditional_is_a_distribution_over_what_is_left_with_support_everywhere(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    left = rng.random((3, n)) < 0.7
    left[:, 0] = True
    p = conditional(rng.normal(0, 20, (3, n)), left)
    np.testing.assert_allclose(p.sum(1), 1)
    assert (p[~left] == 0).all()
    assert (p >= left * EPSILON / left.sum(1, keepdims=True) - 1e-12).all()


def test_a_page_holds_no_track_twice_and_only_eligible_ones() -> None:
    score = contexts(50, 30)
    chosen, _ = place(score, uniforms(keys(stream(1, "t"), np.arange(50)), SLOTS))
    assert all(len(set(row)) == SLOTS for row in chosen.tolist())
    assert np.isfinite(np.take_along_axis(score, chosen, axis=1)).all()
    assert without_repeats(np.array([[3, 1, 3, 2, 1]])).tolist() == [[True, True, False, True, False]]


def test_counter_draws_do_not_depend_on_their_neighbours() -> None:
    key = keys(stream(3, "x"), np.arange(1000), 4)
    np.testing.assert_array_equal(uniforms(key, 5)[:, 100:200], uniforms(key[100:200], 5))
    np.testing.assert_array_equal(uniforms(key, 5)[2:], uniforms(key, 3, 2))
    assert stats.kstest(uniforms(key, 20).ravel(), "uniform").pvalue > 1e-4
    assert stats.kstest(normals(key, 20).ravel(), "norm").pvalue > 1e-4
