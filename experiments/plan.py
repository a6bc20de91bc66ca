"""A config compiled for assignment: every experiment as tables from a hash's slot to an arm, by time.

Plan.of(config); `experiments.assign` looks units up in it, one by one or many at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.allocation import Table, changed, ranged
from experiments.experiment import FOREVER, Experiment, Slice
from experiments.fields import millis
from experiments.hashing import Hash, Placer
from recsys.types import Assignment

if TYPE_CHECKING:
    from experiments.config import Config, Holdout

NOBODY = 255
"""In a table of bytes: a slot that no arm holds."""


@dataclass(frozen=True)
class Gate:
    """A second division of units, which several experiments look at: a layer or a holdout."""

    name: str
    unit: str
    placer: Placer
    held: int = 0  # of a holdout: slots below are held back
    start: int = 0  # UTC ms
    stop: int = FOREVER


@dataclass(frozen=True)
class Trial:
    """One experiment, compiled.

    Attributes:
        since: UTC ms from which each of `tables` holds.
        tables: (steps,) bytes, slot -> arm number or NOBODY.
        layer: number of the gate that it has a slice of, with the slots `low` <= slot < `high`.
        holdouts: numbers of the gates that hold units back from it.
        forced: unit -> (arm number, until UTC ms).
    """

    experiment: Experiment
    names: tuple[str, ...]
    placer: Placer
    since: tuple[int, ...]
    tables: tuple[bytes, ...]
    start: int
    stop: int
    layer: int | None
    low: int
    high: int
    holdouts: tuple[int, ...]
    forced: Mapping[str, tuple[int, int]]
    follows: bool  # whether some arm routes to a release or sets a parameter

    def table(self, now: int) -> bytes:
        """The table that holds at a time."""
        return self.tables[bisect_right(self.since, now) - 1] if len(self.tables) > 1 else self.tables[0]


@dataclass(frozen=True)
class Plan:
    """All running experiments of a config.

    Attributes:
        gates: layers that are used, and holdouts.
        cohorts: unit -> named cohorts that it is in.
        groups: the lists that $inGroup names.
    """

    version: str
    trials: tuple[Trial, ...]
    gates: tuple[Gate, ...]
    cohorts: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, list[Any]]

    @cached_property
    def idle(self) -> bool:
        """Whether nobody is in anything."""
        return not self.trials and not self.holdouts

    @cached_property
    def nobody(self) -> Assignment:
        """What everybody gets while nothing runs."""
        return Assignment(version=self.version)

    @cached_property
    def holdouts(self) -> tuple[int, ...]:
        """Numbers of the gates that are holdouts."""
        return tuple(i for i, gate in enumerate(self.gates) if gate.held)

    @classmethod
    def of(cls, config: Config) -> Plan:
        layers = {
            layer.name: Gate(layer.name, layer.unit, Placer(layer.hash, layer.salt or layer.name))
            for layer in config.layers
        }
        numbers = {name: i for i, name in enumerate(layers)}
        holdouts = [(len(layers) + i, holdout) for i, holdout in enumerate(config.holdouts)]
        trials = tuple(_trial(config, e, numbers, list(layers.values()), holdouts) for e in config.running)
        cohorts: dict[str, tuple[str, ...]] = {}
        for cohort in config.cohorts:
            for unit in cohort.units:
                cohorts[unit] = (*cohorts.get(unit, ()), cohort.name)
        groups: dict[str, list[Any]] = {c.name: list(c.units) for c in config.cohorts}
        gates = (*layers.values(), *(_holdout(h) for _, h in holdouts))
        return cls(config.version, trials, gates, cohorts, groups)


def _holdout(holdout: Holdout) -> Gate:
    placer = Placer(holdout.hash, holdout.salt)
    held = round(holdout.share * holdout.hash.steps)
    return Gate(
        holdout.name, holdout.unit, placer, held, millis(holdout.start, 0), millis(holdout.stop, FOREVER)
    )


def _trial(
    config: Config,
    experiment: Experiment,
    numbers: Mapping[str, int],
    layers: list[Gate],
    holdouts: list[tuple[int, Holdout]],
) -> Trial:
    names = tuple(arm.name for arm in experiment.arms)
    layer = None if experiment.layer is None else numbers[experiment.layer.name]
    low, high = (0, 0) if layer is None else span(experiment.layer, layers[layer].placer.kind)
    held_by = [n for n, h in holdouts if experiment.holdouts and _holds_back(h, experiment)]
    forced = {
        o.unit: (names.index(o.arm), millis(o.until, FOREVER))
        for o in config.overrides
        if o.experiment == experiment.name
    }
    schedule = tables(experiment)
    return Trial(
        experiment=experiment,
        names=names,
        placer=Placer(experiment.hash, experiment.salt),
        since=tuple(at for at, _ in schedule),
        tables=tuple(table.astype(np.uint8).tobytes() for _, table in schedule),
        start=millis(experiment.start, 0),
        stop=millis(experiment.end, FOREVER),
        layer=layer,
        low=low,
        high=high,
        holdouts=tuple(held_by),
        forced=forced,
        follows=bool(experiment.sets()),
    )


def _holds_back(holdout: Holdout, experiment: Experiment) -> bool:
    layer = experiment.layer.name if experiment.layer is not None else None
    return holdout.unit == experiment.unit and (holdout.layers is None or layer in holdout.layers)


def span(part: Slice | None, kind: Hash) -> tuple[int, int]:
    """The slots of a slice, low <= slot < high; neighbouring slices neither overlap nor leave a gap."""
    start, end = (0.0, 1.0) if part is None else (part.start, part.end)
    return round(start * kind.steps), round(end * kind.steps)


def tables(experiment: Experiment) -> list[tuple[int, Table]]:
    """(UTC ms from which it holds, table), oldest first; the first holds since ever."""
    found: list[tuple[int, Table]] = []
    for at, coverage, weights in experiment.history():
        if not found:
            found.append((0, ranged(weights, coverage, experiment.hash.steps)))
        else:
            found.append((millis(at, 0), changed(found[-1][1], weights, coverage)))
    return found
