"""Candidates and evidence for the mixing stage: what the network must rank where it matters.

For each position the candidates are the strongest by co-occurrence and by repetition (always there: expected count 1),
tracks of the artists just heard (kin.py), and samples of the rest, of what was played and of what nobody has played
(corrected by the log expected count). The parts do not overlap, so each estimates its own share of the sum. Evidence is
counted on plays before the positions' days, as it will be in use, so no position sees itself.
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
from models.sequence.kin import Works, artists_of, luck_of
from models.sequence.loss import Proposal
from recsys.items import MS_PER_DAY, Items
from recsys.plays import I64, WINDOW, Plays

_ACTIVATION = REPEATS.index("activation")


@dataclass(frozen=True)
class Candidates:
    """For p positions: h hard candidates of each one's own, and m sampled ones shared by all."""

    target: Tensor  # (p,)
    target_features: Tensor  # (p, features)
    head: Tensor  # (p, h)
    head_features: Tensor  # (p, h, features)
    head_masked: Tensor  # (p, h) padding, duplicates, unreleased tracks and the target itself
    head_log_expected: Tensor  # (p, h)
    tail: Tensor  # (m,)
    tail_features: Tensor  # (p, m, features)
    tail_masked: (
        Tensor  # (p, m) tracks of the head, of the artists just heard, unreleased ones, and the target
    )
    log_expected: Tensor  # (m,) of the tail


@dataclass(frozen=True)
class Material:
    """What candidates are drawn from and judged by."""

    items: Items
    evidence: EvidenceModel
    proposal: Proposal
    works: Works
    unplayed: I64  # tracks that the proposal never draws

    @classmethod
    def of(cls, items: Items, evidence: EvidenceModel, proposal: Proposal) -> Material:
        unplayed = np.flatnonzero(proposal.probability == 0)
        return cls(items, evidence, proposal, Works.of(evidence.artist), unplayed)

    def tail(self, config: SequenceConfig, rng: np.random.Generator) -> tuple[I64, NDArray[np.float32]]:
        """(m,) tracks drawn for all positions of a step, and their log expected counts."""
        played = self.proposal.draw((config.mixing_negatives,), rng)
        k = min(config.mixing_unplayed, len(self.unplayed))
        others = rng.choice(self.unplayed, k, replace=False)
        expected = np.full(k, np.log(max(k, 1) / max(len(self.unplayed), 1)), np.float32)
        counts = self.proposal.log_expected(played, len(played))
        return np.concatenate([played, others]), np.concatenate([counts, expected])


def gather(
    plays: Plays,
    rows: I64,
    material: Material,
    config: SequenceConfig,
    rng: np.random.Generator,
) -> Candidates:
    """Candidates for predicting the given rows of a log from what came before each."""
    evidence, released = material.evidence, material.items.release_day
    owner = np.searchsorted(plays.offsets, rows, side="right") - 1
    histories = plays.slices(np.maximum(plays.offsets[owner], rows - WINDOW), rows)
    found = evidence(histories, plays.start[rows])
    target = plays.track[rows].astype(np.int64)
    near = strongest(found.near[: len(rows)], config.head_rules)
    always = np.sort(np.hstack([near, _active(found.own.repeats, config.head_repeats)]), axis=1)
    doubled = np.zeros(always.shape, bool)
    doubled[:, 1:] = always[:, 1:] == always[:, :-1]
    artists = artists_of(found.own.artists)
    salts = rng.integers(2**63, size=2)
    luck = [luck_of(plays.start[rows], int(salt)) for salt in salts]
    kin, expected = _kin(artists, material.works, config.head_kin, luck)
    today = plays.start[rows, None] // MS_PER_DAY
    head = np.hstack([always, kin])
    masked = (
        (head < 0)
        | (head == target[:, None])
        | np.hstack([doubled, (released[kin] > today) | _within(kin, always)])
    )
    features = np.zeros((*head.shape, evidence.width), np.float32)
    features[~masked] = evidence.at(found, np.nonzero(~masked)[0], head[~masked])
    tail, tail_expected = material.tail(config, rng)
    passed = _members(artists, evidence.artist.number[tail]) | (released[tail] > today)
    return Candidates(
        target=torch.from_numpy(target),
        target_features=torch.from_numpy(evidence.at(found, np.arange(len(rows)), target)),
        head=torch.from_numpy(np.maximum(head, 0)),
        head_features=torch.from_numpy(features),
        head_masked=torch.from_numpy(masked),
        head_log_expected=torch.from_numpy(np.hstack([np.zeros(always.shape, np.float32), expected])),
        tail=torch.from_numpy(tail),
        tail_features=torch.from_numpy(evidence.columns(found, tail)),
        tail_masked=torch.from_numpy(_members(np.hstack([always, target[:, None]]), tail) | passed),
        log_expected=torch.from_numpy(tail_expected),
    )


def _kin(
    artists: I64, works: Works, k: int, luck: list[NDArray[np.float64]]
) -> tuple[I64, NDArray[np.float32]]:
    """(p, 2 k) tracks and log expected counts: k of the last play's artist, k of the others just heard."""
    parts = (artists[:, :1], artists[:, 1:])
    drawn = [works.draw(part, k, own) for part, own in zip(parts, luck, strict=True)]
    counts = [np.repeat(expected[:, None], k, axis=1) for _, expected in drawn]
    return np.hstack([tracks for tracks, _ in drawn]), np.hstack(counts)


def _within(values: I64, sets: I64) -> NDArray[np.bool_]:
    """(p, m) whether each of p rows' own m values is in that row of `sets`."""
    out = np.zeros(values.shape, bool)
    for column in sets.T:
        out |= values == column[:, None]
    return out


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
