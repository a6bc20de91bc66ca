"""Who could have noticed: exposures, logged at the moment of effect, so that analysis can be of them alone.

An experiment counts as shown in an answer if what its arms set can change that surface. This follows from the config
and the request alone, never from what the arm did (how far down the ladder the answer came from, what was in it):
units of both arms are counted by the same rule, which is what keeps a triggered comparison unbiased.

reach = reaches(config, space)
shown(assignment, reach, "home")                      # names; serving logs them in the Decision
exposures(logged_decisions)                            # and here they are again, as rows
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl

from experiments.config import Config
from experiments.experiment import Experiment, Unit
from experiments.parameters import Space
from recsys.types import Assignment

Reach = Mapping[str, frozenset[str] | None]
"""By experiment, the surfaces where its arms can differ; None: all."""
_SCHEMA = {
    "experiment": pl.String(),
    "arm": pl.String(),
    "unit": pl.String(),
    "request_id": pl.String(),
    "surface": pl.String(),
    "at": pl.Datetime("ms", "UTC"),
    "version": pl.String(),
    "overridden": pl.Boolean(),
}


@dataclass(frozen=True)
class Exposure:
    """One unit meeting one arm."""

    experiment: str
    arm: str
    unit: str
    unit_kind: Unit
    version: str  # of the config
    request_id: str | None
    surface: str | None
    at: int  # UTC ms
    overridden: bool = False  # a person chose the arm; analysis leaves it out


def reaches(config: Config, space: Space | None = None) -> Reach:
    """Where each running experiment can show an effect; without a space every parameter can anywhere."""
    return {e.name: _reach(e, space) for e in config.running}


def _reach(experiment: Experiment, space: Space | None) -> frozenset[str] | None:
    if experiment.surfaces is not None:
        return frozenset(experiment.surfaces)
    paths = experiment.sets()
    if not paths:  # arms that set nothing: an A/A test is met everywhere, a flag where somebody asks for it
        return None if experiment.question is not None else frozenset()
    found: frozenset[str] = frozenset()
    for path in paths:
        part = space.reach(path) if space is not None and path != "release" else None
        if part is None:
            return None
        found |= part
    return found


def shown(assignment: Assignment, reach: Reach, surface: str) -> tuple[str, ...]:
    """The experiments of an assignment that can show on a surface."""
    nowhere: frozenset[str] = frozenset()
    return tuple(
        name for name in assignment.arms if (where := reach.get(name, nowhere)) is None or surface in where
    )


def of_decision(decision: Mapping[str, Any]) -> Iterator[Exposure]:
    """The exposures that a logged decision records."""
    for name in decision.get("exposed", ()):
        yield Exposure(
            experiment=name,
            arm=decision["arms"][name],
            unit=decision["user_id"],
            unit_kind="listener",
            version=decision["versions"].get("experiments", ""),
            request_id=decision["request_id"],
            surface=decision["surface"],
            at=decision["now"],
            overridden=name in decision.get("overridden", ()),
        )


def exposures(payloads: Iterable[str]) -> pl.DataFrame:
    """Exposures as rows, from the payloads of `decision` events (the lake's table `events`).

    Columns: experiment, arm, unit, request_id, surface, at, version, overridden. Analysis takes each unit's first
    row of an experiment, and leaves out units that were ever overridden in it.
    """
    rows = [
        {name: getattr(found, name) for name in _SCHEMA}
        for payload in payloads
        for found in of_decision(orjson.loads(payload))
    ]
    frame = pl.DataFrame(rows, schema={**_SCHEMA, "at": pl.Int64()})
    return frame.with_columns(pl.col("at").cast(_SCHEMA["at"]))
