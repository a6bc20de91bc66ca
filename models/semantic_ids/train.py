"""Makes semantic ids for a catalog and trains the decoder over them on the plays before a time.

model = train(dataset, dataset.split.valid, SemanticConfig())
model = train(dataset, dataset.split.valid, SemanticConfig(), collaborative=two_tower.item_vectors)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from models.semantic_ids import checkpoint
from models.semantic_ids.codes import Codebooks
from models.semantic_ids.config import SemanticConfig
from models.semantic_ids.examples import Examples, Step
from models.semantic_ids.ids import Ids, expected_plays
from models.semantic_ids.model import SemanticIds
from models.semantic_ids.network import Network
from models.semantic_ids.trie import Trie
from models.semantic_ids.vectors import F32, Space
from recsys.dataset import Dataset
from recsys.errors import NotReady
from recsys.play_vectors import spectral

_LOG_EVERY = 20
_WARM_UP = 0.05


def train(
    dataset: Dataset,
    until_ms: int,
    config: SemanticConfig,
    collaborative: F32 | None = None,
    log: Callable[[int, dict[str, float]], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    checkpoint_dir: Path | None = None,
) -> SemanticIds:
    """A model of the plays that started before `until_ms` (UTC); the same for the same seed and thread count, also
    when training was interrupted and goes on from `checkpoint_dir`.

    Args:
        collaborative: (n, d) vectors of the tracks from plays before `until_ms`; without them the spectrum of the play
            matrix is taken. Those of tracks without plays are not read.
        log: gets (step, {"loss", "learning_rate"}) now and then.
        progress: gets (steps done, all steps).

    Raises:
        NotReady: no play of a known track before `until_ms`.
        BadInput: more tracks than the levels and siblings have codes for; a checkpoint of another run.
    """
    items, plays = dataset.items, dataset.plays.before(until_ms)
    plays = plays.where(plays.track >= 0)
    if not plays.rows:
        raise NotReady("no plays of known tracks before the cut: simulate or import a longer log first")
    counts = np.bincount(plays.track, minlength=len(items))
    if collaborative is None:
        collaborative = spectral(plays, len(items), config.factors, config.seed)
    space = Space.fit(items, collaborative, counts, config)
    vectors = space.vectors(items)
    books = Codebooks.fit(vectors, config.levels, config.seed, config.balance_rounds)
    ids = Ids.of(items, vectors, counts, books, config.siblings)
    if config.shuffled:
        ids = ids.shuffled(config.seed)
    weight = expected_plays(items, counts, config.popularity_power)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = Network(books.sizes, space.dim, config)
    _fit(
        network,
        Targets.of(ids, books, vectors, weight),
        Examples(plays, config),
        config,
        log,
        progress,
        checkpoint_dir,
    )
    return SemanticIds(network, space, books, ids, config, items)


@dataclass(frozen=True)
class Targets:
    """The catalog as the loss reads it."""

    codes: Tensor  # (n, levels + 1)
    vectors: Tensor  # (n, dim)
    node: Tensor  # (n, levels + 1) of each track at each depth
    prior: list[Tensor]  # (nodes, size) log plays below each child; -inf where there is none
    beside: Tensor  # (n, siblings) tracks of the same cell; -1 pads
    log_plays: Tensor  # (n,)

    @classmethod
    def of(cls, ids: Ids, books: Codebooks, vectors: F32, weight: F32) -> Targets:
        """`ids` in the order of the catalog's tracks."""
        trie = Trie.of(ids.codes, books.sizes)
        prior = []
        for depth, mass in zip(trie.depths[:-1], trie.masses(weight)[1:], strict=True):
            log = np.where(depth.child >= 0, np.log(mass)[depth.child], -np.inf)
            prior.append(torch.from_numpy(log.astype(np.float32)))
        cells = trie.node[:, -1]
        beside = np.full((len(trie.depths[-1].prefix), int(ids.codes[:, -1].max()) + 1), -1, np.int64)
        beside[cells, ids.codes[:, -1]] = np.arange(len(cells))
        return cls(
            torch.from_numpy(ids.codes),
            torch.from_numpy(vectors),
            torch.from_numpy(trie.node.astype(np.int64)),
            prior,
            torch.from_numpy(beside[cells]),
            torch.from_numpy(np.log(weight)),
        )


def _fit(
    network: Network,
    targets: Targets,
    examples: Examples,
    config: SemanticConfig,
    log: Callable[[int, dict[str, float]], None] | None,
    progress: Callable[[int, int], None] | None,
    checkpoint_dir: Path | None,
) -> None:
    steps = examples.steps() * config.epochs
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98)
    )
    begin = checkpoint.restore(checkpoint_dir, config, network, optimizer)
    for step in range(begin, steps):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _schedule(step, steps)
        loss = loss_of(network, targets, examples.draw(step))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if checkpoint_dir is not None and (step + 1) % config.checkpoint_steps == 0:
            checkpoint.store(checkpoint_dir, config, step + 1, network, optimizer)
        if log and step % _LOG_EVERY == 0:
            log(step, {"loss": loss.item(), "learning_rate": float(optimizer.param_groups[0]["lr"])})
        if progress:
            progress(step + 1, steps)


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up, then a half cosine down to 2%."""
    return min(1.0, (step + 1) / (_WARM_UP * steps + 1)) * (0.51 + 0.49 * math.cos(math.pi * step / steps))


def loss_of(network: Network, targets: Targets, step: Step) -> Tensor:
    """Mean of -log P(track): cross-entropy level by level given the right prefix, then among the tracks of a cell."""
    states = network.states(step.windows, targets.codes, targets.vectors)
    states = states[torch.from_numpy(step.row), torch.from_numpy(step.slot)]
    state = network.listen(states, step.moments)
    track = torch.from_numpy(step.target)
    code, node = targets.codes[track], targets.node[track]
    prefix = torch.zeros_like(state)
    total = torch.zeros(())
    for level, head in enumerate(network.heads):
        odds = head(state, prefix) + targets.prior[level][node[:, level]]
        total = total + cross_entropy(odds, code[:, level])
        prefix = prefix + network.write[level](code[:, level])
    beside = targets.beside[track]
    asked = network.ask(state + prefix)
    key = network.key(targets.vectors[beside.clamp(min=0)])
    odds = (key @ asked[:, :, None])[:, :, 0] + targets.log_plays[beside.clamp(min=0)]
    return total + cross_entropy(odds.masked_fill(beside < 0, -torch.inf), code[:, -1])
