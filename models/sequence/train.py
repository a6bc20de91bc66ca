"""Trains the sequence model in two stages: the network on the past, then all of it on the newest days.

model = train(dataset, dataset.split.valid, SequenceConfig(epochs=2))
Stage 1 (pre-training): next-track prediction at every position of windows over the log, sampled softmax.
Stage 2 (mixing): the newest plays, with hard candidates and direct evidence counted before them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import monotonic

import numpy as np
import torch
from torch import Tensor

from models.sequence.checkpoint import Checkpoint, restore, settled, store
from models.sequence.config import SequenceConfig
from models.sequence.cooccurrence import count_successors
from models.sequence.evidence import EvidenceModel
from models.sequence.fused import softmax_loss
from models.sequence.loss import Negatives, Proposal, sampled_softmax
from models.sequence.mixing import Candidates, Material, gather
from models.sequence.model import SequenceModel
from models.sequence.network import Network
from models.sequence.optimize import adamw, update
from models.sequence.precision import compute_type
from models.sequence.prefetch import ahead
from models.sequence.share import Share
from models.sequence.team import SOLO, Team, quantile, same_start, sum_counts
from models.sequence.threads import own_torch
from models.sequence.tokens import Ints, gap_before
from models.sequence.windows import WindowBatch, Windows, newest, tiles, window_batch
from recsys.dataset import Dataset
from recsys.errors import NotReady
from recsys.items import Items
from recsys.plays import Outcome, Plays

Log = Callable[[int, dict[str, float]], None]
Progress = Callable[[int, int], None]
Saved = Callable[[Path, int], None]
FIRST_STAGE = 0.7
"""Share of a time budget that pre-training gets; mixing may need less than the rest, and then the run ends early."""
WARM_UP = 0.05
LOG_EVERY = 50


def train(
    dataset: Dataset,
    until_ms: int,
    config: SequenceConfig,
    log: Log | None = None,
    progress: Progress | None = None,
    checkpoint_dir: Path | None = None,
    team: Team = SOLO,
    saved: Saved | None = None,
) -> SequenceModel:
    """Trains on plays that started before `until_ms`.

    Without `budget_s` the result depends on data and config alone (its seed and thread count among them), also
    when training was interrupted and goes on from `checkpoint_dir`. With precision "auto" it depends on whether the
    processor multiplies bfloat16 (of a team, the first one's); the model's config names what was taken.

    Args:
        log: called with the step and {"loss", "learning_rate"} now and then.
        progress: called with (steps done, steps in all); the total of a budgeted run is an estimate.
        checkpoint_dir: where to keep the state; an unfinished run found there goes on.
        team: the workers that share the run. Each has all of `dataset`'s listeners and items, and the plays of its
            own listeners alone; every one returns the same model.
        saved: called in every worker with the folder and the step after the first one has written a checkpoint.

    Raises:
        NotReady: fewer than two plays before `until_ms`.
    """
    config = settled(config, checkpoint_dir)
    config = config.model_copy(update={"precision": team.gather(config.precision)[0]})
    plays = dataset.plays.before(until_ms)
    if int(sum_counts(team, np.array([plays.rows]))[0]) < 2:
        raise NotReady("no plays to train on before the split: simulate or import a longer log")
    with own_torch(config.num_threads):
        run = _Run.of(plays, dataset.items, config, team)
        run.log, run.progress, run.saved = log or run.log, progress or run.progress, saved or run.saved
        if checkpoint_dir is not None:
            run.resume(checkpoint_dir)
        run.pretrain(checkpoint_dir)
        run.mix()
    evidence = _evidence(plays, dataset.items, config, team)
    return SequenceModel(config, dataset.items, run.network.eval(), evidence)


def _evidence(plays: Plays, items: Items, config: SequenceConfig, team: Team = SOLO) -> EvidenceModel:
    successors = count_successors(plays, len(items), config.rule_window, config.rule_keep, team)
    return EvidenceModel.of(successors, items, config.rule_window, config.rule_decay)


@dataclass
class _Run:
    """The state of one training run."""

    config: SequenceConfig
    items: Items
    team: Team
    whole: Share
    past: Share  # what stage 1 sees; the newer plays of `whole` are what stage 2 predicts
    proposal: Proposal
    network: Network
    optimizer: torch.optim.Optimizer
    compute: torch.dtype
    log: Log = lambda _step, _metrics: None
    progress: Progress = lambda _done, _total: None
    saved: Saved = lambda _folder, _step: None
    began: float = field(default_factory=monotonic)
    step: int = 0
    losses: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, plays: Plays, items: Items, config: SequenceConfig, team: Team) -> _Run:
        torch.manual_seed(config.seed)
        past = plays.before(int(quantile(team, plays.start, 1 - config.mixing_share)))
        counts = sum_counts(team, np.bincount(past.track[past.track >= 0], minlength=len(items)))
        log_popularity = np.log((counts + 1.0) / (counts.mean() + 1.0)).astype(np.float32)
        network = Network(items, log_popularity, config)
        same_start(team, network)
        return cls(
            config=config,
            items=items,
            team=team,
            whole=Share.of(plays, team),
            past=Share.of(past, team),
            proposal=Proposal.of(counts, config.uniform_share),
            network=network,
            optimizer=_adam(network, config.learning_rate, config.weight_decay),
            compute=compute_type(config.precision),
        )

    # Stage 1

    def pretrain(self, checkpoint_dir: Path | None) -> None:
        self.network.train()
        per_epoch = max(self._epoch_steps(), 1)
        with closing(ahead(self._pretrain_batches(per_epoch))) as made:
            while (done := self._done(per_epoch)) < 1:
                self._pretrain_step(next(made), done)
                if checkpoint_dir is not None and self.step % self.config.checkpoint_steps == 0:
                    self._save(checkpoint_dir)
        if checkpoint_dir is not None:
            self._save(checkpoint_dir)

    def _pretrain_batches(self, per_epoch: int) -> Iterator[WindowBatch]:
        """Without end, from the present step on; made by another thread."""
        gaps, epoch, windows = gap_before(self.past.plays), -1, Windows(*(np.zeros(0, np.int64),) * 4)
        for step in count(self.step):
            if step // per_epoch != epoch:
                epoch = step // per_epoch
                windows = self._epoch(epoch)
            at = step % per_epoch * self.config.batch_size
            chosen = windows.take(np.arange(at, min(at + self.config.batch_size, len(windows))))
            yield self._batch(self.past, gaps, chosen)

    def _batch(self, log: Share, gaps: Ints, windows: Windows) -> WindowBatch:
        """This worker's share of a step."""
        config = self.config
        return window_batch(
            log.plays,
            gaps,
            log.own(windows),
            config.max_length,
            len(self.items),
            config.packed,
            self.compute,
        )

    def _epoch_steps(self) -> int:
        """Steps in every epoch; the random first cut adds a few windows, which are left."""
        sizes = np.diff(self.past.offsets)
        fewest = np.ceil(sizes / self.config.max_length).sum()
        return int(np.ceil(fewest / self.config.batch_size))

    def _epoch(self, epoch: int) -> Windows:
        rng = np.random.default_rng([self.config.seed, 1, epoch])
        windows = tiles(self.past.offsets, self.config.max_length, rng)
        return windows.take(rng.permutation(len(windows)))

    def _done(self, per_epoch: int) -> float:
        """Share of stage 1 that is done."""
        if self.config.budget_s is not None:
            return self._spent(self.began, FIRST_STAGE * self.config.budget_s)
        steps = per_epoch * self.config.epochs if self.config.steps is None else self.config.steps
        return self.step / steps if steps else 1.0

    def _pretrain_step(self, batch: WindowBatch, done: float) -> None:
        rng, plays = self._seed_step(), self.past.plays
        weight = self._weight(plays, batch)
        loss = None
        if len(batch.row):
            states = self.network(batch.tokens, batch.layout).flatten(0, 1)[batch.slot]
            target = torch.from_numpy(plays.track[batch.row].astype(np.int64))
            loss = self._pretrain_loss(states, target, weight, rng)
        self._update(loss, self._rate(done))
        self._report(done)

    def _pretrain_loss(
        self, states: Tensor, target: Tensor, weight: Tensor, rng: np.random.Generator
    ) -> Tensor:
        """Weighted loss of states (p, d); no evidence yet."""
        items = self.network.items
        if len(self.items) <= self.config.full_softmax_below:
            drawn = Negatives.every(self.proposal)
        else:
            drawn = Negatives.draw(self.proposal, self.config.num_negatives, rng)
        positive = (states * items(target)).sum(-1) + items.bias(target)[:, 0]
        offsets = items.bias(drawn.tracks)[:, 0] - drawn.log_expected
        return softmax_loss(
            states, items(drawn.tracks), offsets, positive, drawn.hit(target), weight, self.compute
        )

    # Stage 2

    def mix(self) -> None:
        """Fits the evidence weights and fine-tunes the network on the newest plays, in one pass at most.

        What came next is learned by heart from a second pass on: on a log of 100,000 plays five passes halve
        the quality of one.
        """
        windows = newest(self.whole.offsets, np.diff(self.past.offsets), self.config.max_length)
        if not len(windows) or not self.config.mixing_steps:
            return
        self.optimizer = _adam(self.network, self.config.mixing_learning_rate, self.config.weight_decay, 10.0)
        first, began = self.step, monotonic()
        one_pass = -(-len(windows) // self.config.mixing_batch_size)
        evidence = _evidence(self.past.plays, self.items, self.config, self.team)
        with closing(ahead(self._mixing_batches(windows, evidence))) as made:
            while (done := self._mixed(self.step - first, one_pass, began)) < 1:
                self._mixing_step(*next(made), done)

    def _mixing_batches(
        self, windows: Windows, evidence: EvidenceModel
    ) -> Iterator[tuple[WindowBatch, Candidates | None]]:
        """One pass; made by another thread, so it asks nothing of the team."""
        plays = self.whole.plays
        gaps, size = gap_before(plays), self.config.mixing_batch_size
        material = Material.of(self.items, evidence, self.proposal)
        order = np.random.default_rng([self.config.seed, 2]).permutation(len(windows))
        for number, at in enumerate(range(0, len(windows), size), self.step):
            batch = self._batch(self.whole, gaps, windows.take(order[at : at + size]))
            rng = np.random.default_rng([self.config.seed, 3, number])
            some = len(batch.row) > 0
            yield batch, gather(plays, batch.row, material, self.config, rng) if some else None

    def _mixed(self, steps: int, one_pass: int, began: float) -> float:
        if self.config.budget_s is None:
            return steps / min(self.config.mixing_steps, one_pass)
        return max(steps / one_pass, self._spent(began, (1 - FIRST_STAGE) * self.config.budget_s))

    def _mixing_step(self, batch: WindowBatch, found: Candidates | None, done: float) -> None:
        self._seed_step()
        weight = self._weight(self.whole.plays, batch)
        loss = None
        if found is not None:
            states = self.network(batch.tokens, batch.layout).flatten(0, 1)[batch.slot]
            loss = (_mixing_loss(self.network, states, found) * weight).sum()
        self._update(loss, self.config.mixing_learning_rate * min(1.0, 2 * (1 - done)))
        self._report(done)

    # Both

    def _spent(self, began: float, budget_s: float) -> float:
        """Share of a time budget that has passed, by the first worker's clock: all must stop at the same step."""
        passed = (monotonic() - began) / budget_s if self.team.rank == 0 else 0.0
        return float(self.team.sum(torch.tensor(passed, dtype=torch.float64)))

    def _seed_step(self) -> np.random.Generator:
        """Every step has a random stream of its own, so a resumed run repeats an uninterrupted one."""
        torch.manual_seed((self.config.seed * 1_000_003 + self.step) * self.team.size + self.team.rank)
        return np.random.default_rng([self.config.seed, 3, self.step])

    def _rate(self, done: float) -> float:
        return (
            self.config.learning_rate * min(1.0, (done + 1e-3) / WARM_UP) * min(1.0, 1.5 * (1 - done) + 0.02)
        )

    def _weight(self, plays: Plays, batch: WindowBatch) -> Tensor:
        """(p,) share of each prediction in the loss of all workers."""
        skipped = torch.from_numpy(plays.outcome[batch.row] == Outcome.SKIP)
        weight = torch.where(skipped, self.config.skip_target_weight, 1.0)
        return weight / self.team.sum(weight.sum()).clamp(min=1.0)

    def _update(self, loss: Tensor | None, rate: float) -> None:
        """One step of all workers; `loss` is None in one that has nothing to predict in it."""
        update(self.optimizer, self.network, loss, rate, clip=1.0, team=self.team)
        own = torch.zeros(()) if loss is None else loss.detach().float()
        self.losses.append(float(self.team.sum(own)))
        self.step += 1

    def _report(self, done: float) -> None:
        total = round(self.step / max(done, 1e-6))
        self.progress(self.step, max(total, self.step))
        if self.step % LOG_EVERY == 0:
            rate = self.optimizer.param_groups[0]["lr"]
            self.log(self.step, {"loss": float(np.mean(self.losses)), "learning_rate": rate})
            self.losses.clear()

    def resume(self, folder: Path) -> None:
        found = restore(folder, self.config)
        if found is None:
            return
        self.network.load_state_dict(found.network)
        self.optimizer.load_state_dict(found.optimizer)
        self.step = found.step
        self.began = monotonic() - found.seconds

    def _save(self, folder: Path) -> None:
        state = Checkpoint(
            self.step, monotonic() - self.began, self.network.state_dict(), self.optimizer.state_dict()
        )
        if self.team.rank == 0:
            store(folder, self.config, state)
        self.saved(folder, self.step)


def _mixing_loss(network: Network, states: Tensor, found: Candidates) -> Tensor:
    """(p,) losses of states (p, d): the network's scores and the weighed evidence together."""
    own = torch.cat([found.target[:, None], found.head], dim=1)
    tracks, number = torch.unique(own, return_inverse=True)  # one vector a track, however often it occurs
    scores, weights = _plain(network, states, tracks).gather(1, number), network.weigh(states)
    positive = scores[:, 0] + (weights * found.target_features).sum(-1)
    head = scores[:, 1:] + torch.einsum("pf,pmf->pm", weights, found.head_features)
    tail = _plain(network, states, found.tail) + torch.einsum("pf,pmf->pm", weights, found.tail_features)
    negative = torch.cat([head - found.head_log_expected, tail - found.log_expected], dim=1)
    masked = torch.cat([found.head_masked, found.tail_masked], dim=1)
    return sampled_softmax(positive, negative, torch.zeros(1), masked)


def _plain(network: Network, states: Tensor, tracks: Tensor) -> Tensor:
    """(p, m) scores of m tracks without evidence."""
    scores: Tensor = states @ network.items(tracks).T + network.items.bias(tracks)[:, 0]
    return scores


def _adam(network: Network, rate: float, decay: float, boost: float = 1.0) -> torch.optim.Optimizer:
    """AdamW; the evidence weights learn `boost` times faster (few parameters, fitted late)."""
    weigh = list(network.weigh.parameters())
    rest = [p for name, p in network.named_parameters() if not name.startswith("weigh.")]
    groups = [{"params": rest, "factor": 1.0}, {"params": weigh, "factor": boost}]
    return adamw(groups, rate, decay)
