"""Who could have noticed: exposures, logged at the moment of effect, so that analysis can be of them alone.

An experiment counts as shown in an answer if what its arms set can change that surface. This follows from the config
and the request alone, never from what the arm did (how far down the ladder the answer came from, what was in it):
units of both arms are counted by the same rule, which is what keeps a triggered comparison unbiased.

reach = reaches(config, space)
shown(assignment, reach, "home")                      # names; serving logs them in the Decision
exposures(lake.scan("events")).collect()               # and here they are again, as rows
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl

from experiments.config import Config
from experiments.experiment import Experiment, Unit
from experiments.parameters import Space
from recsys.schemas import EventKind
from recsys.types import Assignment, Decision

Reach = Mapping[str, frozenset[str] | None]
"""By experiment or holdout, the surfaces where its arms can differ; None: all."""
_ATTRIBUTES = ("country", "tier", "platform", "cohort")
_ARM = pl.Struct({"experiment": pl.String, "arm": pl.String, "overridden": pl.Boolean, "unit": pl.String})
_TOLD = pl.Struct(
    {
        "version": pl.String,
        "arms": pl.List(_ARM),
        "country": pl.String,
        "tier": pl.String,
        "platform": pl.String,
        "cohort": pl.List(pl.String),
    }
)
COLUMNS = (
    "experiment",
    "arm",
    "unit",
    "unit_kind",
    "request_id",
    "surface",
    "at",
    "version",
    "overridden",
    *_ATTRIBUTES,
)


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
    """Where each running experiment can show an effect; without a space every parameter can anywhere.

    Whether a holdout holds a unit back can show everywhere: it decides about experiments that are still to come.
    """
    found: dict[str, frozenset[str] | None] = {e.name: _reach(e, space) for e in config.running}
    return found | dict.fromkeys(holdout.name for holdout in config.holdouts)


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


def written(decision: Decision) -> str:
    """The column `exposed` of a decision's event: compact JSON, that analysis need not open the whole record."""
    version = decision.versions.get("experiments", "")
    return _text(
        decision.exposed, decision.arms, decision.overridden, decision.units, decision.attributes, version
    )


def told(assignment: Assignment) -> str | None:
    """The same of an assignment, where no pipeline makes a Decision of it; None where nothing can show."""
    a = assignment
    return _text(a.shown, a.arms, a.overridden, a.units, a.attributes, a.version) if a.shown else None


def _text(
    exposed: Sequence[str],
    arms: Mapping[str, str],
    overridden: Sequence[str],
    units: Mapping[str, str],
    attributes: Mapping[str, Any],
    version: str,
) -> str:
    rows = [
        {
            "experiment": name,
            "arm": arms[name],
            "overridden": name in overridden,
            "unit": units.get(name, "listener"),
        }
        for name in exposed
    ]
    about = {name: attributes.get(name) for name in _ATTRIBUTES}
    return orjson.dumps({"version": version, "arms": rows, **about}).decode()


def exposures(events: pl.LazyFrame) -> pl.LazyFrame:
    """Exposures as rows, lazily, in no order. A decision whose `exposed` is damaged gives none.

    Args:
        events: rows of the lake's `events`: kind, exposed, user_id, session_id, request_id, surface, ts.

    Returns:
        experiment, arm, unit (its id), unit_kind (listener, session), request_id, surface, at (UTC), version (of the
        config), overridden, and the attributes that targeting saw at that request: country, tier, platform, cohort (a
        list). Analysis takes each unit's first row of an experiment, and leaves out units that were ever overridden
        in it.
    """
    return (
        events.filter(pl.col("kind") == EventKind.DECISION.value, pl.col("exposed").is_not_null())
        .select(
            "request_id",
            "surface",
            "user_id",
            "session_id",
            at=pl.col("ts").cast(pl.Datetime("ms", "UTC")),
            told=pl.col("exposed").map_batches(_told, return_dtype=_TOLD, is_elementwise=True),
        )
        .unnest("told")
        .explode("arms")
        .unnest("arms")
        .with_columns(unit_kind=pl.col("unit").fill_null("listener"))
        .with_columns(
            pl.col("version").fill_null(""),
            pl.col("overridden").fill_null(False),
            unit=pl.when(pl.col("unit_kind") == "session").then("session_id").otherwise("user_id"),
        )
        .drop_nulls(["experiment", "arm", "unit"])
        .select(COLUMNS)
    )


def _told(texts: pl.Series) -> pl.Series:
    """The structs in some JSON texts, each different one read once: there are few, and reading takes microseconds."""
    few = texts.unique()
    found = pl.DataFrame({"text": few, "told": _decoded(few)})
    rows = pl.DataFrame({"text": texts}).join(found, on="text", how="left", maintain_order="left")
    return rows["told"].alias(texts.name)


def _decoded(texts: pl.Series) -> pl.Series:
    """The structs in some JSON texts, null where a text holds none.

    polars refuses a whole column for one bad text, and makes no row or several of some: these are found by halving.
    """
    with suppress(pl.exceptions.ComputeError):
        found = texts.str.json_decode(_TOLD)
        if len(found) == len(texts):
            return found
    if len(texts) == 1:
        return pl.Series(texts.name, [None], _TOLD)
    half = len(texts) // 2
    return pl.concat([_decoded(texts[:half]), _decoded(texts[half:])])
