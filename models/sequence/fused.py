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
from torch.nn import functional

CELLS = 1 << 21
"""Scores of a chunk, about: 4 MB in bfloat16. Twice as many leave the cache of one core, and take a third longer."""
FEWEST, MOST = 128, 1024
"""Positions of a chunk: below, adding up the gradients of all items costs more than the cache saves."""

ROUND = 64
"""Sizes are multiples of this: the library prepares every new size anew, which costs time and memory."""
TINY = 1e-30
NEVER = -1e30
"""A score without a chance; finite, so that times zero it is zero."""


def softmax_loss(
    states: Tensor,
    vectors: Tensor,
    offsets: Tensor,
    positive: Tensor,
    hit: Tensor,
    weight: Tensor,
    compute: torch.dtype = torch.float32,
    chunk: int | None = None,
) -> Tensor:
    """Sum over positions of weight * -log(exp(s+) / (exp(s+) + sum over j other than hit of exp(<h, v_j> + c_j))).

    Args:
        states: (p, d) h. vectors: (m, d) v, each candidate once. offsets: (m,) c: its bias less the log of its
            expected count. positive: (p,) s+, the scores of the true items. hit: (p,) which candidate is the true item
            (it is not counted twice), -1 where none is. weight: (p,).
        compute: type of the factors of matrix products; losses and gradients are summed in float32.
        chunk: positions at a time, by the number of candidates if not given.

    Gradients flow to states, vectors, offsets and positive.
    """
    loss: Tensor = _SoftmaxLoss.apply(  # type: ignore[no-untyped-call]
        states, vectors, offsets, positive, hit, weight, compute, chunk or _chunk(vectors)
    )
    return loss


class _SoftmaxLoss(torch.autograd.Function):
    """The positive against all others together: sigmoid of s+ less their log-sum, in float32, times their softmax.

    A probability near 1 would be rounded to 1 in bfloat16, and its position would stop to learn; the margin is not.
    Offsets ride along as two more dimensions (what bfloat16 keeps of them, and the rest), so that the matrix product
    adds them and returns their gradient; one more candidate without a chance stands where no true item is among them.
    """

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
        left, right = _widened(states, vectors, offsets, compute)
        rows = torch.arange(min(chunk, p), device=states.device)
        loss, hit = positive.new_zeros(()), torch.where(hit < 0, m, hit)
        to_states, to_positive = torch.empty_like(states), torch.empty_like(positive)
        to_right = torch.zeros(right.shape, device=states.device)
        for at in range(0, p, chunk):
            part = slice(at, min(at + chunk, p))
            count = part.stop - at
            scores = left[at : at + chunk] @ right.T
            scores[rows[:count], hit[part]] = NEVER
            others = torch.softmax(scores, 1)
            lead = positive[part] - _log_sum(scores[:count], others[:count], hit[part])
            loss += (functional.softplus(-lead) * weight[part]).sum()
            unsure = torch.sigmoid(-lead) * weight[part]
            to_positive[part] = -unsure
            to_states[part] = (others @ right)[:count, :d] * unsure[:, None]
            left[at : at + count] *= unsure[:, None]
            to_right += others.T @ left[at : at + chunk]
        ctx.save_for_backward(to_states, to_right[:m, :d], to_right[:m, d], to_positive)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        return (*(saved * gradients[0] for saved in ctx.saved_tensors), None, None, None, None)


def _log_sum(scores: Tensor, others: Tensor, hit: Tensor) -> Tensor:
    """(p,) log-sum-exp of scores (p, m) in float32, from their softmax: any one's score less the log of its share.

    The first one that is not the true item's, which spares two passes over all; where its share comes to nothing, the
    greatest.
    """
    column = (hit == 0).long()[:, None]
    share = others.gather(1, column).float()
    if not scores.is_cuda and share.min() > TINY:  # a GPU would have to wait for the answer
        return (scores.gather(1, column).float() - share.log())[:, 0]
    return scores.amax(1).float() - others.amax(1).float().log()


def _widened(states: Tensor, vectors: Tensor, offsets: Tensor, compute: torch.dtype) -> tuple[Tensor, Tensor]:
    """States (p, d + 8) with ones, and vectors (m + 1, d + 8) with the offsets; rows of zeros and candidates of no
    chance fill up to multiples of ROUND."""
    (p, d), m = states.shape, len(vectors)
    left = torch.zeros(_rounded(p), d + 8, dtype=compute, device=states.device)
    right = left.new_zeros(_rounded(m + 1), d + 8)
    left[:p, :d], left[:p, d : d + 2] = states, 1.0
    kept = offsets.to(compute)
    right[:m, :d], right[:m, d], right[:m, d + 1] = vectors, kept, offsets - kept.to(offsets.dtype)
    right[m:, d] = NEVER
    return left, right


def _chunk(vectors: Tensor) -> int:
    """A power of two, so that sizes stay few where the number of candidates changes from step to step."""
    if vectors.is_cuda:
        return 2 * MOST
    return min(max(1 << (CELLS // max(len(vectors), 1)).bit_length() >> 1, FEWEST), MOST)


def _rounded(size: int) -> int:
    return -(-size // ROUND) * ROUND
