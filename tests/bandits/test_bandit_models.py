"""What bandits learn: closed forms, pieces and order, forgetting, late rewards, and draws that follow the posterior."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.bootstrap import _POISSON, BootstrapModel, BootstrapSettings
from bandits.linear import LinearModel, LinearSettings
from bandits.logistic import LogisticModel, LogisticSettings, sigmoid
from bandits.neural_linear import NeuralLinear, NeuralLinearSettings, head, joint
from bandits.streams import hashed
from recsys.errors import BadInput

few = settings(deadline=None, max_examples=25)

D, K = 4, 3


def stream(seed: int, n: int = 60):
    """Contexts, arms, rewards in 0..1 and times."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, D))
    return x, rng.integers(0, K, n), rng.integers(0, 2, n).astype(float), np.sort(rng.random(n) * 50)


def models(half_life: float = 0.0):
    return [
        LinearModel(LinearSettings(dim=D, arms=K, half_life=half_life)),
        NeuralLinear(NeuralLinearSettings(dim=D, arms=K, half_life=half_life)),
        BootstrapModel(BootstrapSettings(dim=D, arms=K, replicas=8, half_life=half_life)),
        LogisticModel(LogisticSettings(dim=D, arms=K, half_life=half_life)),
    ]


@few
@given(seed=st.integers(0, 1000), cut=st.integers(0, 60), half_life=st.sampled_from([0.0, 10.0]))
def test_pieces_give_what_one_call_gives(seed, cut, half_life):
    x, arms, y, when = stream(seed)
    probe = x[:5]
    for whole, pieces in zip(models(half_life), models(half_life), strict=True):
        if whole.kind == "logistic" and half_life:
            continue  # its approximation is taken batch by batch
        whole.partial_fit(x, arms, y, when)
        pieces.partial_fit(x[:cut], arms[:cut], y[:cut], when[:cut])
        pieces.partial_fit(x[cut:], arms[cut:], y[cut:], when[cut:])
        np.testing.assert_allclose(pieces.mean(probe), whole.mean(probe), rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(pieces.width(probe), whole.width(probe), rtol=1e-8, atol=1e-10)


@few
@given(seed=st.integers(0, 1000), half_life=st.sampled_from([0.0, 5.0]))
def test_the_order_of_batches_does_not_matter_however_late_rewards_come(seed, half_life):
    x, arms, y, when = stream(seed)
    keys = np.arange(len(y)) * 7 + 3
    order = np.random.default_rng(seed).permutation(len(y))
    for straight, mixed in zip(models(half_life)[:3], models(half_life)[:3], strict=True):
        straight.partial_fit(x, arms, y, when, keys=keys)
        for rows in np.array_split(order, 7):
            mixed.partial_fit(x[rows], arms[rows], y[rows], when[rows], keys=keys[rows])
        np.testing.assert_allclose(mixed.mean(x[:5]), straight.mean(x[:5]), rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(mixed.width(x[:5]), straight.width(x[:5]), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("half_life", [0.0, 5.0])
def test_two_learners_on_halves_of_a_stream_merge_into_one(half_life):
    x, arms, y, when = stream(1)
    for kind in (LinearModel, NeuralLinear):
        config = kind.Settings(dim=D, arms=K, half_life=half_life)
        whole = kind(config).partial_fit(x, arms, y, when)
        parts = [kind(config).partial_fit(x[i::2], arms[i::2], y[i::2], when[i::2]) for i in (0, 1)]
        merged = parts[0].merged(parts[1])
        np.testing.assert_allclose(merged.mean(x), whole.mean(x), atol=1e-10)
        assert merged.clock.seen == 60
    with pytest.raises(BadInput, match="settings"):
        whole.merged(NeuralLinear(NeuralLinearSettings(dim=D, arms=K, l2=9.0)))


def test_linear_means_and_widths_are_those_of_weighted_ridge_regression():
    x, arms, y, when = stream(2)
    model = LinearModel(LinearSettings(dim=D, arms=K, l2=2.0, half_life=10.0, prior=(1.0, 0, 0, 0)))
    model.partial_fit(x, arms, y, when)
    w = 0.5 ** ((when.max() - when) / 10.0)
    for arm in range(K):
        own = arms == arm
        precision = 2 * np.eye(D) + (x[own] * w[own, None]).T @ x[own]
        right = (x[own] * w[own, None]).T @ y[own] + 2 * np.array([1.0, 0, 0, 0])
        np.testing.assert_allclose(model.mean(x)[:, arm], x @ np.linalg.solve(precision, right))
        spread = np.einsum("nd,de,ne->n", x, np.linalg.inv(precision), x)
        np.testing.assert_allclose(model.width(x)[:, arm], np.sqrt(spread))


def test_one_logistic_observation_lands_on_the_exact_mode():
    from scipy.optimize import minimize

    x = np.array([1.0, -2.0, 0.5, 3.0])
    for y, weight in ((1.0, 1.0), (0.0, 1.0), (0.3, 40.0)):
        model = LogisticModel(LogisticSettings(dim=D, l2=0.2)).partial_fit(x, [0], [y], weights=[weight])

        def objective(w, y=y, weight=weight):
            z = x @ w
            return 0.1 * w @ w - weight * (y * z - np.logaddexp(0, z))

        found = minimize(objective, np.zeros(D), tol=1e-12).x
        np.testing.assert_allclose(model.weights[0], found, atol=1e-5)
        p = sigmoid(x @ model.weights[0])
        np.testing.assert_allclose(
            model.precision[0], 0.2 * np.eye(D) + weight * p * (1 - p) * np.outer(x, x)
        )
        np.testing.assert_allclose(model.covariance[0] @ model.precision[0], np.eye(D), atol=1e-9)


def test_the_logistic_model_finds_the_probabilities_of_a_long_stream():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=D)
    x = rng.normal(size=(4000, D))
    y = (rng.random(4000) < sigmoid(x @ truth)).astype(float)
    model = LogisticModel(LogisticSettings(dim=D)).partial_fit(x, np.zeros(4000, int), y)
    assert np.abs(model.weights[0] - truth).max() < 0.2
    assert np.abs(model.mean(x)[:, 0] - sigmoid(x @ truth)).mean() < 0.02


@pytest.mark.parametrize("arms", [1, K])
def test_draws_have_the_posterior_s_mean_width_and_correlation(arms):
    x, chosen, y, _ = stream(3)
    model = LinearModel(LinearSettings(dim=D, arms=arms)).partial_fit(x, chosen % arms, y)
    draws = model.sampled(x[:6], 40_000, 2.0, seed=11)
    assert draws.shape == (40_000, 6, arms)
    np.testing.assert_allclose(draws.mean(0), 0, atol=0.02)
    np.testing.assert_allclose(draws.std(0), 2 * model.width(x[:6]), rtol=0.02)
    if arms == 1:
        covariance = 4 * x[:6] @ np.linalg.inv(np.eye(D) + x.T @ x) @ x[:6].T
        np.testing.assert_allclose(np.cov(draws[:, :, 0].T), covariance, atol=0.01)


@pytest.mark.parametrize("arms", [1, K])
def test_a_row_s_draws_depend_on_its_context_and_the_seed_alone(arms):
    x, chosen, y, _ = stream(4)
    for kind, config in (
        (LinearModel, LinearSettings),
        (NeuralLinear, NeuralLinearSettings),
        (LogisticModel, LogisticSettings),
        (BootstrapModel, BootstrapSettings),
    ):
        model = kind(config(dim=D, arms=arms)).partial_fit(x, chosen % arms, y)
        many = model.sampled(x[:8], 300, 1.0, seed=5)
        alone = model.sampled(x[5:6], 300, 1.0, seed=5)
        np.testing.assert_allclose(alone[:, 0], many[:, 5], atol=1e-12)
        if kind is not BootstrapModel:
            assert np.abs(model.sampled(x[:8], 300, 1.0, seed=6) - many).max() > 0.01


def test_neural_linear_draws_widen_with_the_noise_that_rewards_show():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, D))
    calm, loud = (
        NeuralLinear(NeuralLinearSettings(dim=D)).partial_fit(
            x, np.zeros(500, int), x[:, 0] + s * rng.normal(size=500)
        )
        for s in (0.1, 3.0)
    )
    shape, rate = loud.noise()
    assert (rate / (shape - 1))[0] == pytest.approx(9.0, rel=0.2)
    wide = loud.sampled(x[:4], 4000, 1.0, 1).std(0)
    np.testing.assert_allclose(wide, 3.0 * loud.width(x[:4]), rtol=0.15)
    assert (wide > 10 * calm.sampled(x[:4], 4000, 1.0, 1).std(0)).all()


