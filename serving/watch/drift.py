"""Drift of what is being ranked now against the release's own reference: PSI of each feature and score.

    monitor = Drift(release.reference, names)
    monitor.observe(batch, result)      # on the request path: keeps a few rows of some answers
    monitor.report()                    # at a scrape: {"answers": 500, "features": {...}, "scores": {...}}

PSI = sum (p - q) ln(p / q) over bins (Siddiqi, Credit Risk Scorecards, 2006). Without drift it is not 0: about
(bins - 1) (1/n + 1/m) for n and m independent samples (Yurdakul, Statistical Properties of Population Stability
Index, 2018), so nothing is said before LEAST answers. Rows of one answer are alike: n counts answers, not rows.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.pipeline import Result
from recsys.schemas import Surface
from recsys.types import QueryBatch
from serving.watch.reference import Histogram, Reference, binned, thinned

WATCH, ACT = 0.1, 0.25
"""From where a shift is worth a look, and from where the release should be rebuilt (Siddiqi's rule of thumb)."""
LEAST = 200
"""Answers before a PSI is told."""
WINDOW = 2_000
"""Sampled answers that are looked at; older ones are forgotten a block at a time."""
EVERY = 4
"""One answer in so many is sampled, by its id."""
BLOCK = 100
_PENDING = 10 * BLOCK
"""Sampled answers that wait for a scrape; where nobody scrapes, older ones are dropped (9 kB each)."""


@dataclass(frozen=True)
class _Sample:
    """Rows of one answer."""

    pair: NDArray[np.floating]
    scores: NDArray[np.floating]  # (m, s)


class Drift:
    """Counts of one release's home answers in a rolling window; safe for several threads."""

    def __init__(self, reference: Reference, names: tuple[str, ...], every: int = EVERY) -> None:
        """`names`: of the columns of `pair`, in order; a feature without a reference is not watched."""
        self._reference, self._every = reference, every
        self._columns = [(j, n) for j, n in enumerate(names) if n in reference.features]
        self._scores = tuple(reference.scores)
        self._histograms = [reference.features[n] for _, n in self._columns]
        self._histograms += [reference.scores[n] for n in self._scores]
        self._edges = [np.asarray(h.edges) for h in self._histograms]
        self._pending: deque[_Sample] = deque(maxlen=_PENDING)
        self._blocks: deque[tuple[int, list[NDArray[np.int64]]]] = deque()
        self._lock = threading.Lock()

    def observe(self, batch: QueryBatch, result: Result) -> None:
        """Keeps some rows of a home answer from the full rung, if its id is among the sampled."""
        if len(batch.queries) != 1 or result.rung != "full":
            return
        query, columns = batch.queries[0], result.candidates.columns
        if query.surface != Surface.HOME or "pair" not in columns:
            return
        if query.seed % self._every:  # the seed is a hash of the request's id
            return
        rows = thinned(len(result.candidates))
        scores = [np.asarray(columns[n][rows], np.float64) for n in self._scores if n in columns]
        if len(scores) == len(self._scores):
            stacked: NDArray[np.floating] = np.stack(scores, axis=1) if scores else np.zeros((0, 0))
            pair = np.array(columns["pair"][rows], np.float32)  # a copy: the rest goes away with the request
            self._pending.append(_Sample(pair, stacked))

    def report(self) -> dict[str, Any]:
        """`{"answers", "reference", "features": {name: {"psi", "null_rate"}}, "scores": {name: {"psi"}}}`.

        `answers` are those in the window; features and scores are empty while they are fewer than LEAST.
        """
        with self._lock:
            self._fold()
            answers = sum(n for n, _ in self._blocks)
            told: dict[str, Any] = {"answers": answers, "reference": self._reference.requests}
            if answers < LEAST:
                return told | {"features": {}, "scores": {}}
            found = [sum(column) for column in zip(*(counts for _, counts in self._blocks), strict=True)]
        values = [psi(h, c) for h, c in zip(self._histograms, found, strict=True)]
        nulls = [float(c[-1] / max(c.sum(), 1)) for c in found]
        k = len(self._columns)
        features = {
            name: {
                "psi": values[i],
                "null_rate": nulls[i],
                "expected_null_rate": self._histograms[i].null_rate,
            }
            for i, (_, name) in enumerate(self._columns)
        }
        return told | {
            "features": features,
            "scores": {name: {"psi": values[k + i]} for i, name in enumerate(self._scores)},
        }

    def _fold(self) -> None:
        """Bins what has been kept since the last time; forgets what the window has left behind."""
        waiting = [self._pending.popleft() for _ in range(len(self._pending))]
        for at in range(0, len(waiting), BLOCK):
            block = waiting[at : at + BLOCK]
            self._blocks.append((len(block), self._binned(block)))
        while self._blocks and sum(n for n, _ in self._blocks) - self._blocks[0][0] >= WINDOW:
            self._blocks.popleft()

    def _binned(self, block: list[_Sample]) -> list[NDArray[np.int64]]:
        pair = np.concatenate([s.pair for s in block])
        columns = [pair[:, j] for j, _ in self._columns]
        if self._scores:
            columns += list(np.concatenate([s.scores for s in block]).T)
        return [binned(c, edges) for c, edges in zip(columns, self._edges, strict=True)]


def psi(reference: Histogram, counts: NDArray[np.integer]) -> float:
    """Population stability index; half a row is added to every bin, so that an empty one is not infinite."""
    q = np.asarray(reference.counts, np.float64) + 0.5
    p = np.asarray(counts, np.float64) + 0.5
    p, q = p / p.sum(), q / q.sum()
    return float(((p - q) * np.log(p / q)).sum())
