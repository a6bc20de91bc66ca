"""Beta calibration repairs distorted probabilities and keeps their order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranking.calibration import Beta, expected_calibration_error, fit


@settings(max_examples=20, deadline=None)
@given(power=st.floats(0.5, 2), shift=st.floats(-2, 2), seed=st.integers(0, 50))
def test_a_distorted_score_is_calibrated_again(power, shift, seed):
    rng = np.random.default_rng(seed)
    truth = rng.beta(1, 4, 20_000)
    label = (rng.random(20_000) < truth).astype(np.int8)
    odds = power * np.log(truth / (1 - truth)) + shift
    distorted = 1 / (1 + np.exp(-odds))
    error = expected_calibration_error(fit(distorted, label)(distorted), label)
    assert error < 0.02


@given(a=st.floats(0.01, 5), b=st.floats(0, 5), c=st.floats(-3, 3))
def test_calibrating_keeps_the_order(a, b, c):
    p = np.linspace(0.001, 0.999, 200)
    assert np.all(np.diff(Beta(a, b, c)(p)) > 0)


def test_an_inverted_score_is_flattened_never_turned_around():
    rng = np.random.default_rng(0)
    truth = rng.random(4000)
    label = (rng.random(4000) < truth).astype(np.int8)
    calibrated = fit(1 - truth, label)(np.linspace(0.05, 0.95, 10))
    assert np.all(np.diff(calibrated) >= 0)


@pytest.mark.parametrize("label", [[], [0, 0, 0], [1, 1, 1]])
def test_without_both_labels_nothing_is_changed(label):
    assert fit(np.full(len(label), 0.3), np.array(label, np.int8)) == Beta()


def test_the_error_of_a_known_case():
    p, label = np.array([0.2] * 10 + [0.8] * 10), np.array([0] * 10 + [1] * 10)
    assert expected_calibration_error(p, label, bins=2) == pytest.approx(0.2)