def test_the_neural_head_starts_at_the_network_s_own_score():
    rng = np.random.default_rng(0)
    listener, tracks = rng.normal(size=6), rng.normal(size=(9, 6))
    features = joint(listener, tracks)
    model = NeuralLinear(NeuralLinearSettings(dim=features.shape[1], prior=head(6, 0.5)))
    np.testing.assert_allclose(model.mean(features)[:, 0], 0.5 * tracks @ listener)


def test_a_bootstrap_counts_each_observation_poisson_one_times():
    u = hashed(np.arange(20_000), 16, seed=3)
    counts = np.searchsorted(_POISSON, u, side="right")
    expected = [0.3679, 0.3679, 0.1839, 0.0613]
    found = [(counts == c).mean() for c in range(4)]
    np.testing.assert_allclose(found, expected, atol=0.003)
    assert abs(np.corrcoef(counts)[0, 1:]).max() < 0.03


def test_the_ensemble_s_spread_shrinks_like_the_posterior_s():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, D))
    y = x @ np.ones(D) + rng.normal(size=3000)
    zeros = np.zeros(3000, int)
    ensemble = BootstrapModel(BootstrapSettings(dim=D, replicas=200)).partial_fit(x, zeros, y)
    linear = LinearModel(LinearSettings(dim=D)).partial_fit(x, zeros, y)
    np.testing.assert_allclose(ensemble.width(x[:20]), linear.width(x[:20]), rtol=0.35)
    np.testing.assert_allclose(ensemble.mean(x[:20]), linear.mean(x[:20]), atol=0.02)


