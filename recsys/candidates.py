"""Candidates as columns: what sources propose, their union, and the one way to keep fewer of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recsys.plays import I64

Column: TypeAlias = NDArray[np.floating] | NDArray[np.integer] | NDArray[np.bool_]


@dataclass(frozen=True)
class Candidates:
    """m candidates of b requests; request j owns rows offsets[j]:offsets[j+1], ids ascending within it."""

    ids: I64  # (m,)
    offsets: I64  # (b+1,)
    columns: dict[str, Column] = field(default_factory=dict)  # each (m,) or (m, f)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def owner(self) -> I64:
        """(m,) request number of each candidate."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def counts(self) -> I64:
        """(b,) candidates of each request."""
        return np.diff(self.offsets)

    def where(self, mask: NDArray[np.bool_]) -> Candidates:
        counts = np.bincount(self.owner[mask], minlength=len(self.offsets) - 1)
        return Candidates(
            self.ids[mask],
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            {name: column[mask] for name, column in self.columns.items()},
        )

    def proposed_by(self, source: str) -> NDArray[np.bool_]:
        """(m,) whether the source of that name proposed each candidate (see `union`)."""
        column = self.columns.get(f"source:{source}")
        return np.zeros(len(self), bool) if column is None else np.isfinite(column)

    def of(self, request: int) -> Candidates:
        """The candidates of one request, as a batch of one."""
        rows = slice(int(self.offsets[request]), int(self.offsets[request + 1]))
        columns = {name: column[rows] for name, column in self.columns.items()}
        return Candidates(self.ids[rows], np.array([0, rows.stop - rows.start], np.int64), columns)


@dataclass(frozen=True)
class Proposal:
    """What one source proposes for b requests."""

    ids: I64  # (m,)
    offsets: I64  # (b+1,)
    score: NDArray[np.float32]  # (m,) the source's own score, higher is better


@dataclass(frozen=True)
class Truncate:
    """Keeps each request's `k` best by one column (ties by id, non-finite scores last).

    `floors` names columns with a number m: the m best among the candidates where that column is finite are
    kept beside the k, so that a small source is not drowned before it can be ranked.
    """

    column: str
    k: int
    floors: dict[str, int] = field(default_factory=dict)
    name: str = "truncate"


def sink(scores: NDArray[Any]) -> NDArray[Any]:
    """Scores with non-finite values replaced by the lowest float32, so that they sort last."""
    return np.where(np.isfinite(scores), scores, np.float32(np.finfo(np.float32).min))


def union(proposals: dict[str, Proposal | None], requests: int) -> Candidates:
    """Each request's distinct candidates, ids ascending; column `source:NAME`: that source's score or NaN."""
    alive = {name: p for name, p in proposals.items() if p is not None}
    owners = {name: np.repeat(np.arange(requests), np.diff(p.offsets)) for name, p in alive.items()}
    keys = [(owners[name] << 32) | p.ids for name, p in alive.items()]
    merged = np.unique(np.concatenate(keys)) if keys else np.zeros(0, np.int64)
    counts = np.bincount(merged >> 32, minlength=requests)
    columns: dict[str, Column] = {}
    for (name, proposal), key in zip(alive.items(), keys, strict=True):
        column = np.full(len(merged), np.nan, np.float32)
        column[np.searchsorted(merged, key)] = proposal.score
        columns[f"source:{name}"] = column
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Candidates(merged & 0xFFFFFFFF, offsets, columns)


def truncate(candidates: Candidates, stage: Truncate) -> Candidates:
    """What `stage` keeps of each request's candidates; they stay in id order."""
    score = sink(candidates.columns[stage.column])
    keep = _rank(candidates, score) < stage.k
    for column, m in stage.floors.items():
        if column in candidates.columns:
            inside = np.isfinite(candidates.columns[column])
            keep |= inside & (_rank(candidates, np.where(inside, score, -np.inf)) < m)
    return candidates.where(keep)


def _rank(candidates: Candidates, score: NDArray[Any]) -> I64:
    """(m,) place of each candidate within its request by descending score, ties by id."""
    owner = candidates.owner
    order = np.lexsort((candidates.ids, -score, owner))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - candidates.offsets[owner[order]]
    return rank
