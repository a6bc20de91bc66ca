"""The mixture correction: sampled gradients against those of the full softmax on a small catalog."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from models.two_tower.loss import Draws, Positives, mixture_softmax

N, B = 40, 12
RNG = np.random.default_rng(0)
SCORES = torch.from_numpy(RNG.normal(0, 1.5, (B, N)))
POPULARITY = 1 / np.arange(1, N + 1)
POPULARITY /= POPULARITY.sum()
HISTORY = np.array([[3, 17], [0, 5]] * (B // 2))
TARGETS = np.array([(b * 3) % N for b in range(B)])


def full_gradient() -> Tensor:
    """Of the mean negative log likelihood of TARGETS with respect to every score."""
    scores = SCORES.clone().requires_grad_()
    torch.nn.functional.cross_entropy(scores, torch.from_numpy(TARGETS)).backward()
    assert scores.grad is not None
    return scores.grad


def sampled_gradient(rng: np.random.Generator, negatives: int, whole_mixture: bool) -> Tensor:
    """One draw: `negatives` by popularity (as other rows' positives would be) and as many uniform ones."""
    times = np.bincount(rng.choice(N, negatives, p=POPULARITY), minlength=N)
    times += np.bincount(rng.integers(0, N, negatives), minlength=N)
    columns = np.flatnonzero(times)
    expected = negatives * POPULARITY + (negatives / N if whole_mixture else 0)
    scores = SCORES.clone().requires_grad_()
    row = np.arange(B)[:, None]
    known = np.concatenate([HISTORY, TARGETS[:, None]], axis=1)
    hit_row, hit_column = np.nonzero((columns[None, None] == known[:, :, None]).any(1))
    positives = Positives(
        scores[np.arange(B), TARGETS][:, None],
        torch.ones(B, 1, dtype=torch.float64),
        torch.from_numpy((TARGETS[:, None] == HISTORY).any(1, keepdims=True)),
        torch.full((B, 1), -torch.inf, dtype=torch.float64),
    )
    draws = Draws(
        scores[:, columns],
        torch.from_numpy(np.log(times[columns]) - np.log(expected[columns])),
        torch.from_numpy(hit_row * len(columns) + hit_column),
    )
    mixture_softmax(positives, draws, scores[row, HISTORY]).backward()
    assert scores.grad is not None
    return scores.grad


def bias(negatives: int, whole_mixture: bool = True, runs: int = 1500) -> float:
    """Distance of the mean sampled gradient from the full one, as a share of the full one's length."""
    rng = np.random.default_rng(negatives)
    mean = sum(sampled_gradient(rng, negatives, whole_mixture) for _ in range(runs)) / runs
    full = full_gradient()
    return float(torch.linalg.norm(mean - full) / torch.linalg.norm(full))


def test_gradient_bias_falls_as_negatives_grow() -> None:
    few, some, many = bias(4), bias(16), bias(64)
    assert few > some > many
    assert many < 0.03


def test_correcting_by_the_in_batch_sampler_alone_stays_biased() -> None:
    assert bias(64, whole_mixture=False, runs=400) > 0.08


def test_with_every_other_track_drawn_as_often_as_expected_the_loss_is_the_full_softmax() -> None:
    scores = torch.from_numpy(RNG.normal(size=(3, 8)))
    target, history = torch.tensor([[1], [4], [2]]), torch.tensor([[0, 1], [2, 3], [5, 6]])
    known = torch.cat([target, history], dim=1)
    flat = (torch.arange(3)[:, None] * 8 + known).flatten()
    positives = Positives(
        scores.gather(1, target),
        torch.ones(3, 1, dtype=torch.float64),
        (target == history).any(1, keepdim=True),
        torch.full((3, 1), -torch.inf, dtype=torch.float64),
    )
    draws = Draws(scores, torch.zeros(8, dtype=torch.float64), flat)
    loss = mixture_softmax(positives, draws, scores.gather(1, history))
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(scores, target[:, 0]))


def test_a_sibling_positive_that_nobody_else_drew_is_left_out_of_the_estimate() -> None:
    scores = torch.tensor([[1.0, 2.0]])
    alone = Positives(
        scores, torch.ones(1, 2), torch.zeros(1, 2, dtype=torch.bool), torch.full((1, 2), -torch.inf)
    )
    draws = Draws(torch.tensor([[0.5]]), torch.tensor([0.3]), torch.zeros(0, dtype=torch.int64))
    loss = mixture_softmax(alone, draws, torch.full((1, 1), -torch.inf))
    rest = np.exp(0.8)
    wanted = np.mean([np.log(np.exp(s) + rest) - s for s in (1.0, 2.0)])
    np.testing.assert_allclose(loss.item(), wanted, rtol=1e-6)
