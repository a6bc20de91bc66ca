"""Hard negatives whose distribution is known: drawn for each row from a frozen copy of the model.

q_b = softmax(frozen scores / temperature) over the `hard_top` best tracks of row b that are released and neither in
its history nor among its positives. The copy is taken at stated steps, so q_b depends on the row alone and the
expected count of a track under the whole mixture is known exactly: that of the shared samplers + draws * q_b.
(Hard negatives without their q pull the model towards the sampler: Blanc & Rendle, ICML 2018.)
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.two_tower.config import TwoTowerConfig
from models.two_tower.content import Content
from models.two_tower.model import encode_tracks, history_tensors
from models.two_tower.sampling import Batch
from models.two_tower.towers import Network
from recsys.items import MS_PER_DAY
from recsys.plays import I64


@dataclass(frozen=True)
class HardDraws:
    """What each row drew for itself, and from what."""

    top: Tensor  # (b, K) the tracks that could be drawn
    probability: Tensor  # (b, K) q_b of each; a row of zeros where nothing can be drawn
    track: Tensor  # (b, h) drawn, with replacement
    drawn: Tensor  # (b, h) q_b of each


class Frozen:
    """The model as it was at one step; it proposes and is not trained."""

    def __init__(self, network: Network, content: Content, now_ms: int) -> None:
        """Track ages as of now_ms, UTC."""
        self.user = copy.deepcopy(network.user).eval().requires_grad_(False)
        self.vectors = torch.from_numpy(encode_tracks(network.item, content, now_ms))
        self.release_day = torch.from_numpy(content.release_day)

    def draw(self, batch: Batch, config: TwoTowerConfig, generator: torch.Generator) -> HardDraws:
        """`config.hard_negatives` draws a row."""
        with torch.no_grad():
            scores = self._scores(batch)
            best = scores.topk(min(config.hard_top, scores.shape[1]), dim=1)
            probability = torch.softmax(best.values / config.hard_temperature, dim=1).nan_to_num(0.0)
            # A row whose every track is known draws anything, with q = 0: it gets no weight.
            weights = probability + (probability.sum(1, keepdim=True) == 0)
            place = torch.multinomial(weights, config.hard_negatives, replacement=True, generator=generator)
            return HardDraws(
                best.indices, probability, best.indices.gather(1, place), probability.gather(1, place)
            )

    def _scores(self, batch: Batch) -> Tensor:
        """(b, n) of the tracks that a row does not know; -inf for those it knows and those not released."""
        history = batch.history
        played, pad = torch.from_numpy(np.maximum(history.track, 0)), torch.from_numpy(history.track < 0)
        user, _, _ = self.user(self.vectors, played, pad, *history_tensors(history))
        scores: Tensor = user @ self.vectors.T
        scores[:, self.release_day > batch.now // MS_PER_DAY] = -torch.inf
        known = np.concatenate([history.track, batch.positive], axis=1)
        row, place = np.nonzero(known >= 0)
        scores[torch.from_numpy(row), torch.from_numpy(known[row, place])] = -torch.inf
        return scores


class Hard:
    """Takes the frozen copies of one training run and draws from them."""

    def __init__(self, content: Content, config: TwoTowerConfig) -> None:
        self.content, self.config = content, config
        self.generator = torch.Generator().manual_seed(config.seed + 1)
        self.frozen: Frozen | None = None
        self.taken = 0

    def draw(self, network: Network, batch: Batch, step: int, done: float) -> HardDraws | None:
        """Hard negatives of a batch; None before `hard_from` of the run is done, or where none are wanted."""
        if not self.config.hard_negatives or done < self.config.hard_from:
            return None
        if self.frozen is None or step - self.taken >= self.config.hard_refresh:
            self.frozen, self.taken = Frozen(network, self.content, batch.now), step
        return self.frozen.draw(batch, self.config, self.generator)


def log_weights(draws: HardDraws, expected: Tensor) -> Tensor:
    """(b, h) minus the log of each draw's expected count under the whole mixture; `expected` (n,) of the shared one."""
    times = draws.track.shape[1]
    weight = -torch.log(expected[draws.track] + times * draws.drawn)
    return weight.masked_fill(draws.drawn == 0, -torch.inf).float()


def corrections(draws: HardDraws, expected: Tensor, columns: I64) -> tuple[Tensor, Tensor]:
    """What the shared draws' log weights lose where a row might have drawn the track itself: flat positions in
    (b, len(columns)), and the amounts."""
    column = torch.full((len(expected),), -1, dtype=torch.int64)
    column[torch.from_numpy(columns)] = torch.arange(len(columns))
    row, place = torch.nonzero((column[draws.top] >= 0) & (draws.probability > 0), as_tuple=True)
    track = draws.top[row, place]
    own = draws.track.shape[1] * draws.probability[row, place]
    amount = torch.log(expected[track]) - torch.log(expected[track] + own)
    return row * len(columns) + column[track], amount.float()
