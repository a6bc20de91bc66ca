"""Softmax cross-entropy over many items with its gradients formed in the same pass, a chunk of positions at a time.

The (positions x items) matrix of scores never exists as a whole: a chunk's scores become probabilities, and these the
gradients of states and items, before the next chunk begins (as in cut cross-entropy, Wijmans et al., ICLR 2025).

    positive = (states * vectors[target]).sum(-1) + bias[target]
    loss = softmax_loss(states, vectors, bias, positive, target, weight, torch.bfloat16)

For sampled negatives `vectors` are theirs and `offsets` carry the correction for their log expected count.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK = 2048
"""Positions at a time: with 3,400 items in bfloat16 14 MB, which stays in cache."""


def softmax_loss(
    states: Tensor,
    vectors: Tensor,
    offsets: Tensor,
    positive: Tensor,
    hit: Tensor,
    weight: Tensor,
    compute: torch.dtype = torch.float32,
    chunk: int = CHUNK,
) -> Tensor:
    """Sum over positions of weight * -log(exp(s+) / (exp(s+) + sum over j other than hit of exp(<h, v_j> + c_j))).

    Args:
        states: (p, d) h. vectors: (m, d) v, each candidate once. offsets: (m,) c: its bias less the log of its
            expected count. positive: (p,) s+, the scores of the true items. hit: (p,) which candidate is the true item
            (it is not counted twice), -1 where none is. weight: (p,).
        compute: type of the factors of matrix products; losses and gradients are summed in float32.

    Gradients flow to states, vectors, offsets and positive.
    """
    loss: Tensor = _SoftmaxLoss.apply(  # type: ignore[no-untyped-call]
        states, vectors, offsets, positive, hit, weight, compute, chunk
    )
    return loss


class _SoftmaxLoss(torch.autograd.Function):
    """One more candidate with a zero vector stands for the positive; offsets ride along as two more dimensions (what
    bfloat16 keeps of them, and the rest), so that the matrix product adds them and returns their gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        vectors: Tensor,
        offsets: Tensor,
        positive: Tensor,
        hit: Tensor,
        weight: Tensor,
        compute: torch.dtype,
        chunk: int,
    ) -> Tensor:
        (p, d), m = states.shape, len(vectors)
        left, weighed, right = _widened(states, vectors, offsets, weight, compute)
        rows = torch.arange(min(chunk, p), device=states.device)
        loss = positive.new_zeros(())
        to_states, to_positive = torch.empty_like(states), torch.empty_like(positive)
        to_right = torch.zeros(right.shape, device=states.device)
        for at in range(0, p, chunk):
            part = slice(at, min(at + chunk, p))
            scores = left[part] @ right.T
            scores[rows[: len(scores)], hit[part]] = -torch.inf  # hit -1 is the last column, set next
            scores[:, m] = positive[part].to(compute)
            share = torch.softmax(scores, 1)
            own = share[:, m].float()
            loss -= (own.clamp_min(1e-38).log() * weight[part]).sum()
            to_positive[part] = (own - 1) * weight[part]
            to_states[part] = (share @ right)[:, :d] * weight[part, None]
            to_right += share.T @ weighed[part]
        ctx.save_for_backward(to_states, to_right[:m, :d], to_right[:m, d], to_positive)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        return (*(saved * gradients[0] for saved in ctx.saved_tensors), None, None, None, None)


def _widened(
    states: Tensor, vectors: Tensor, offsets: Tensor, weight: Tensor, compute: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """States (p, d + 8) with ones, the same times their weights, and vectors (m + 1, d + 8) with the offsets."""
    (p, d), m = states.shape, len(vectors)
    left = torch.zeros(p, d + 8, dtype=compute, device=states.device)
    weighed, right = torch.zeros_like(left), left.new_zeros(m + 1, d + 8)
    left[:, :d], left[:, d : d + 2] = states, 1.0
    weighed[:, :d], weighed[:, d] = states * weight[:, None], weight
    kept = offsets.to(compute)
    right[:m, :d], right[:m, d], right[:m, d + 1] = vectors, kept, offsets - kept.to(offsets.dtype)
    return left, weighed, right
