"""Softmax over the catalog, estimated from what is known for certain and from draws of a mixture of samplers.

For a listener b and a positive p the normaliser is split in three, and each part is estimated without bias:

  Z = sum over b's own history of exp(s)                  known: counted once, exactly
    + exp(s_p) if p is not in the history                 known: counted once, exactly
    + sum over draws j of exp(s_j) / E_bj                 the rest: drawn from the mixture

E_bj is the expected count of track j under the whole mixture: in-batch draws (the positives of the other rows),
uniform draws, and the row's own hard draws (Bengio & Senecal 2008; for one sampler, Yi et al. 2019). A draw that
hits b's history or p is an accidental hit: that track is already in Z with certainty, so the draw is left out. The
positive's own logit gets no correction, as its expected count is 1 (Khrylchenko et al. 2025 show the bias of
correcting it). A row's own positives among the in-batch draws are not draws for that row: their multiplicity and
their expected count are reduced.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Draws:
    """c distinct tracks drawn from the mixture, shared by all rows."""

    logits: Tensor  # (b, c) of every row with every drawn track
    log_weight: Tensor  # (c,) log(times drawn) - log(expected count)
    known: Tensor  # (h,) flat positions b * c + column whose track is in the row's history or its positives


@dataclass(frozen=True)
class Positives:
    """Up to k positives a row; rows with fewer are padded with weight 0."""

    logits: Tensor  # (b, k)
    weight: Tensor  # (b, k) of each in the loss; 0 pads
    in_history: Tensor  # (b, k) bool
    log_weight: (
        Tensor  # (b, k) log(times drawn by other rows) - log(expected count without this row); -inf: none
    )


@dataclass(frozen=True)
class OwnDraws:
    """Draws of a sampler of each row's own (hard negatives), which never draws a track that the row knows."""

    logits: Tensor  # (b, h)
    log_weight: Tensor  # (b, h) -log(expected count under the whole mixture); -inf: no draw
    place: Tensor  # (m,) flat positions in the shared draws of tracks that the row's sampler might have drawn
    correction: Tensor  # (m,) log(expected count without that sampler) - log(expected count with it)


def mixture_softmax(
    positives: Positives, draws: Draws, history: Tensor, own_draws: OwnDraws | None = None
) -> Tensor:
    """Mean weighted negative log likelihood; history (b, L) logits of the row's own tracks, -inf pads.

    A positive that other rows drew too stands in the normaliser of this row's other positives, as a draw.
    """
    rest = (draws.logits + draws.log_weight).flatten()
    parts = [history]
    if own_draws is not None:
        rest = rest.index_add(0, own_draws.place, own_draws.correction)
        parts.append(own_draws.logits + own_draws.log_weight)
    rest = rest.index_fill(0, draws.known, -torch.inf).view_as(draws.logits)
    certain = torch.cat([rest, *parts], dim=1).logsumexp(dim=1, keepdim=True)  # (b, 1)
    own = positives.logits.masked_fill(positives.in_history, -torch.inf)  # (b, k)
    k = own.shape[1]
    siblings = (own + positives.log_weight)[:, None, :].expand(-1, k, -1)
    itself = torch.eye(k, dtype=torch.bool, device=own.device)
    terms = torch.where(itself, own[:, None, :], siblings)  # (b, k, k)
    normaliser = torch.cat([certain[:, None].expand(-1, k, 1), terms], dim=2).logsumexp(dim=2)
    losses = (normaliser - positives.logits) * positives.weight
    return losses.sum() / positives.weight.sum().clamp(min=1e-12)
