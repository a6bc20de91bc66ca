"""Intervals hold what they promise, and widen where a listener's queries are alike."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.evaluation.bootstrap import Resampler, jackknife, paired_difference


def test_the_interval_covers_the_mean_about_95_times_in_100():
    rng, covered = np.random.default_rng(0), 0
    listener = np.repeat(np.arange(80), 5)
    for trial in range(200):
        values = np.repeat(rng.normal(size=80), 5) + rng.normal(size=400) + 2
        interval = Resampler.of(listener, 300, seed=trial).mean(values)
        covered += interval.low <= 2 <= interval.high
    assert 180 <= covered <= 200


def test_listeners_are_resampled_not_queries():
    rng = np.random.default_rng(1)
    values = np.repeat(rng.normal(size=50), 20)
    by_listener = Resampler.of(np.repeat(np.arange(50), 20)).mean(values)
    by_query = Resampler.of(np.arange(1000)).mean(values)
    assert by_listener.high - by_listener.low > 3 * (by_query.high - by_query.low)


def test_the_same_seed_gives_the_same_interval():
    values, listener = np.random.default_rng(2).random(60), np.arange(60) // 3
    assert Resampler.of(listener, seed=4).mean(values) == Resampler.of(listener, seed=4).mean(values)


def test_a_paired_difference_is_tighter_than_its_parts():
    rng = np.random.default_rng(3)
    listener = np.arange(400) // 4
    base = np.repeat(rng.normal(size=100), 4)
    difference = paired_difference(base + 0.1 + 0.01 * rng.normal(size=400), base, listener)
    assert 0 < difference.low < 0.1 < difference.high < 0.11


def test_a_cohort_uses_its_own_rows_and_unknown_values_do_not_count():
    draw = Resampler.of(np.array([0, 0, 1, 1, 2]))
    assert draw.mean(np.array([1.0, np.nan]), np.array([0, 4])).value == 1
    assert np.isnan(draw.mean(np.array([np.nan]), np.array([1])).value)


def test_the_jackknife_agrees_with_the_standard_error_of_a_mean():
    values = np.random.default_rng(5).normal(size=400)
    interval = jackknife(lambda m: float(values[m].mean()), np.arange(400), groups=400)
    assert (interval.high - interval.low) / 3.92 == pytest.approx(values.std(ddof=1) / 20, rel=0.01)
