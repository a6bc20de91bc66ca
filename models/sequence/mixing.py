"""Candidates and evidence for the mixing stage: what the network must rank where it matters.

For each position the candidates are the strongest by co-occurrence and by repetition (always there: expected
count 1) and a sample of the rest (corrected by the log expected count). Evidence is counted on plays before
the positions' days, as it will be in use, so no position sees itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.sequence.config import SequenceConfig
from models.sequence.cooccurrence import Sparse
from models.sequence.evidence import REPEATS, EvidenceModel, Table
from models.sequence.loss import Proposal
from recsys.plays import I64, WINDOW, Plays

_ACTIVATION = REPEATS.index("activation")


@dataclass(frozen=True)
class Candidates:
    """For p positions: h hard candidates of each one's own, and m sampled ones shared by all."""

    target: Tensor  # (p,)
    target_features: Tensor  # (p, features)
    head: Tensor  # (p, h)
    head_features: Tensor  # (p, h, features)
    head_masked: Tensor  # (p, h) padding, duplicates and the target itself
    tail: Tensor  # (m,)
    tail_features: Tensor  # (p, m, features)
    tail_masked: Tensor  # (p, m) tracks of the head and the target
    log_expected: Tensor  # (m,) of the tail


def gather(
    plays: Plays,
    rows: I64,
    evidence: EvidenceModel,
    proposal: Proposal,
    config: SequenceConfig,
    rng: np.random.Generator,
) -> Candidates:
    """Candidates for predicting the given rows of a log from what came before each."""
    owner = np.searchsorted(plays.offsets, rows, side="right") - 1
    histories = plays.slices(np.maximum(plays.offsets[owner], rows - WINDOW), rows)
    found = evidence(histories, plays.start[rows])
    target = plays.track[rows].astype(np.int64)
    near = strongest(found.near[: len(rows)], config.head_rules)
    head = np.sort(np.hstack([near, _active(found.own.repeats, config.head_repeats)]), axis=1)
    masked = (head < 0) | (head == target[:, None])
    masked[:, 1:] |= head[:, 1:] == head[:, :-1]
    features = np.zeros((*head.shape, evidence.width), np.float32)
    features[~masked] = evidence.at(found, np.nonzero(~masked)[0], head[~masked])
    tail = proposal.draw((config.mixing_negatives,), rng)
    return Candidates(
        target=torch.from_numpy(target),
        target_features=torch.from_numpy(evidence.at(found, np.arange(len(rows)), target)),
        head=torch.from_numpy(np.maximum(head, 0)),
        head_features=torch.from_numpy(features),
        head_masked=torch.from_numpy(masked),
        tail=torch.from_numpy(tail),
        tail_features=torch.from_numpy(evidence.columns(found, tail)),
        tail_masked=torch.from_numpy(_members(np.hstack([head, target[:, None]]), tail)),
        log_expected=torch.from_numpy(proposal.log_expected(tail, len(tail))),
    )


def _members(sets: I64, values: I64) -> NDArray[np.bool_]:
    """(p, m) whether each of m values is in each of p rows."""
    out = np.zeros((len(sets), len(values)), bool)
    for column in sets.T:
        out |= column[:, None] == values
    return out


def strongest(matrix: Sparse, k: int) -> I64:
    """(rows, k) columns of each row's k largest entries, in no order; -1 where a row has fewer."""
    out = np.full((matrix.shape[0], k), -1, np.int64)
    for row, (start, stop) in enumerate(pairwise(matrix.indptr)):
        columns = matrix.indices[start:stop]
        if stop - start > k:
            columns = columns[np.argpartition(matrix.data[start:stop], -k)[-k:]]
        out[row, : len(columns)] = columns
    return out


def _active(repeats: Table, k: int) -> I64:
    """(b, k) tracks most active in each history."""
    return strongest(repeats.sparse(repeats.values[:, _ACTIVATION]), k)
