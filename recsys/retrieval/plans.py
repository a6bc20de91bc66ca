"""Which way to search: a pure function of how many tracks are eligible, where they lie, k, and a measured table.

plan = table.choose(count, k, place)     # Plan(kind="index", effort=12_000)

`place` says whether the eligible tracks lie near the query, away from it, or evenly (see Lists.order). An even filter
leaves a few of every list, so that each costs more to reach, but the best are found among fewer; of a far one the
best are spread thin.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from recsys.errors import ReleaseRefused

Place = Literal["near", "even", "far"]
PLACES: tuple[Place, ...] = ("near", "even", "far")
Kind = Literal["gather", "index", "overfetch", "scan"]


class Plan(BaseModel):
    """How one request is searched.

    gather: scores the eligible tracks alone. scan: scores every track, then masks. index: compressed vectors under
    a selector, the best scored again. overfetch: the same without a selector, filtered afterwards.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    effort: int = Field(0, ge=0)
    """Lists are opened, nearest first, until they hold this many eligible tracks; 0: all of them."""

    @property
    def exact(self) -> bool:
        return self.kind == "scan" or (self.kind == "gather" and self.effort == 0)


Milliseconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class Grid(BaseModel):
    """Recall and time of every plan at some numbers of eligible tracks, for one k and one placement."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    k: int = Field(ge=1)
    place: Place
    counts: tuple[int, ...] = Field(min_length=1)  # ascending
    plans: tuple[Plan, ...] = Field(min_length=1)
    ms: tuple[tuple[Milliseconds, ...], ...]  # [plan][count], medians
    recall: tuple[tuple[Share, ...], ...]  # [plan][count], the worst kind of filter's mean

    @model_validator(mode="after")
    def _shaped(self) -> Self:
        shape = (len(self.plans), len(self.counts))
        if any(
            len(rows) != shape[0] or {len(r) for r in rows} != {shape[1]} for rows in (self.ms, self.recall)
        ):
            raise ValueError(f"figures must be {shape}")
        if list(self.counts) != sorted(set(self.counts)) or not any(p.exact for p in self.plans):
            raise ValueError("counts must ascend, and one plan must be exact")
        return self

    @cached_property
    def _figures(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        return np.array(self.ms), np.array(self.recall), np.array([p.exact for p in self.plans])

    def cheapest(self, count: int, target: float, exact: bool) -> Plan:
        """The fastest plan that is exact, or reached the target at the counts measured on both sides."""
        ms, recall, sure = self._figures
        high = min(int(np.searchsorted(self.counts, count)), len(self.counts) - 1)
        low = max(high - 1, 0) if self.counts[high] > count else high
        good = sure
        if not exact and self.counts[low] <= count:
            good = sure | ((recall[:, low] >= target) & (recall[:, high] >= target))
        width = max(self.counts[high] - self.counts[low], 1)
        # No extrapolation: counts beyond those measured cost what the last one did.
        part = float(np.clip((count - self.counts[low]) / width, 0, 1))
        cost = np.where(good, ms[:, low] + part * (ms[:, high] - ms[:, low]), np.inf)
        return self.plans[int(np.argmin(cost))]


class CostTable(BaseModel):
    """What was measured when the index was built; saved with it, so that a plan can be worked out again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    vectors: int = Field(ge=1)
    target: Share
    grids: tuple[Grid, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _both(self) -> Self:
        ks = {g.k for g in self.grids}
        if {(g.k, g.place) for g in self.grids} != {(k, place) for k in ks for place in PLACES}:
            raise ValueError("every k needs a grid for every place")
        return self

    def choose(self, count: int, k: int, place: Place) -> Plan:
        """The plan for `count` eligible tracks and the k best of them; beyond the ks measured, an exact one."""
        grids = sorted((g for g in self.grids if g.place == place), key=lambda g: g.k)
        grid = next((g for g in grids if g.k >= k), grids[-1])
        return grid.cheapest(count, self.target, exact=k > grid.k)

    def save(self, path: Path) -> None:
        path.write_text(self.model_dump_json())

    @classmethod
    def load(cls, path: Path) -> CostTable:
        """Raises ReleaseRefused where the table is missing, damaged or of another version."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise ReleaseRefused(f"cost table {path.name} cannot be read: build the index again") from error