def test_forgetting_follows_a_change_that_remembering_does_not():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, D))
    sign = np.where(np.arange(600) < 400, 1.0, -1.0)
    for kind, config in ((LinearModel, LinearSettings), (LogisticModel, LogisticSettings)):
        y = (sign * x[:, 0] > 0).astype(float)
        fresh = kind(config(dim=D, half_life=40)).partial_fit(x, np.zeros(600, int), y)
        probe = np.array([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]])
        assert np.diff(fresh.mean(probe)[:, 0])[0] > 0.2
    old = LinearModel(LinearSettings(dim=D)).partial_fit(x, np.zeros(600, int), y)
    assert np.diff(old.mean(probe)[:, 0])[0] < 0


@pytest.mark.parametrize("model", models(), ids=lambda m: m.kind)
def test_observations_that_cannot_be_used_are_refused_in_words(model):
    x, arms, y, _ = stream(0)
    with pytest.raises(BadInput, match=r"expected \(n, 4\)"):
        model.partial_fit(x[:, :2], arms, y)
    with pytest.raises(BadInput, match="arms"):
        model.partial_fit(x, arms + K, y)
    with pytest.raises(BadInput, match="rewards"):
        model.partial_fit(x, arms, np.full(len(y), np.nan))
    with pytest.raises(BadInput, match="not finite"):
        model.partial_fit(np.full_like(x, np.inf), arms, y)
    with pytest.raises(BadInput, match="negative"):
        model.partial_fit(x, arms, y, weights=-y - 1)
    with pytest.raises(BadInput, match="keys"):
        model.partial_fit(x, arms, y, keys=[1, 2])


def test_a_logistic_model_refuses_rewards_that_are_no_probabilities():
    with pytest.raises(BadInput, match=r"0\.\.1"):
        LogisticModel(LogisticSettings(dim=1)).partial_fit([[1.0]], [0], [1.5])
