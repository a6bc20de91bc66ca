"""What a release's own features and scores looked like: histograms that traffic is compared with later.

    reference = Reference.of({"popularity_7": values, "utility": values}, requests=1000)
    reference.save(folder)
    Reference.read(folder)          # None where a release has none

A histogram has at most ten bins at the quantiles of what was seen, and one more for missing values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys.errors import ReleaseRefused

FILE = "reference.json"
BINS = 10
ROWS = 32
"""Candidates of one answer that are looked at: they are alike, more of them would add little."""
_KEYS = {"features", "scores", "requests"}


@dataclass(frozen=True)
class Histogram:
    """Counts of one column: a value x lies in bin i where edges[i-1] < x <= edges[i]; the last bin is for NaN."""

    edges: tuple[float, ...]  # ascending, at most BINS - 1
    counts: tuple[int, ...]  # len(edges) + 2

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Histogram:
        known = values[np.isfinite(values)]
        cuts = np.quantile(known, np.arange(1, BINS) / BINS, method="higher") if len(known) else np.zeros(0)
        edges = np.unique(cuts.astype(np.float64))
        return cls(tuple(edges.tolist()), tuple(binned(values, edges).tolist()))

    @property
    def null_rate(self) -> float:
        """Share of missing values."""
        return self.counts[-1] / max(sum(self.counts), 1)


@dataclass(frozen=True)
class Reference:
    """Histograms by name of one surface's ranked candidates."""

    features: dict[str, Histogram]
    scores: dict[str, Histogram]
    requests: int  # that the rows came from

    def save(self, folder: Path) -> None:
        """Writes `reference.json`."""
        record = {
            "requests": self.requests,
            "features": {n: {"edges": h.edges, "counts": h.counts} for n, h in self.features.items()},
            "scores": {n: {"edges": h.edges, "counts": h.counts} for n, h in self.scores.items()},
        }
        (folder / FILE).write_text(json.dumps(record, indent=1, sort_keys=True))

    @classmethod
    def read(cls, folder: Path) -> Reference | None:
        """The reference of a release; None for a release that was built without.

        Raises:
            ReleaseRefused: the file is not one that `save` wrote.
        """
        path = folder / FILE
        if not path.exists():
            return None
        try:
            record = json.loads(path.read_text())
            if set(record) != _KEYS:
                raise ValueError(f"keys {sorted(record)}")
            read = {
                kind: {n: Histogram(tuple(h["edges"]), tuple(h["counts"])) for n, h in record[kind].items()}
                for kind in ("features", "scores")
            }
            wrong = [n for by in read.values() for n, h in by.items() if len(h.counts) != len(h.edges) + 2]
            if wrong:
                raise ValueError(f"bins of {wrong[0]}")
            return cls(read["features"], read["scores"], int(record["requests"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ReleaseRefused(f"{FILE} cannot be read ({error}): rebuild the release") from None

    def without_scores(self) -> Reference:
        """The features alone: for a release whose scores are made anew from the same features."""
        return Reference(self.features, {}, self.requests)


def of_rows(
    names: tuple[str, ...],
    pair: NDArray[np.floating],
    scores: Mapping[str, NDArray[np.floating]],
    requests: int,
) -> Reference:
    """A reference from (m, f) feature rows with their names, and (m,) score columns."""
    return Reference(
        {name: Histogram.of(pair[:, j]) for j, name in enumerate(names)},
        {name: Histogram.of(values) for name, values in scores.items()},
        requests,
    )


def binned(values: NDArray[np.floating], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """(len(edges) + 2,) how many values lie in each bin; missing ones in the last."""
    known = values[np.isfinite(values)]
    counts = np.zeros(len(edges) + 2, np.int64)
    counts[:-1] = np.bincount(np.searchsorted(edges, known, side="left"), minlength=len(edges) + 1)
    counts[-1] = len(values) - len(known)
    return counts


def thinned(rows: int) -> slice:
    """Which of an answer's rows are looked at: every k-th, so many that at most ROWS remain."""
    return slice(None, None, max(-(-rows // ROWS), 1))
