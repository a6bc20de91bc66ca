"""Sampled softmax over a stated proposal, corrected by log expected counts.

The partition function is estimated by importance sampling (Bengio & Senecal, 2003; Yi et al., RecSys 2019): a
negative drawn with expected count c enters as exp(score - log c). The positive enters once and exactly; a
negative that equals the positive (an accidental hit) is masked, so that it is not counted twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from recsys.plays import I64


@dataclass(frozen=True)
class Proposal:
    """q(i) = uniform_share / n + (1 - uniform_share) * count_i / total, over tracks played in the log.

    Tracks never played are never negatives: training says nothing about them, their content does.
    """

    probability: NDArray[np.float64]  # (n,) sums to 1
    cumulative: NDArray[np.float64]

    @classmethod
    def of(cls, counts: I64, uniform_share: float) -> Proposal:
        played = counts > 0
        q = uniform_share * played / played.sum() + (1 - uniform_share) * counts / counts.sum()
        return cls(q, np.cumsum(q))

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> I64:
        """Track numbers, independent draws."""
        ids = np.searchsorted(self.cumulative, rng.random(shape) * self.cumulative[-1], side="right")
        drawn: I64 = np.minimum(ids, len(self.probability) - 1)
        return drawn

    def log_expected(self, tracks: I64, draws: int) -> NDArray[np.float32]:
        """Log expected count of each track in `draws` draws."""
        return np.log(np.maximum(draws * self.probability[tracks], 1e-30)).astype(np.float32)


def sampled_softmax(positive: Tensor, negative: Tensor, log_expected: Tensor, masked: Tensor) -> Tensor:
    """(p,) negative log likelihood.

    Args:
        positive: (p,) scores of the true next tracks.
        negative: (p, m) scores of the candidates.
        log_expected: broadcastable to (p, m); 0 for a candidate that is always among them.
        masked: (p, m) accidental hits, duplicates and padding.
    """
    corrected = (negative - log_expected).masked_fill(masked, -torch.inf)
    everything = torch.cat([positive[:, None], corrected], dim=1)
    return torch.logsumexp(everything, dim=1) - positive


@dataclass(frozen=True)
class Negatives:
    """Sampled candidates shared by the positions of a step, each once, by ascending number.

    One drawn k times with expected count c stands for k / c of its weight: its log expected count is log(c / k).
    """

    tracks: Tensor  # (m,)
    log_expected: Tensor  # (m,)
    times: Tensor  # (m,) how often each was drawn

    @classmethod
    def draw(cls, proposal: Proposal, count: int, rng: np.random.Generator) -> Negatives:
        tracks, times = np.unique(proposal.draw((count,), rng), return_counts=True)
        expected = proposal.log_expected(tracks, count) - np.log(times).astype(np.float32)
        return cls(*(torch.from_numpy(a) for a in (tracks, expected.astype(np.float32), times)))

    @classmethod
    def every(cls, proposal: Proposal) -> Negatives:
        """All played tracks: the exact softmax."""
        tracks = torch.from_numpy(np.flatnonzero(proposal.probability))
        return cls(tracks, torch.zeros(len(tracks)), torch.ones(len(tracks), dtype=torch.int64))

    def hit(self, target: Tensor) -> Tensor:
        """(p,) which candidate is each target, -1 where none is."""
        place = torch.searchsorted(self.tracks, target).clamp_max(len(self.tracks) - 1)
        return torch.where(self.tracks[place] == target, place, -1)


def gbce(
    positive: Tensor, negative: Tensor, drawn: Negatives, target: Tensor, t: float, items: int
) -> Tensor:
    """(p,) generalised binary cross-entropy of scores (p,) and (p, m) (gSASRec, Petrov & Macdonald, RecSys 2023): the
    positive's sigmoid to the power beta undoes the over-confidence of few negatives; t = 0 is plain BCE."""
    k = float(drawn.times.sum())
    alpha = min(1.0, k / (items - 1))
    beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
    others = functional.softplus(negative) * drawn.times
    others = others.masked_fill(drawn.tracks == target[:, None], 0.0)
    return beta * functional.softplus(-positive) + others.sum(1)
