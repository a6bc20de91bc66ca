"""Direct evidence (evidence.py) for plain id sequences, and its mixture with a network's scores.

    evidence = id_evidence(sequences, items)
    mixed = fit_mixture(model, evidence, histories, targets, names=("near", "next"))   # on validation data
    mixed.score(histories)  # (b, items)

A score is network + <f, w>: f what followed the last items in other sequences (and how the own ones repeat), w the same
for every history, fitted by maximum likelihood on data that neither the network nor the counts were trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.sequence.cooccurrence import count_successors
from models.sequence.evidence import F32, FEATURES, EvidenceModel, Groups
from recsys.evaluation.protocol import Scores
from recsys.evaluation.ragged import Ragged
from recsys.plays import I32, I64, WINDOW, Outcome, Plays

STEP_MS = 1_000
"""Assumed between two items of a sequence, so that ages are places in it; one session by recsys.plays' gap."""
CHUNK = 128
STEPS = 40


class Scorer(Protocol):
    """What the mixture adds to."""

    def score(self, histories: Ragged) -> Scores: ...


def as_plays(sequences: Ragged) -> Plays:
    """Ids as whole plays, one second apart, in constant circumstances."""
    n = len(sequences.tracks)
    place = np.arange(n) - np.repeat(sequences.offsets[:-1], sequences.counts)
    return Plays(
        offsets=sequences.offsets,
        track=sequences.tracks.astype(np.int32),
        start=place.astype(np.int64) * STEP_MS,
        outcome=np.full(n, Outcome.FINISH, np.int8),
        ms_played=np.zeros(n, np.int32),
        session=np.zeros(n, np.int32),
        hour=np.zeros(n, np.int8),
        device=np.zeros(n, np.int8),
        surface=np.zeros(n, np.int8),
    )


def id_evidence(
    sequences: Ragged, items: int, window: int = 10, decay: float = 0.8, keep: int = 512
) -> EvidenceModel:
    """Counts over sequences; artists and albums are unknown, so their features are zero."""
    unknown = Groups(np.zeros(items, np.int64), 0)
    counted = count_successors(as_plays(sequences), items, window, keep)
    return EvidenceModel(counted, unknown, unknown, window, decay)


@dataclass(frozen=True)
class Mixture:
    """Network and evidence together."""

    model: Scorer
    evidence: EvidenceModel
    weights: F32  # (FEATURES,)

    def score(self, histories: Ragged) -> Scores:
        """(b, items), higher is better."""
        out = self.model.score(histories)
        for at in range(0, len(out), CHUNK):
            rows = np.arange(at, min(at + CHUNK, len(out)))
            plays, now = _requests(histories.take(rows))
            out[rows] += self.evidence.scores(plays, now, self.weights[None].repeat(len(rows), axis=0))
        return out


def _requests(histories: Ragged) -> tuple[Plays, I64]:
    """The newest plays of each history, and the time one step after them."""
    plays = as_plays(histories)
    return plays.last(WINDOW), histories.counts * STEP_MS


def fit_mixture(
    model: Scorer,
    evidence: EvidenceModel,
    histories: Ragged,
    targets: I32,
    names: tuple[str, ...] = ("near", "near_heard", "next"),
    seen_masked: bool = True,
) -> Mixture:
    """Weights of the named FEATURES by maximum likelihood over all items, with the network's scores scaled too; the
    scale is then divided out, which leaves every order as it is.

    Args:
        targets: (b,) the item that followed each history. seen_masked: whether items of the history are not candidates.
    """
    columns = [FEATURES.index(name) for name in names]
    scores = model.score(histories)
    if seen_masked:
        scores[histories.owner, histories.tracks] = -np.inf
    features = _features(evidence, histories, scores.shape[1], columns)
    found = _fitted(
        torch.from_numpy(scores), torch.from_numpy(features), torch.from_numpy(targets.astype(np.int64))
    )
    weights = np.zeros(len(FEATURES), np.float32)
    weights[columns] = found[1:] / max(float(found[0]), 1e-3)
    return Mixture(model, evidence, weights)


def _features(evidence: EvidenceModel, histories: Ragged, items: int, columns: list[int]) -> F32:
    """(features, b, items)"""
    out = np.empty((len(columns), len(histories), items), np.float32)
    for at in range(0, len(histories), CHUNK):
        rows = np.arange(at, min(at + CHUNK, len(histories)))
        plays, now = _requests(histories.take(rows))
        for number, column in enumerate(columns):
            one = np.zeros((len(rows), len(FEATURES)), np.float32)
            one[:, column] = 1.0
            out[number, rows] = evidence.scores(plays, now, one)
    return out


def _fitted(scores: Tensor, features: Tensor, target: Tensor) -> NDArray[np.float32]:
    """(1 + features,) the network's scale and the weights."""
    known = ~torch.isinf(scores[torch.arange(len(target)), target])
    scores, features, target = scores[known], features[:, known], target[known]
    weights = torch.zeros(1 + len(features))
    weights[0] = 1.0
    weights.requires_grad_()
    optimizer = torch.optim.LBFGS([weights], max_iter=STEPS, line_search_fn="strong_wolfe")
    finite, closed = scores.masked_fill(torch.isinf(scores), 0.0), torch.isinf(scores)

    def loss() -> Tensor:
        optimizer.zero_grad()
        total = weights[0] * finite + torch.einsum("f,fbi->bi", weights[1:], features)
        value = torch.nn.functional.cross_entropy(total.masked_fill(closed, -torch.inf), target)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach().numpy()
