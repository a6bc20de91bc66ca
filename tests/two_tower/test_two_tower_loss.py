"""The mixture correction: sampled gradients against those of the full softmax on a small catalog."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from models.two_tower.hard import HardDraws, corrections, log_weights
from models.two_tower.loss import Draws, OwnDraws, Positives, mixture_softmax

N, B, RUNS = 40, 12, 800
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


def sampled_gradient(rng: np.random.Generator, counts: tuple[int, int, int], corrected: str) -> Tensor:
    """Mean over RUNS draws of the gradient; `counts` by popularity (as other rows' positives would be), uniformly and
    from each row's own frozen copy. `corrected` names the samplers whose expected counts are known to the loss."""
    in_batch, uniform, hard = counts
    times = rng.multinomial(in_batch, POPULARITY, (RUNS, B)) + rng.multinomial(
        uniform, [1 / N] * N, (RUNS, B)
    )
    expected = torch.from_numpy(in_batch * POPULARITY + (uniform / N if corrected != "in_batch" else 0))
    scores = SCORES.repeat(RUNS, 1).requires_grad_()
    own = hard_draws(rng, hard)
    place, amount = corrections(own, expected, np.arange(N))
    weight = log_weights(own, expected)
    if corrected != "whole":
        place, amount, weight = place[:0], amount[:0], -torch.log(expected[own.track])
    row = torch.arange(RUNS * B)[:, None]
    known = torch.from_numpy(np.concatenate([HISTORY, TARGETS[:, None]], axis=1)).repeat(RUNS, 1)
    target = torch.from_numpy(TARGETS)[:, None].repeat(RUNS, 1)
    history = torch.from_numpy(HISTORY).repeat(RUNS, 1)
    positives = Positives(
        scores.gather(1, target),
        torch.ones(RUNS * B, 1, dtype=torch.float64),
        (target == history).any(1, keepdim=True),
        torch.full((RUNS * B, 1), -torch.inf, dtype=torch.float64),
    )
    with np.errstate(divide="ignore"):
        log_times = torch.from_numpy(np.log(times.reshape(-1, N)))
    draws = Draws(scores, log_times - expected.log(), (row * N + known).flatten())
    hard_part = OwnDraws(scores.gather(1, own.track), weight.double(), place, amount.double())
    mixture_softmax(positives, draws, scores.gather(1, history), hard_part).backward()
    assert scores.grad is not None
    return scores.grad.view(RUNS, B, N).sum(0)


def hard_draws(rng: np.random.Generator, draws: int) -> HardDraws:
    """Of a frozen copy that scores nearly as SCORES do: softmax over its ten best tracks that a row does not know."""
    frozen = SCORES + torch.from_numpy(np.random.default_rng(7).normal(0, 0.5, (B, N)))
    known = np.concatenate([HISTORY, TARGETS[:, None]], axis=1)
    frozen = frozen.scatter(1, torch.from_numpy(known), -torch.inf)
    best = frozen.topk(10, dim=1)
    top = best.indices.repeat(RUNS, 1)
    probability = torch.softmax(best.values / 2.0, dim=1).repeat(RUNS, 1)
    at = torch.searchsorted(probability.cumsum(1), torch.from_numpy(rng.random((RUNS * B, draws)))).clamp(
        max=9
    )
    return HardDraws(top, probability, top.gather(1, at), probability.gather(1, at))


def bias(negatives: int, ratio: tuple[int, int, int], corrected: str) -> float:
    """Distance of the mean sampled gradient from the full one, as a share of the full one's length."""
    counts = (negatives * ratio[0], negatives * ratio[1], negatives * ratio[2])
    mean = sampled_gradient(np.random.default_rng(negatives), counts, corrected)
    full = full_gradient()
    return float(torch.linalg.norm(mean - full) / torch.linalg.norm(full))


def falls(ratio: tuple[int, int, int], corrected: str) -> bool:
    """Whether the bias falls as negatives grow: with sixteen times as many, to a fifth of it or less."""
    few, some, many = (bias(n, ratio, corrected) for n in (2, 8, 32))
    return few > some > many and many < few / 5


@pytest.mark.parametrize("ratio", [(1, 1, 0), (2, 1, 1), (1, 2, 1), (1, 1, 2)])
def test_gradient_bias_falls_as_negatives_grow_whatever_the_mixture(ratio: tuple[int, int, int]) -> None:
    assert falls(ratio, "whole")


@pytest.mark.parametrize("ratio", [(1, 1, 0), (2, 1, 1), (1, 2, 1), (1, 1, 2)])
def test_correcting_by_the_in_batch_sampler_alone_stays_biased(ratio: tuple[int, int, int]) -> None:
    assert not falls(ratio, "in_batch")
    assert bias(32, ratio, "in_batch") > 0.08


@pytest.mark.parametrize("ratio", [(2, 1, 1), (1, 1, 2)])
def test_leaving_the_hard_draws_out_of_the_expected_count_stays_biased(ratio: tuple[int, int, int]) -> None:
    assert not falls(ratio, "in_batch and uniform")


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
