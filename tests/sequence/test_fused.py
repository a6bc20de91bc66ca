"""The fused loss is the plain one: same value, same gradients, whatever the chunk; sampled candidates count right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.sequence.fused import ROUND, softmax_loss
from models.sequence.loss import Negatives, Proposal, gbce, sampled_softmax

ITEMS, WIDTH, POSITIONS = 90, 16, 70


def inputs(seed: int, hits: bool) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(POSITIONS, WIDTH, generator=generator)
    vectors = torch.randn(ITEMS, WIDTH, generator=generator)
    offsets = torch.randn(ITEMS, generator=generator) * 3
    target = torch.randint(0, ITEMS, (POSITIONS,), generator=generator)
    hit = target if hits else torch.full_like(target, -1)
    weight = torch.rand(POSITIONS, generator=generator) / POSITIONS
    positive = (states * vectors[target]).sum(1) + offsets[target]
    found = {"states": states, "vectors": vectors, "offsets": offsets, "positive": positive}
    return {**{k: v.requires_grad_() for k, v in detached(found).items()}, "hit": hit, "weight": weight}


def detached(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def plain(x: dict[str, torch.Tensor]) -> torch.Tensor:
    scores = x["states"] @ x["vectors"].T + x["offsets"]
    masked = torch.arange(ITEMS) == x["hit"][:, None]
    losses = sampled_softmax(x["positive"], scores, torch.zeros(1), masked)
    return (losses * x["weight"]).sum()


def gradients(x: dict[str, torch.Tensor], loss: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(3.0 * loss, [x[k] for k in ("states", "vectors", "offsets", "positive")]))


@given(st.integers(0, 999), st.booleans(), st.sampled_from([1, 7, 64, 70, 500]))
@settings(max_examples=20, deadline=None)
def test_the_fused_loss_and_its_gradients_are_the_plain_ones(seed: int, hits: bool, chunk: int) -> None:
    x = inputs(seed, hits)
    fused = softmax_loss(**x, chunk=chunk)
    assert abs(float(fused.detach()) - float(plain(x).detach())) < 1e-5
    for mine, theirs in zip(gradients(x, fused), gradients(x, plain(x)), strict=True):
        assert (mine - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("hits", [True, False])
def test_bfloat16_products_stay_within_two_percent(hits: bool) -> None:
    x = inputs(1, hits)
    fused, exact = softmax_loss(**x, compute=torch.bfloat16), plain(x)
    assert abs(float(fused.detach()) / float(exact.detach()) - 1) < 0.02
    for mine, theirs in zip(gradients(x, fused), gradients(x, exact), strict=True):
        assert (mine - theirs).norm() < 0.02 * theirs.norm()


@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
def test_a_true_item_that_is_the_first_candidate_is_left_out(compute: torch.dtype) -> None:
    x = inputs(5, True)
    x["hit"].zero_()
    fused, exact = softmax_loss(**x, compute=compute), plain(x)
    assert float(fused.detach()) == pytest.approx(
        float(exact.detach()), rel=0.02 if compute == torch.bfloat16 else 1e-5
    )


def test_a_single_candidate_that_is_the_true_item_leaves_nothing_to_learn() -> None:
    one = torch.ones(3, 4, requires_grad=True)
    vector, offset = torch.ones(1, 4, requires_grad=True), torch.zeros(1, requires_grad=True)
    loss = softmax_loss(one, vector, offset, one.sum(1), torch.zeros(3, dtype=torch.int64), torch.ones(3))
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("lead", [4.0, 6.5, 9.0, 14.0])
def test_a_sure_position_still_learns_in_bfloat16(lead: float) -> None:
    x = inputs(3, False)
    with torch.no_grad():
        log_sum = (x["states"] @ x["vectors"].T + x["offsets"]).logsumexp(1)
        x["positive"].copy_(log_sum + lead)
    precise = {k: v.detach().double().requires_grad_() if v.is_floating_point() else v for k, v in x.items()}
    fused, exact = softmax_loss(**x, compute=torch.bfloat16), plain(precise)
    assert abs(float(fused.detach()) / float(exact.detach()) - 1) < 0.03
    for mine, theirs in zip(gradients(x, fused), gradients(precise, exact), strict=True):
        assert 0 < (mine - theirs).norm() < 0.03 * theirs.norm()


@pytest.mark.parametrize("ahead", [0, 1, 2, 50])
def test_one_candidate_far_above_all_others_is_no_trouble(ahead: int) -> None:
    x = inputs(4, True)
    with torch.no_grad():
        x["offsets"][ahead] += 300.0  # the share of every other one is nothing, of the first candidates too
        x["positive"].copy_((x["states"] * x["vectors"][x["hit"]]).sum(1) + x["offsets"][x["hit"]])
    fused, exact = softmax_loss(**x), plain(x)
    assert float(fused.detach()) == pytest.approx(float(exact.detach()), rel=1e-5)
    for mine, theirs in zip(gradients(x, fused), gradients(x, exact), strict=True):
        assert (mine - theirs).abs().max() < 1e-5


def test_offsets_keep_more_than_bfloat16_holds() -> None:
    x = inputs(2, False)
    with torch.no_grad():
        x["states"].zero_()
        x["offsets"].copy_(torch.linspace(100.0, 101.0, ITEMS))
        x["positive"].fill_(100.5)
    # each offset alone would be rounded to a multiple of one half; the sum of both parts is rounded once more
    slopes = torch.autograd.grad(softmax_loss(**x, compute=torch.bfloat16), x["vectors"])[0]
    assert torch.isfinite(slopes).all()
    right, wrong = (v.detach() for v in (x["offsets"], x["offsets"].bfloat16().float()))
    kept = right.bfloat16().float() + (right - right.bfloat16().float()).bfloat16().float()
    assert (kept - right).abs().max() < 0.01 < (wrong - right).abs().max()


def test_repeated_draws_of_a_track_weigh_as_often_as_they_were_drawn() -> None:
    rng = np.random.default_rng(0)
    proposal = Proposal.of(rng.integers(1, 50, 12), 0.5)
    scores = torch.from_numpy(rng.normal(size=12).astype(np.float32))
    drawn = Negatives.draw(proposal, 40, np.random.default_rng(1))
    assert len(drawn.tracks) < 40
    ids = torch.from_numpy(proposal.draw((40,), np.random.default_rng(1)))
    expected = torch.from_numpy(proposal.log_expected(ids.numpy(), 40))
    one_by_one = sampled_softmax(scores[3:4], scores[ids][None], expected, (ids == 3)[None])
    once = sampled_softmax(
        scores[3:4], scores[drawn.tracks][None], drawn.log_expected, (drawn.tracks == 3)[None]
    )
    assert torch.allclose(one_by_one, once, atol=1e-5)


def test_a_hit_is_found_where_it_is() -> None:
    drawn = Negatives(torch.tensor([2, 5, 9]), torch.zeros(3), torch.ones(3, dtype=torch.int64))
    assert drawn.hit(torch.tensor([9, 4, 2, 11, 0])).tolist() == [2, -1, 0, -1, -1]


def test_gbce_with_all_negatives_is_plain_binary_cross_entropy() -> None:
    drawn = Negatives(torch.arange(4), torch.zeros(4), torch.ones(4, dtype=torch.int64))
    positive, negative = torch.tensor([0.3]), torch.tensor([[0.1, 0.3, -2.0, 1.0]])
    loss = gbce(positive, negative, drawn, torch.tensor([1]), t=0.5, items=5)
    expected = -torch.nn.functional.logsigmoid(positive) + sum(
        torch.nn.functional.softplus(negative[:, j]) for j in (0, 2, 3)
    )
    assert torch.allclose(loss, expected)


def test_gbce_gives_the_positive_less_weight_the_fewer_negatives() -> None:
    def slope(draws: int) -> float:
        drawn = Negatives(torch.tensor([3]), torch.zeros(1), torch.tensor([draws]))
        positive = torch.zeros(1, requires_grad=True)
        gbce(positive, torch.zeros(1, 1), drawn, torch.tensor([0]), 0.75, 1001).sum().backward()
        assert positive.grad is not None
        return float(-positive.grad)

    few, many = slope(10), slope(900)
    assert few < many < 0.5


def test_the_scores_of_all_positions_never_exist_together(monkeypatch: Any) -> None:
    seen: list[int] = []
    softmax = torch.softmax
    monkeypatch.setattr(torch, "softmax", lambda x, dim: seen.append(x.numel()) or softmax(x, dim))
    softmax_loss(**inputs(0, True), chunk=16)
    assert max(seen) <= 16 * 2 * ROUND < POSITIONS * ITEMS
    assert len(seen) == -(-POSITIONS // 16)
