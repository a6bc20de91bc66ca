"""Trains the transformer on plain id sequences, with the product's blocks, loss and optimiser.

model = train_ids(sequences, items=3416, config=IdConfig(embedding_dim=128), folder=Path("run"))
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.sequence.checkpoint import Checkpoint, restore, settled, store
from models.sequence.fused import softmax_loss
from models.sequence.idbatches import IdBatch, id_batch, row_plans
from models.sequence.idmodel import IdModel
from models.sequence.idnetwork import IdConfig, IdNetwork
from models.sequence.loss import Negatives, Proposal, gbce
from models.sequence.optimize import Average, adamw, cosine, parameter_groups, update
from models.sequence.precision import compute_type
from models.sequence.prefetch import ahead
from models.sequence.threads import own_torch
from recsys.errors import NotReady
from recsys.evaluation.ragged import Ragged


@dataclass(frozen=True)
class Epoch:
    """What a pass over the data came to."""

    number: int  # from 1
    cpu_s: float  # of training so far, all passes, without what `after_epoch` does
    loss: float
    predictions: int  # of this pass


AfterEpoch = Callable[[Epoch, IdModel], None]


def train_ids(
    sequences: Ragged,
    items: int,
    config: IdConfig,
    after_epoch: AfterEpoch | None = None,
    folder: Path | None = None,
) -> IdModel:
    """Trains on sequences of ids below `items`, oldest first.

    The result depends on data and config alone (seed, thread count and precision among them), also when training was
    interrupted and goes on from `folder`, where the state is kept after each pass, in the precision it began with.

    Args:
        after_epoch: called after each pass with the model of that moment (its averaged weights if config.average),
            and once more for the same pass where training was interrupted before the pass was kept.

    Raises:
        NotReady: no sequence has two ids.
        BadInput: `folder` holds a run with other settings.
    """
    if not (sequences.counts >= 2).any():
        raise NotReady("no sequence has two items: there is nothing to predict")
    config = settled(config, folder)
    with own_torch(config.num_threads):
        run = Run.of(sequences, items, config)
        if folder is not None:
            run.resume(folder)
        while run.epoch < config.epochs:
            found = run.one_pass()
            if after_epoch is not None:
                after_epoch(found, run.model())
            if folder is not None:
                run.save(folder)
    return run.model()


@dataclass
class Run:
    """The state of one training run."""

    sequences: Ragged
    config: IdConfig
    network: IdNetwork
    optimizer: torch.optim.Optimizer
    average: Average | None
    proposal: Proposal
    epoch: int = 0
    step: int = 0
    cpu_s: float = 0.0

    @classmethod
    def of(cls, sequences: Ragged, items: int, config: IdConfig) -> Run:
        torch.manual_seed(config.seed)
        network = IdNetwork(items, config)
        optimizer = adamw(parameter_groups(network, config.weight_decay), config.learning_rate)
        counts = np.bincount(sequences.tracks, minlength=items).astype(np.int64)
        average = Average.of(network, config.average) if config.average else None
        return cls(sequences, config, network, optimizer, average, Proposal.of(counts, config.uniform_share))

    def one_pass(self) -> Epoch:
        began, total, count = process_time(), torch.zeros(()), 0
        self.network.train()
        turn, part = divmod(self.epoch, self.config.parts)
        rng = np.random.default_rng([self.config.seed, 1, turn])
        plans = row_plans(self.sequences.offsets, self.config, rng)[part :: self.config.parts]
        made = (id_batch(self.sequences, self.network.size, plan, self.config) for plan in plans)
        with closing(ahead(made)) as batches:
            for at, batch in enumerate(batches):
                loss = self.advance(batch, (self.epoch + at / len(plans)) / self.config.epochs)
                total += loss * len(batch.target)
                count += len(batch.target)
        self.epoch += 1
        self.cpu_s += process_time() - began
        return Epoch(self.epoch, self.cpu_s, float(total) / max(count, 1), count)

    def advance(self, batch: IdBatch, done: float) -> Tensor:
        """The mean loss of a batch, after which the weights have moved."""
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)  # so that a resumed run repeats this one
        config = self.config
        states = self.network(batch.ids, batch.layout).flatten(0, 1)[batch.place]
        loss = self._loss(states, batch.target)
        rate = config.learning_rate * cosine(done, config.warm_up, config.last_rate)
        update(self.optimizer, self.network, loss, rate)
        self.step += 1
        if self.average is not None:
            self.average.add(self.network, self.step)
        return loss.detach()

    def _loss(self, states: Tensor, target: Tensor) -> Tensor:
        config, vectors, bias = self.config, self.network.vectors, self.network.bias
        positive = (states * functional.embedding(target, vectors)).sum(-1) + bias[target]
        weight = torch.full((len(target),), 1.0 / len(target))
        if not config.num_negatives:
            loss = softmax_loss(
                states, vectors, bias, positive, target, weight, compute_type(config.precision)
            )
        else:
            rng = np.random.default_rng([config.seed, 2, self.step])
            drawn = Negatives.draw(self.proposal, config.num_negatives, rng)
            loss = self._sampled(states, positive, target, drawn, weight)
        if config.label_smoothing:  # the smoothed part: how far the true item stands above the mean of all
            mean = (states * vectors.mean(0)).sum(-1) + bias.mean()
            loss = loss + config.label_smoothing * ((positive - mean) * weight).sum()
        return loss

    def _sampled(
        self, states: Tensor, positive: Tensor, target: Tensor, drawn: Negatives, weight: Tensor
    ) -> Tensor:
        vectors = functional.embedding(drawn.tracks, self.network.vectors)
        bias = self.network.bias[drawn.tracks]
        if self.config.loss == "gbce":
            negative = states @ vectors.T + bias
            losses = gbce(positive, negative, drawn, target, self.config.gbce_t, self.network.size)
            return (losses * weight).sum()
        offsets = bias - drawn.log_expected
        return softmax_loss(
            states,
            vectors,
            offsets,
            positive,
            drawn.hit(target),
            weight,
            compute_type(self.config.precision),
        )

    def model(self) -> IdModel:
        """The model of this moment, on weights of its own."""
        network = copy.deepcopy(self.network)
        if self.average is not None:
            network.load_state_dict(self.average.weights)
        return IdModel(network.eval())

    def save(self, folder: Path) -> None:
        average = self.average.weights if self.average is not None else {}
        state = Checkpoint(
            self.step, self.cpu_s, self.network.state_dict(), self.optimizer.state_dict(), average, self.epoch
        )
        store(folder, self.config, state)

    def resume(self, folder: Path) -> None:
        found = restore(folder, self.config)
        if found is None:
            return
        self.network.load_state_dict(found.network)
        self.optimizer.load_state_dict(found.optimizer)
        if self.average is not None:
            self.average.weights = found.average
        self.step, self.cpu_s, self.epoch = found.step, found.seconds, found.epoch
