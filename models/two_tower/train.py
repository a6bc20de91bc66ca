"""Trains the two-tower model on the plays before a time.

model = train(dataset, dataset.split.valid, TwoTowerConfig(epochs=4))
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from models.two_tower import incremental, warm
from models.two_tower.config import TwoTowerConfig
from models.two_tower.content import Content, FirstPlays, Vocabulary
from models.two_tower.hard import Hard, HardDraws, corrections, log_weights
from models.two_tower.history import trace
from models.two_tower.incremental import Moments
from models.two_tower.loss import Draws, OwnDraws, Positives, mixture_softmax
from models.two_tower.model import Ancestor, TwoTower, history_tensors
from models.two_tower.sampling import Batch, Sampler
from models.two_tower.towers import Network
from recsys.dataset import Dataset
from recsys.errors import NotReady
from recsys.items import MS_PER_DAY
from recsys.plays import I64

_LOG_EVERY = 20


def train(
    dataset: Dataset,
    until_ms: int,
    config: TwoTowerConfig,
    log: Callable[[int, dict[str, float]], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    start: TwoTower | None = None,
    release: str = "",
    keep: Moments | None = None,
) -> TwoTower:
    """A model of the plays that started before `until_ms` (UTC); the same for the same seed and thread count.

    With `start`, its weights are trained on with the sessions since then and `config.replay` older ones for each
    (incremental training); tracks, artists and listeners that are new since enter. `release` is its version, for the
    record of where the weights come from.

    `log` gets (step, {"loss", "learning_rate", "seconds"}) now and then, `progress` (steps done, all steps). `keep`
    is the optimizer's state: what it holds is gone on with, and afterwards it holds the new one.
    With `budget_s` the number of steps depends on the machine, and so does the model.

    Raises:
        NotReady: no play of a known track before `until_ms`, or none since `start` was trained.
        BadInput: `start` has another shape than `config` asks for.
    """
    plays = dataset.plays.before(until_ms)
    played = np.bincount(plays.track[plays.track >= 0], minlength=len(dataset.items))
    if not played.any():
        raise NotReady("no plays of known tracks before the cut: simulate or import a longer log first")
    if start is not None and not (plays.start >= start.until_ms).any():
        raise NotReady("no plays since the model to start from was trained: it is as new as the log")
    vocabulary = Vocabulary.of(dataset.items, played, config.min_plays)
    if start is not None:
        vocabulary = incremental.joined(start.vocabulary, vocabulary)
    content = Content.of(dataset.items, vocabulary)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        if start is None:
            network = Network(vocabulary.sizes, len(dataset.items.countries), config)
            warm.start(network.item, plays, content, config.seed)
        else:
            network = incremental.grown(start, vocabulary, config, len(dataset.items.countries))
    since = None if start is None else start.until_ms
    sampler = Sampler(plays, trace(plays), dataset.country, dataset.items, config, since)
    _fit(network, sampler, content, config if start is None else _shorter(config), log, progress, keep)
    lineage = () if start is None else (*start.lineage, Ancestor(release, start.until_ms))
    return TwoTower(network.eval(), vocabulary, config, dataset.items, until_ms, lineage)


def _shorter(config: TwoTowerConfig) -> TwoTowerConfig:
    """The schedule of an incremental run."""
    changes = {"epochs": config.incremental_epochs, "learning_rate": config.incremental_learning_rate}
    return config.model_copy(update=changes)


def _fit(
    network: Network,
    sampler: Sampler,
    content: Content,
    config: TwoTowerConfig,
    log: Callable[[int, dict[str, float]], None] | None,
    progress: Callable[[int, int], None] | None,
    keep: Moments | None,
) -> None:
    steps = sampler.steps() * config.epochs
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98)
    )
    if keep:
        incremental.restore(network, optimizer, keep)
    dropout = torch.Generator().manual_seed(config.seed)
    negatives = Hard(content, config)
    first = FirstPlays.of(sampler.plays, sampler.items)
    began = time.monotonic()
    for step, batch in enumerate(_batches(sampler, config.epochs)):
        seconds = time.monotonic() - began
        done = step / steps if config.budget_s is None else max(step / steps, seconds / config.budget_s)
        if done >= 1 and config.budget_s is not None:
            break
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _schedule(step, done)
        hard = negatives.draw(network, batch, step, done)
        loss = _loss(network, batch, content, first, config, dropout, hard)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if log and step % _LOG_EVERY == 0:
            rate = float(optimizer.param_groups[0]["lr"])
            log(step, {"loss": loss.item(), "learning_rate": rate, "seconds": seconds})
        if progress:
            progress(min(step + 1, steps), steps)
    if keep is not None:
        keep.clear()
        keep.update(incremental.moments(network, optimizer))


def _batches(sampler: Sampler, epochs: int) -> Iterator[Batch]:
    for epoch in range(epochs):
        yield from sampler.epoch(epoch)


def _schedule(step: int, done: float) -> float:
    """Linear warm-up, then a half cosine down to 2%."""
    return min(1.0, (step + 1) / 30) * (0.51 + 0.49 * math.cos(math.pi * min(done, 1.0)))


def _loss(
    network: Network,
    batch: Batch,
    content: Content,
    first: FirstPlays,
    config: TwoTowerConfig,
    dropout: torch.Generator,
    hard: HardDraws | None = None,
) -> Tensor:
    history = batch.history
    drawn = [] if hard is None else [hard.track.numpy().ravel()]
    needed = np.unique(np.concatenate([[0], history.track.ravel(), batch.columns, *drawn]))
    needed = needed[needed >= 0]
    vectors = _item_vectors(network, content, needed, batch.now, first, config, dropout)
    played = torch.from_numpy(np.searchsorted(needed, np.maximum(history.track, 0)))
    pad = torch.from_numpy(history.track < 0)
    user, known, _ = network.user(vectors, played, pad, *history_tensors(history))
    columns = vectors[torch.from_numpy(np.searchsorted(needed, batch.columns))]
    positive = torch.from_numpy(np.searchsorted(needed, np.maximum(batch.positive, 0)))
    place = torch.from_numpy(batch.positive_place)
    plain = (user[:, None] @ torch.nn.functional.embedding(positive, vectors).transpose(1, 2))[:, 0]
    logits = torch.where(place >= 0, known.gather(1, place.clamp(min=0)), plain)
    return mixture_softmax(
        Positives(
            logits,
            torch.from_numpy(batch.weight),
            place >= 0,
            torch.from_numpy(batch.positive_log_weight),
        ),
        Draws(user @ columns.T, torch.from_numpy(batch.log_weight), torch.from_numpy(batch.known)),
        known.masked_fill(pad, -torch.inf),
        None if hard is None else _own_draws(hard, batch, user, vectors, needed),
    )


def _own_draws(hard: HardDraws, batch: Batch, user: Tensor, vectors: Tensor, needed: I64) -> OwnDraws:
    expected = torch.from_numpy(batch.expected)
    place = torch.from_numpy(np.searchsorted(needed, hard.track.numpy()))
    logits = (user[:, None] @ torch.nn.functional.embedding(place, vectors).transpose(1, 2))[:, 0]
    return OwnDraws(logits, log_weights(hard, expected), *corrections(hard, expected, batch.columns))


def _item_vectors(
    network: Network,
    content: Content,
    tracks: I64,
    now: int,
    first: FirstPlays,
    config: TwoTowerConfig,
    dropout: torch.Generator,
) -> Tensor:
    """(m, d) vectors of some tracks as of `now`; a random share of them, and those not heard before, from content."""
    rows = torch.from_numpy(content.rows[tracks])
    chance = torch.rand(3, len(tracks), generator=dropout)
    dropped = chance[0] < config.id_dropout
    without = {0: dropped, 1: dropped & (chance[1] < config.artist_dropout)}
    without[2] = dropped & (chance[2] < config.album_dropout)
    if config.newborn:
        today = now // MS_PER_DAY
        without[0] |= torch.from_numpy(first.track[tracks] >= today)
        without[2] |= torch.from_numpy(first.album[tracks] >= today)
    for column, mask in without.items():
        rows[:, column] = rows[:, column].masked_fill(mask, 0)
    age = torch.from_numpy(content.age_bucket(tracks, now))
    vectors: Tensor = network.item(rows, torch.from_numpy(content.audio[tracks]), age)
    return vectors
