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
