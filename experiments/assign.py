"""A unit's arms, and what follows from them: a hash of the id, the same on every machine, nothing stored.

assign(load(path), user_id, now).release
assign_many(load(path), user_ids, now)["ranker"]     # arm numbers of all of them; -1: in none
explain(load(path), user_id, now)                    # why
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from experiments.bucketing import code_units
from experiments.conditions import asks, matches
from experiments.config import Config
from experiments.experiment import CHAMPION, Arm, Unit
from experiments.hashing import Slots, Units, slots
from experiments.plan import NOBODY, Plan, Trial
from recsys.types import Assignment

Attributes = Mapping[str, Any]
NOTHING: Attributes = {}
HELD, OPEN = "held", "open"
"""Arms of a holdout."""


@dataclass(frozen=True)
class Verdict:
    """One experiment's word on one unit: the arm (None: not in it), why, and where its hash put it."""

    experiment: str
    arm: str | None
    why: str
    slot: int | None = None


class _Subject:
    """One request: its ids, and what has been hashed of them so far."""

    def __init__(self, plan: Plan, ids: Mapping[str, str | None], now: int, attributes: Attributes) -> None:
        self.plan, self.ids, self.now, self._given = plan, ids, now, attributes
        self._codes: dict[str, Sequence[int]] = {}
        self._gates: dict[int, int] = {}
        self._attributes: Attributes | None = None

    @property
    def attributes(self) -> Attributes:
        """What was given, with the id and the cohorts."""
        if self._attributes is None:
            unit = self.ids.get("listener") or ""
            cohorts = [*(self._given.get("cohort") or ()), *self.plan.cohorts.get(unit, ())]
            self._attributes = {**self._given, "id": unit, "cohort": cohorts}
        return self._attributes

    def codes(self, unit: str) -> Sequence[int]:
        found = self._codes.get(unit)
        if found is None:
            found = self._codes[unit] = code_units(unit)
        return found

    def gate(self, number: int) -> int | None:
        """The unit's slot in a layer or holdout; None where the request has no such unit."""
        found = self._gates.get(number)
        if found is None:
            gate = self.plan.gates[number]
            unit = self.ids.get(gate.unit)
            if unit:
                found = self._gates[number] = gate.placer.slot(unit, self.codes(unit))
        return found

    def held(self, number: int) -> bool | None:
        """Whether a holdout holds the unit back; None where it is not running or says nothing of the request."""
        gate = self.plan.gates[number]
        if gate.held == 0 or not gate.start <= self.now < gate.stop:
            return None
        place = self.gate(number)
        return None if place is None else place < gate.held


def assign(
    config: Config, user_id: str, now: int, attributes: Attributes = NOTHING, session: str | None = None
) -> Assignment:
    """The arms of a listener (and of a session, if one is given) at a time, and what follows from them.

    Args:
        now: UTC ms; ramps and start and stop times are read by it.
        attributes: for targeting (`experiments.targeting.KNOWN`); whoever lacks one is not in its experiments.
    """
    plan = config.plan
    if plan.idle:
        return plan.nobody
    subject = _Subject(plan, {"listener": user_id, "session": session}, now, attributes)
    arms: dict[str, str] = {}
    overridden: list[str] = []
    chosen: list[Arm] = []
    forced: list[Arm] = []
    for trial in plan.trials:
        number, why, _ = _place(trial, subject)
        if number < 0:
            continue
        name = trial.experiment.name
        arms[name] = trial.names[number]
        if why == _OVERRIDE:
            overridden.append(name)
        if trial.follows:
            (forced if why == _OVERRIDE else chosen).append(trial.experiment.arms[number])
    for number in plan.holdouts:
        held = subject.held(number)
        if held is not None:
            arms[plan.gates[number].name] = HELD if held else OPEN
    chosen += forced  # what follows wins: a tester sees the arm that was asked for
    release = next((arm.release for arm in reversed(chosen) if arm.release != CHAMPION), CHAMPION)
    parameters = {path: value for arm in chosen for path, value in arm.parameters.items()}
    return Assignment(arms, release, parameters, tuple(overridden), version=plan.version)


def arm_of(
    config: Config, experiment: str, ids: Mapping[str, str | None], now: int, attributes: Attributes = NOTHING
) -> Verdict:
    """One experiment's word on a request with some ids, like {"listener": "...", "artist": "..."}.

    Raises:
        KeyError: no such experiment, or a draft.
    """
    trial = next((t for t in config.plan.trials if t.experiment.name == experiment), None)
    if trial is None:
        raise KeyError(experiment)
    return _verdict(trial, _Subject(config.plan, ids, now, attributes))


def explain(
    config: Config,
    user_id: str | None,
    now: int,
    attributes: Attributes = NOTHING,
    session: str | None = None,
    artist: str | None = None,
) -> list[Verdict]:
    """What every running experiment says of a request, and why; drafts are left out."""
    ids = {"listener": user_id, "session": session, "artist": artist}
    subject = _Subject(config.plan, ids, now, attributes)
    return [_verdict(trial, subject) for trial in config.plan.trials]


