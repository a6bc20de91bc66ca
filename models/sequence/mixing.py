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
from torch import Tensor

from models.sequence.config import SequenceConfig
from models.sequence.cooccurrence import Sparse
from models.sequence.evidence import REPEATS, EvidenceModel, Table
from models.sequence.loss import Proposal
from recsys.plays import I64, WINDOW, Plays

_ACTIVATION = REPEATS.index("activation")


@dataclass(frozen=True)
class Candidates:
    """m candidates for each of p positions."""

    target: Tensor  # (p,)
    target_features: Tensor  # (p, features)
    track: Tensor  # (p, m)
    features: Tensor  # (p, m, features)
    log_expected: Tensor  # (p, m)
    masked: Tensor  # (p, m) padding, duplicates and the target itself


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
    head = np.hstack(
        [strongest(found.near[: len(rows)], config.head_rules), _active(found.repeats, config.head_repeats)]
    )
    tail = proposal.draw((len(rows), config.head_tail), rng)
    track, is_tail, repeated = _distinct(head, tail)
    masked = repeated | (track < 0) | (track == target[:, None])
    position = np.broadcast_to(np.arange(len(rows))[:, None], track.shape)
    features = np.zeros((*track.shape, evidence.width), np.float32)
    features[~masked] = evidence.at(found, position[~masked], track[~masked])
    expected = np.where(is_tail, proposal.log_expected(np.maximum(track, 0), config.head_tail), 0)
    return Candidates(
        target=torch.from_numpy(target),
        target_features=torch.from_numpy(evidence.at(found, np.arange(len(rows)), target)),
        track=torch.from_numpy(np.maximum(track, 0)),
        features=torch.from_numpy(features),
        log_expected=torch.from_numpy(expected.astype(np.float32)),
        masked=torch.from_numpy(masked),
    )


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


def _distinct(head: I64, tail: I64) -> tuple[I64, np.ndarray, np.ndarray]:
    """Tracks sorted within a row, which are of the tail, which repeat an earlier one (head goes first)."""
    joint = np.sort(np.hstack([head * 2, tail * 2 + 1]), axis=1)
    track, is_tail = joint >> 1, (joint & 1).astype(bool)
    first = np.ones(track.shape, bool)
    first[:, 1:] = track[:, 1:] != track[:, :-1]
    leader = np.maximum.accumulate(np.where(first, np.arange(track.shape[1]), 0), axis=1)
    return track, is_tail, ~first & ~np.take_along_axis(is_tail, leader, axis=1)
