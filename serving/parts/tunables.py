"""Tunables: attributes of a track that a request may bound (`min`, `max`) or aim at (`target`), and the parts that do.

They stand in `Query.options` as {"min": {name: value}, "max": {...}, "target": {...}}. A bound is a hard filter, and
a track whose value is not known fails it; a target is soft.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.items import Items
from recsys.pipeline import Candidates
from recsys.schemas import AUDIO
from recsys.types import QueryBatch

Bools = NDArray[np.bool_]
Values = NDArray[np.float64]
FAR = 3.0
"""Standard deviations beyond which all values are equally far from a target; one that is not known is that far."""
PITCHES = 12


@dataclass(frozen=True)
class Range:
    """What values an attribute can have; None is without an end."""

    low: float | None = None
    high: float | None = None


SHARE = Range(0, 1)
TUNABLES: dict[str, Range] = {
    "acousticness": SHARE,
    "danceability": SHARE,
    "duration_ms": Range(0),
    "energy": SHARE,
    "instrumentalness": SHARE,
    "key": Range(0, PITCHES - 1),
    "liveness": SHARE,
    "loudness": Range(),
    "mode": Range(0, 1),
    "popularity": Range(0, 100),
    "speechiness": SHARE,
    "tempo": Range(0),
    "time_signature": Range(0, 11),
    "valence": SHARE,
}


@dataclass(frozen=True)
class Attributes:
    """The tunable attributes of a release's n tracks, as they are shown to clients.

    Attributes:
        popularity: (n,) log plays per million, worldwide.
    """

    items: Items
    popularity: NDArray[np.float32]

    def column(self, name: str) -> Values:
        """(n,) values to six decimals; NaN where not known. No track's time signature is known."""
        if name == "popularity":
            return percent(self.popularity)
        if name not in self.items.frame.columns:
            return np.full(len(self.items), np.nan)
        values = self.items.frame[name].to_numpy().astype(np.float64)
        return np.round(values, 6) if name in AUDIO else values

    def fits(self, options: Mapping[str, Any]) -> Bools:
        """(n,) tracks within every bound."""
        mask = np.ones(len(self.items), bool)
        for name, least in options.get("min", {}).items():
            mask &= self.column(name) >= least  # a comparison with NaN is false
        for name, most in options.get("max", {}).items():
            mask &= self.column(name) <= most
        return mask

    def distance(self, options: Mapping[str, Any], tracks: NDArray[np.integer]) -> Values:
        """(m,) mean distance of some tracks to the targets, in standard deviations of the catalog, FAR at most;
        0 without targets. Keys lie on a circle of twelve."""
        targets = options.get("target", {})
        total = np.zeros(len(tracks))
        for name, target in targets.items():
            apart = np.abs(self.column(name)[tracks] - target)
            apart = np.minimum(apart, PITCHES - apart) if name == "key" else apart
            total += np.fmin(apart / self._scale(name), FAR)  # fmin: an unknown value is FAR
        return total / max(len(targets), 1)

    @cached_property
    def _scales(self) -> dict[str, float]:
        return {}

    def _scale(self, name: str) -> float:
        """Standard deviation of the known values."""
        if name not in self._scales:
            known = self.column(name)
            known = known[np.isfinite(known)]
            self._scales[name] = max(float(known.std()), 1e-6) if len(known) else 1.0
        return self._scales[name]


def percent(popularity: NDArray[np.float32]) -> Values:
    """(n,) popularity from 0 to 100, whole numbers: log plays per million as a share of the most played track's."""
    top = float(popularity.max()) if len(popularity) else 0.0
    return np.rint(100 * popularity.astype(np.float64) / max(top, 1e-9))


@dataclass(frozen=True)
class TunableFilter:
    """Within every bound that the request sets."""

    attributes: Attributes
    name: str = "tunables"

    def keep(self, batch: QueryBatch, candidates: Candidates) -> Bools:
        keep = np.ones(len(candidates), bool)
        for j, query in enumerate(batch.queries):
            rows = slice(int(candidates.offsets[j]), int(candidates.offsets[j + 1]))
            keep[rows] = self.attributes.fits(query.options)[candidates.ids[rows]]
        return keep


@dataclass(frozen=True)
class TargetScorer:
    """A source's score, less the distance to the targets."""

    attributes: Attributes
    source: str
    weight: float  # what one standard deviation away from the targets costs
    name: str = "fit"

    def score(self, batch: QueryBatch, candidates: Candidates) -> NDArray[np.float32]:
        score = np.asarray(candidates.columns[f"source:{self.source}"], np.float64).copy()
        for j, query in enumerate(batch.queries):
            rows = slice(int(candidates.offsets[j]), int(candidates.offsets[j + 1]))
            score[rows] -= self.weight * self.attributes.distance(query.options, candidates.ids[rows])
        return score.astype(np.float32)