def assign_many(
    config: Config,
    ids: Sequence[str],
    now: int,
    attributes: pl.DataFrame | None = None,
    unit: Unit = "listener",
) -> dict[str, NDArray[np.int8]]:
    """The arms of many units of one kind at a time; the same as `assign` gives one by one.

    Args:
        attributes: one row an id, a column an attribute; without it nobody has any (but id and named cohorts).

    Returns:
        by experiment of that kind of unit, (n,) arm numbers in the config's order; -1: not in it.
    """
    plan, units = config.plan, Units.of(ids)
    gates: dict[int, Slots] = {}

    def gate(number: int) -> Slots:
        if number not in gates:
            placer = plan.gates[number].placer
            gates[number] = slots(placer.kind, placer.salt, units)
        return gates[number]

    found = {}
    for trial in plan.trials:
        if trial.experiment.unit == unit:
            found[trial.experiment.name] = _place_many(trial, plan, units, now, attributes, gate)
    return found


_OVERRIDE, _HASH = "override", "hash"


def _place(trial: Trial, subject: _Subject) -> tuple[int, str, int | None]:
    """(arm number or -1, why, slot): override, times, holdouts, layer, targeting, then the hash, in this order."""
    unit, now = subject.ids.get(trial.experiment.unit), subject.now
    if not unit:
        return -1, f"the request has no {trial.experiment.unit}", None
    if now >= trial.stop:
        return -1, "stopped", None
    if trial.forced and unit in trial.forced and now < trial.forced[unit][1]:
        return trial.forced[unit][0], _OVERRIDE, None
    if now < trial.start:
        return -1, "not started", None
    for number in trial.holdouts:
        if subject.held(number):
            return -1, f"held back by {subject.plan.gates[number].name}", None
    if trial.layer is not None and not trial.low <= (subject.gate(trial.layer) or 0) < trial.high:
        return -1, f"in another slice of layer {subject.plan.gates[trial.layer].name}", None
    targeting = trial.experiment.targeting
    if targeting and not matches(targeting, subject.attributes, subject.plan.groups):
        return -1, "not targeted", None
    place = trial.placer.slot(unit, subject.codes(unit))
    number = trial.table(now)[place]
    return (-1, "not covered yet", place) if number == NOBODY else (number, _HASH, place)


def _verdict(trial: Trial, subject: _Subject) -> Verdict:
    number, why, place = _place(trial, subject)
    return Verdict(trial.experiment.name, None if number < 0 else trial.names[number], why, place)


def _place_many(
    trial: Trial, plan: Plan, units: Units, now: int, attributes: pl.DataFrame | None, gate: Any
) -> NDArray[np.int8]:
    arms = np.full(len(units), -1, np.int8)
    if now >= trial.stop:
        return arms
    if now >= trial.start:
        table = np.frombuffer(trial.table(now), np.int8)  # NOBODY, 255, reads as -1
        arms = table[slots(trial.placer.kind, trial.placer.salt, units)]
        arms[~_admitted(trial, plan, units, now, attributes, gate)] = -1
    if trial.forced:
        for i, unit in enumerate(units.ids):
            if unit in trial.forced and now < trial.forced[unit][1]:
                arms[i] = trial.forced[unit][0]
    return arms


def _admitted(
    trial: Trial, plan: Plan, units: Units, now: int, attributes: pl.DataFrame | None, gate: Any
) -> NDArray[np.bool_]:
    """Who is not held back, in the slice, and targeted."""
    fine = np.diff(units.starts) > 0  # an empty id is no unit
    for number in trial.holdouts:
        holdout = plan.gates[number]
        if holdout.start <= now < holdout.stop:
            fine &= gate(number) >= holdout.held
    if trial.layer is not None:
        place = gate(trial.layer)
        fine &= (place >= trial.low) & (place < trial.high)
    if trial.experiment.targeting:
        fine &= _targeted(trial, plan, units, now, attributes)
    return fine


def _targeted(
    trial: Trial, plan: Plan, units: Units, now: int, attributes: pl.DataFrame | None
) -> NDArray[np.bool_]:
    """The condition asked once for each distinct row of what it asks about."""
    condition, kind = trial.experiment.targeting, trial.experiment.unit
    asked = asks(condition)
    columns = [c for c in attributes.columns if c in asked] if attributes is not None else []
    rows = (
        zip(*(_hashable(attributes[c]) for c in columns), strict=True)
        if attributes is not None and columns
        else None
    )
    singly = kind == "listener" and ("id" in asked or bool(plan.cohorts and "cohort" in asked))
    known: dict[Any, bool] = {}
    out = np.zeros(len(units), bool)
    for i, unit in enumerate(units.ids):
        row = next(rows) if rows is not None else ()
        key = (row, unit) if singly else row
        if key not in known:
            subject = _Subject(plan, {kind: unit}, now, dict(zip(columns, row, strict=True)))
            known[key] = matches(condition, subject.attributes, plan.groups)
        out[i] = known[key]
    return out


def _hashable(column: pl.Series) -> list[Any]:
    values = column.to_list()
    return [None if v is None else tuple(v) for v in values] if column.dtype == pl.List else values
